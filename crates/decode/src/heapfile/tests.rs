//! Snapshot files: round trips, files built by hand, damage of every byte, and fixtures.

use std::borrow::Cow;
use std::path::Path;

use model::heap::{
    AllocatedAt, Contents, Edges, Extents, Field, Fill, FillKind, HeapGoroutine, HeapSource,
    HeapType, Holder, HolderId, HolderKind, Listed, ObjectId, Objects, RootPointer, SpanSizes,
    Spans, Texts, TypeId, TypeKind,
};
use model::{Frame, HeapGraph, StringTable, Timestamp};

use super::{HeapFileError, Verify, is_heap_file, read, write};

/// `main.cache` holds a map of two orders that share a customer; a goroutine holds one more
/// order; one object is garbage.
fn graph(objects: Objects<'static>) -> HeapGraph<'static> {
    let mut strings = StringTable::default();
    let mut name = |text: &str| strings.intern(text);
    let (customer, items) = (name("customer"), name("items"));
    let heap_type = |name, package, kind, bytes, fields, element| HeapType {
        name,
        package,
        kind,
        bytes,
        fields,
        element,
    };
    let (main, none) = (name("main"), model::StrId(0));
    let types = vec![
        heap_type(name("unknown 48 B"), none, TypeKind::Unknown, 48, 0..0, None),
        heap_type(name("main.Order"), main, TypeKind::Struct, 40, 0..2, None),
        heap_type(name("[]main.Order"), main, TypeKind::Array, 40, 0..0, Some(TypeId(1))),
        heap_type(name("map[string]*main.Order"), none, TypeKind::Map, 48, 0..0, None),
        heap_type(name("string"), none, TypeKind::Text, 1, 0..0, None),
    ];
    let fields = vec![
        Field { offset: 0, name: customer, of: None },
        Field { offset: 16, name: items, of: Some(TypeId(2)) },
    ];
    let holder = |kind, name, parent, goroutine| Holder {
        kind,
        name,
        place: model::StrId(0),
        parent,
        goroutine,
        of: None,
        is_conservative: kind == HolderKind::Register,
    };
    let holders = vec![
        holder(HolderKind::Global, name("main.cache"), None, None),
        holder(HolderKind::Goroutine, name("goroutine 7"), None, Some(0)),
        holder(HolderKind::Local, name("order"), Some(HolderId(1)), Some(0)),
        holder(HolderKind::Register, name("rax"), Some(HolderId(1)), Some(0)),
    ];
    let root = |holder, slot, target| RootPointer {
        holder: HolderId(holder),
        slot,
        target: ObjectId(target),
    };
    HeapGraph {
        source: source(),
        types,
        fields,
        objects,
        type_of: vec![3, 1, 1, 4, 1, 0].into(),
        edges: edges(&[&[(0, 1), (3, 2)], &[(0, 3)], &[(0, 3)], &[], &[(0, 3)], &[]]),
        weak: vec![(ObjectId(4), 1, ObjectId(3))],
        slot_bytes: 8,
        holders,
        root_pointers: vec![root(0, 0, 0), root(2, 0, 4), root(3, 2, 4)],
        strings,
        ..facts()
    }
}

fn source() -> HeapSource {
    HeapSource {
        runtime: "go1.26.8".to_owned(),
        target: "shop".to_owned(),
        executable: "/usr/bin/shop".to_owned(),
        time: Some(Timestamp(1_790_000_000_123)),
        method: "fork".to_owned(),
        pause_nanos: Some(7_200_000),
        gc_count: Some(12),
        heap_in_use_bytes: None,
        is_marking: true,
    }
}

fn facts() -> HeapGraph<'static> {
    let frame = |function: &str, line| Frame {
        function: function.to_owned(),
        file: "main.go".to_owned(),
        line,
    };
    HeapGraph {
        goroutines: vec![HeapGoroutine {
            id: 7,
            state: "waiting".to_owned(),
            wait_reason: "select".to_owned(),
            stack_bytes: 8192,
            stack: Some(1),
        }],
        extents: Extents {
            object: vec![3].into(),
            low: vec![1].into(),
            used: vec![2].into(),
            capacity: vec![4].into(),
        },
        fills: vec![Fill {
            object: ObjectId(0),
            kind: FillKind::Map,
            used: 2,
            capacity: 8,
            element_bytes: 24,
        }],
        texts: Texts {
            object: vec![3].into(),
            bytes: vec![11].into(),
            hash: vec![0xfeed_f00d].into(),
        },
        allocated_at: vec![AllocatedAt { object: ObjectId(4), stack: 0 }],
        stacks: vec![vec![frame("main.load", 42), frame("main.main", 7)], vec![], vec![]],
        contents: Contents {
            object: vec![3].into(),
            start: vec![0, 11].into(),
            bytes: b"hello world".to_vec().into(),
        },
        warnings: vec!["goroutine 9: unknown frame".to_owned(), String::new()],
        ..HeapGraph::default()
    }
}

fn edges(rows: &[&[(u32, u32)]]) -> Edges<'static> {
    let mut edges = Edges::empty();
    for row in rows {
        row.iter().for_each(|(slot, target)| edges.push(*slot, ObjectId(*target)));
        edges.end_object();
    }
    edges
}

fn in_spans() -> Objects<'static> {
    Objects::Spans(Spans {
        base: vec![0xc000_0000, 0xc000_2000].into(),
        slot_bytes: vec![48, 16].into(),
        is_noscan: vec![0, 1].into(),
        first: vec![0, 4, 6].into(),
        word: vec![0, 1, 2].into(),
        allocated: vec![0b1_0111, 0b11].into(),
        sizes: SpanSizes::default(),
    })
}

fn in_sized_spans() -> Objects<'static> {
    let Objects::Spans(mut spans) = in_spans() else { unreachable!("these are spans") };
    spans.sizes = SpanSizes {
        span_bytes: vec![8192, 8192].into(),
        slots: vec![170, 512].into(),
        is_cached: vec![0, 1].into(),
    };
    Objects::Spans(spans)
}

fn listed() -> Objects<'static> {
    let address: Vec<u64> = (0..6).map(|index| 0x10000 + index * 64).collect();
    Objects::Listed(Listed { address: address.into(), bytes: vec![48; 6].into() })
}

fn written(graph: &HeapGraph<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = write(graph, &mut bytes).unwrap();
    assert_eq!(count, bytes.len() as u64);
    bytes
}

/// Everything of a graph but how its strings are hashed.
fn text_of(graph: &HeapGraph<'_>) -> String {
    let strings: Vec<&str> = graph.strings.iter().collect();
    let rest = HeapGraph { strings: StringTable::default(), ..graph.clone() };
    let text = format!("{rest:#?}");
    let (before, tail) = text.split_once("strings: StringTable {").unwrap();
    let (_, after) = tail.split_once("\n    },").unwrap();
    format!("{strings:?}{before}{after}")
}

/// Bytes whose first lies at a multiple of 8, plus `shift`.
struct Placed(Vec<u64>, usize, usize);

impl Placed {
    fn new(bytes: &[u8], shift: usize) -> Placed {
        let mut words = vec![0_u64; bytes.len() / 8 + 2];
        let place: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        place[shift..shift + bytes.len()].copy_from_slice(bytes);
        Placed(words, shift, bytes.len())
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[self.1..self.1 + self.2]
    }
}

#[test]
fn what_is_written_is_read() {
    for objects in [in_spans(), in_sized_spans(), listed()] {
        let graph = graph(objects);
        graph.check().unwrap();
        let bytes = written(&graph);
        assert!(is_heap_file(&bytes));
        for (shift, verify) in [(0, Verify::All), (0, Verify::Small), (3, Verify::All)] {
            let placed = Placed::new(&bytes, shift);
            let again = read(placed.bytes(), verify).unwrap();
            assert_eq!(text_of(&again), text_of(&graph));
            assert_eq!(matches!(again.type_of, Cow::Borrowed(_)), shift == 0);
            assert_eq!(matches!(again.edges.target, Cow::Borrowed(_)), shift == 0);
            assert_eq!(written(&again), bytes);
        }
    }
    let empty = HeapGraph { edges: Edges::empty(), ..HeapGraph::default() };
    assert!(read(&written(&empty), Verify::All).unwrap().is_empty());
}

#[test]
fn many_objects_and_strings() {
    let mut graph = HeapGraph { edges: Edges::empty(), ..HeapGraph::default() };
    let count = 200_000_u32;
    for index in 0..count {
        if index > 0 {
            graph.edges.push(index % 5, ObjectId(index - 1));
        }
        graph.edges.end_object();
    }
    let name = |index| format!("type {index}");
    graph.types = (0..3000)
        .map(|index| HeapType { name: graph.strings.intern(&name(index)), ..HeapType::default() })
        .collect();
    graph.type_of = (0..count).map(|index| index % 3000).collect::<Vec<_>>().into();
    let address: Vec<u64> = (0..u64::from(count)).map(|index| index * 16).collect();
    graph.objects =
        Objects::Listed(Listed { address: address.into(), bytes: vec![16; count as usize].into() });
    let bytes = written(&graph);
    let again = read(&bytes, Verify::All).unwrap();
    assert_eq!(text_of(&again), text_of(&graph));
    assert_eq!(again.type_name(TypeId(2999)), "type 2999");
}

#[test]
fn an_inconsistent_graph_is_not_written() {
    let mut graph = graph(listed());
    graph.type_of.to_mut()[0] = 99;
    let error = write(&graph, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("types of objects"), "{error}");
}

#[test]
fn damage_of_any_byte_is_noticed() {
    let bytes = written(&graph(in_spans()));
    let whole = text_of(&read(&bytes, Verify::All).unwrap());
    let mut silent = 0;
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= bit;
            if let Ok(graph) = read(&damaged, Verify::All) {
                // The gaps between columns mean nothing.
                assert_eq!(text_of(&graph), whole, "byte {at}");
                silent += 1;
            }
        }
    }
    assert!(silent < 2 * 7 * 70, "{silent} changes unnoticed");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = written(&graph(in_spans()));
    for len in 0..bytes.len() {
        let error = read(&bytes[..len], Verify::All).unwrap_err();
        let is_told = matches!(
            error,
            HeapFileError::NotHeapFile
                | HeapFileError::Truncated { .. }
                | HeapFileError::Directory { .. }
        );
        assert!(is_told, "{len}: {error}");
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(matches!(read(&longer, Verify::All), Err(HeapFileError::Truncated { .. })));
}

/// CRC-32 as zlib, gzip and PNG use it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// A column by hand: name, type's code, bytes.
type Column<'c> = (&'c str, u32, Vec<u8>);

fn u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn u64s(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The columns without which there is no graph: one object of 16 bytes that points to itself,
/// held by `main.x`.
fn required() -> Vec<Column<'static>> {
    vec![
        ("strings.text", 4, b"main.Tmain.x".to_vec()),
        ("strings.end", 3, u64s(&[0, 6, 12])),
        ("types.name", 2, u32s(&[1])),
        ("types.package", 2, u32s(&[0])),
        ("types.kind", 1, vec![2]),
        ("types.bytes", 3, u64s(&[16])),
        ("types.fields_start", 2, u32s(&[0])),
        ("types.fields_end", 2, u32s(&[0])),
        ("types.element", 2, u32s(&[u32::MAX])),
        ("fields.offset", 3, vec![]),
        ("fields.name", 2, vec![]),
        ("fields.of", 2, vec![]),
        ("listed.address", 3, u64s(&[0xc000_0000])),
        ("listed.bytes", 3, u64s(&[16])),
        ("objects.type", 2, u32s(&[0])),
        ("edges.first", 2, u32s(&[0, 1])),
        ("edges.block", 3, u64s(&[0])),
        ("edges.target", 2, u32s(&[0])),
        ("edges.slot", 2, u32s(&[1])),
        ("slot_bytes", 2, u32s(&[8])),
        ("holders.kind", 1, vec![0]),
        ("holders.name", 2, u32s(&[2])),
        ("holders.place", 2, u32s(&[0])),
        ("holders.parent", 2, u32s(&[u32::MAX])),
        ("holders.goroutine", 2, u32s(&[u32::MAX])),
        ("holders.of", 2, u32s(&[u32::MAX])),
        ("holders.is_conservative", 1, vec![0]),
        ("roots.holder", 2, u32s(&[0])),
        ("roots.slot", 2, u32s(&[0])),
        ("roots.target", 2, u32s(&[0])),
    ]
}

fn file(version: u32, columns: &[Column<'_>]) -> Vec<u8> {
    let mut file = b"memsight heap\n\0\0".to_vec();
    file.extend(version.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    let mut directory = Vec::new();
    for (name, code, bytes) in columns {
        file.resize(file.len().next_multiple_of(8), 0);
        let mut padded = name.as_bytes().to_vec();
        padded.resize(32, 0);
        directory.extend(padded);
        directory.extend(code.to_le_bytes());
        directory.extend(crc32(bytes).to_le_bytes());
        directory.extend((file.len() as u64).to_le_bytes());
        directory.extend((bytes.len() as u64).to_le_bytes());
        directory.extend(0_u64.to_le_bytes()); // for later versions
        file.extend(bytes);
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let (at, count) = ((file.len() as u64).to_le_bytes(), (columns.len() as u64).to_le_bytes());
    let crc = crc32(&[&file[..24], &directory, &at, &count].concat());
    file.extend(&directory);
    file.extend(at);
    file.extend(count);
    file.extend(crc.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    file.extend(b"heap end");
    file
}

#[test]
fn a_file_by_hand_is_read() {
    let mut columns = required();
    columns.insert(5, ("of.the.future", 77, b"what is this".to_vec()));
    let bytes = file(1, &columns);
    let graph = read(&bytes, Verify::All).unwrap();
    assert_eq!(graph.len(), 1);
    assert_eq!(graph.type_name(TypeId(0)), "main.T");
    assert_eq!(graph.edges.targets(ObjectId(0)), [0]);
    let holder = &graph.holders[0];
    assert_eq!((holder.kind, graph.strings.get(holder.name)), (HolderKind::Global, "main.x"));
    assert_eq!(graph.source, HeapSource::default());
}

#[test]
fn a_missing_column_is_named() {
    for index in 0..required().len() {
        let mut columns = required();
        let (name, ..) = columns.remove(index);
        let error = read(&file(1, &columns), Verify::All).unwrap_err();
        assert_eq!(error, HeapFileError::Missing(name));
    }
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let check = |name: &str, code: u32, bytes: Vec<u8>, expected: &str| {
        let mut columns = required();
        let index = columns.iter().position(|column| column.0 == name).unwrap();
        columns[index] = (columns[index].0, code, bytes);
        let error = read(&file(1, &columns), Verify::All).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("objects.type", 3, u64s(&[0]), "column objects.type has u64, expected u32");
    check("objects.type", 2, vec![0; 5], "objects.type has 5 bytes, expected a multiple of 4");
    check("objects.type", 2, u32s(&[0, 0]), "its objects do not fit");
    check("objects.type", 2, u32s(&[1]), "its types of objects do not fit");
    check("types.kind", 1, vec![9], "column types.kind has 9, expected numbers below 8");
    check("types.kind", 1, vec![], "column types.kind has 0 values, expected 1 values");
    check("edges.target", 2, u32s(&[7]), "its pointers do not fit");
    check("strings.end", 3, u64s(&[0, 6, 13]), "column strings.end has 13");
    check("strings.end", 3, u64s(&[0, 7, 6]), "column strings.end has 6");
    check("strings.end", 3, u64s(&[0, 6, 6]), "its strings do not fit");
    check("strings.text", 4, vec![0xff; 12], "UTF-8 text");
    check("roots.holder", 2, u32s(&[1]), "its roots do not fit");
}

#[test]
fn other_files_and_versions_are_told_apart() {
    assert_eq!(read(b"JAVA PROFILE 1.0.2\0", Verify::All).err(), Some(HeapFileError::NotHeapFile));
    let error = read(&file(2, &required()), Verify::All).unwrap_err();
    assert_eq!(error, HeapFileError::Version { expected: 1, found: 2 });
    let mut twice = required();
    twice.push(required().remove(0));
    let error = read(&file(1, &twice), Verify::All).unwrap_err().to_string();
    assert!(error.contains("a column twice"), "{error}");
}

/// Names that one number each repeats may not fill memory.
#[test]
fn names_of_frames_have_a_budget() {
    let mut columns = required();
    let frames = vec![1_u32; 10_000];
    columns.push(("names.text", 4, vec![b'x'; 100_000]));
    columns.push(("names.end", 3, u64s(&[0, 100_000])));
    columns.push(("frames.function", 2, u32s(&frames)));
    columns.push(("frames.file", 2, u32s(&frames)));
    columns.push(("frames.line", 2, u32s(&frames)));
    columns.push(("stacks.end", 3, u64s(&[10_000])));
    let error = read(&file(1, &columns), Verify::All).unwrap_err();
    assert_eq!(error, HeapFileError::Inconsistent("names of frames"));
}

/// Files of version 1 stay readable for ever. `MEMSIGHT_WRITE_FIXTURES=1` makes those that
/// are not there; what earlier releases wrote stays as it is.
#[test]
fn fixtures_are_read() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/heapfile");
    let files = [
        ("v1-go.heap", in_spans()),
        ("v1-listed.heap", listed()),
        ("v1-span-sizes.heap", in_sized_spans()),
    ];
    for (name, objects) in files {
        let graph = graph(objects);
        let file = dir.join(name);
        if std::env::var_os("MEMSIGHT_WRITE_FIXTURES").is_some() && !file.exists() {
            std::fs::write(&file, written(&graph)).unwrap();
        }
        let bytes = std::fs::read(&file).unwrap();
        let again = read(&bytes, Verify::All).unwrap();
        assert_eq!(text_of(&again), text_of(&graph), "{name}");
    }
}
