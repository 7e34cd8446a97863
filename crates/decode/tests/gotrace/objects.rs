//! Tables of the experiment AllocFree, hand-made and damaged; those that programs write are
//! looked at in memsight's tests of lifetimes.

use decode::gotrace::{GoTraceError, Reader};
use model::Addr;
use model::trace::{HeapInfo, ObjectEvent, ObjectType, ObjectTypeId, SpanClass};

use crate::encode::encode;

/// A generation of a program that does nothing; an experimental batch goes behind it.
const PROGRAM: &str = "Trace Go1.23
EventBatch gen=1 m=18446744073709551615 time=10 size=5
Frequency freq=15625000
EventBatch gen=1 m=7 time=10 size=9
ProcStatus dt=1 p=0 pstatus=1
GoStatus dt=1 g=1 m=7 gstatus=2
";

/// A trace with a batch of this experiment, and where the data begins.
fn with_batch(experiment: u8, data: &[u8]) -> (Vec<u8>, u64) {
    let mut bytes = encode(PROGRAM);
    // Kind, experiment, generation, thread 7, time, size.
    bytes.extend_from_slice(&[49, experiment, 1, 7, 10, u8::try_from(data.len()).unwrap()]);
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(data);
    (bytes, offset)
}

fn error_of(data: &[u8]) -> (u64, GoTraceError) {
    let (bytes, offset) = with_batch(1, data);
    let mut reader = Reader::new(&bytes).unwrap();
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{data:?} is no error"),
            Err(error) => return (offset, error),
        }
    }
}

#[test]
fn types_and_units_are_read() {
    // Kind 0: id, address, bytes, bytes with pointers, length and name; twice, with one id
    // given again.
    let data = [
        &[0, 2, 0x80, 0x20, 48, 16, 9][..],
        b"main.Node",
        &[1, 0x20, 8, 0, 3],
        b"int",
        &[2, 0x21, 8, 0, 1],
        b"x",
    ];
    let (mut bytes, _) = with_batch(1, &data.concat());
    // Kind 1: the lowest page, bytes of pages, of alignment, of stacks.
    let info = [1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x18, 0x80, 0x40, 8, 0x80, 0x10];
    bytes.extend_from_slice(&[49, 1, 1, 7, 10, info.len() as u8]);
    bytes.extend_from_slice(&info);
    let mut reader = Reader::new(&bytes).unwrap();
    assert!(reader.next().unwrap().is_some());
    let tables = reader.tables();
    let node =
        ObjectType { address: Addr(0x1000), bytes: 48, pointer_bytes: 16, name: b"main.Node" };
    assert_eq!(tables.object_type(ObjectTypeId(2)), Some(node));
    assert_eq!(tables.object_type(ObjectTypeId(1)).unwrap().name, b"int");
    assert_eq!(tables.object_type(ObjectTypeId(0)), None);
    assert_eq!(tables.object_type(ObjectTypeId(3)), None);
    let heap = HeapInfo {
        base: Addr(0xc0_0000_0000),
        page_bytes: 8192,
        align_bytes: 8,
        stack_bytes: 2048,
    };
    assert_eq!(tables.heap(), Some(heap));
}

#[test]
fn damaged_tables_say_where() {
    let damaged = |data: &[u8], at: u64, text: &str| {
        let (offset, error) = error_of(data);
        assert_eq!(error.offset(), offset + at, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    damaged(&[0, 1, 2, 3], 4, "a table ends within a number");
    damaged(&[0, 1, 2, 8, 0, 9, b'x'], 1, "the name of a type is longer than its batch");
    damaged(&[1, 0, 0, 8, 64], 1, "pages of 0 bytes");
    damaged(&[1, 0, 64, 7, 64], 1, "objects aligned to 7");
    damaged(&[1, 0, 64], 3, "a table ends within a number");
}

#[test]
fn what_is_not_known_is_passed_over() {
    for (experiment, data) in [(1, &[9, 1, 2][..]), (2, &[0, 1]), (1, &[])] {
        let (bytes, _) = with_batch(experiment, data);
        let mut reader = Reader::new(&bytes).unwrap();
        while reader.next().unwrap().is_some() {}
    }
}

#[test]
fn events_have_meanings() {
    let (size_class, is_noscan) = (27, true);
    let class = SpanClass::Objects { size_class, is_noscan };
    let span = ObjectEvent::Span { page: 5, pages: 2, class };
    assert_eq!(ObjectEvent::of(128, [5, 2, 27 << 2 | 2]), Some(span));
    assert_eq!(ObjectEvent::of(129, [5, 2, 27 << 2 | 2]), Some(span));
    let class = SpanClass::Manual;
    let stack = ObjectEvent::Span { page: 5, pages: 2, class };
    assert_eq!(ObjectEvent::of(129, [5, 2, 1]), Some(stack));
    let tiny = ObjectEvent::Span { page: 0, pages: 1, class: SpanClass::TINY };
    assert_eq!(ObjectEvent::of(129, [0, 1, 2 << 2 | 2]), Some(tiny));
    assert_eq!(ObjectEvent::of(133, [3, 0, 0]), Some(ObjectEvent::Free { object: 3 }));
    assert_eq!(ObjectEvent::of(134, [3, 0, 0]), None);
}
