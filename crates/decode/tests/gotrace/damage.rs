//! Damaged traces: events before the damage are given, then an error that says where it is.

use decode::gotrace::{GoTraceError, Reader};

use crate::encode::encode;

const HEADER_LEN: usize = 16;

/// Two generations of a program that does nothing.
const SMALL: &str = "Trace Go1.22
EventBatch gen=1 m=18446744073709551615 time=10 size=5
Frequency freq=15625000
EventBatch gen=1 m=7 time=10 size=9
ProcStatus dt=1 p=0 pstatus=1
GoStatus dt=1 g=1 m=7 gstatus=2
EventBatch gen=2 m=18446744073709551615 time=20 size=5
Frequency freq=15625000
EventBatch gen=2 m=7 time=20 size=9
ProcStatus dt=1 p=0 pstatus=1
GoStatus dt=1 g=1 m=7 gstatus=2
";

/// How many events there are before the end or the error.
fn read(bytes: &[u8]) -> (usize, Option<GoTraceError>) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (0, Some(error)),
    };
    let mut count = 0;
    loop {
        match reader.next() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, None),
            Err(error) => {
                assert_eq!(reader.next(), Ok(None), "nothing comes after an error");
                return (count, Some(error));
            }
        }
    }
}

#[test]
fn what_is_no_trace_is_refused() {
    assert_eq!(read(b"go 1.2x trace\0\0\0"), (0, Some(GoTraceError::NotTrace)));
    assert_eq!(read(b""), (0, Some(GoTraceError::NotTrace)));
    assert_eq!(read(b"go 1.99 trace\0\0\0"), (0, Some(GoTraceError::Version(99))));
    assert_eq!(read(b"go 1.5 trace\0\0\0\0"), (0, Some(GoTraceError::NotTrace)));
}

#[test]
fn every_cut_gives_the_generations_before_it() {
    let bytes = encode(SMALL);
    // Syncs of two generations and of the end, and two events in each.
    assert_eq!(read(&bytes), (7, None));
    let second = bytes.len() - (bytes.len() - 16) / 2;
    for cut in second + 1..bytes.len() {
        let (count, error) = read(&bytes[..cut]);
        assert!(count >= 3, "{count} events of {cut} bytes, {error:?}");
        let Some(error) = error else { continue };
        assert!(error.offset() >= second as u64, "{cut}: {error}");
        assert!(error.offset() <= cut as u64, "{cut}: {error}");
    }
}

#[test]
fn contradictions_say_what_and_where() {
    let text = SMALL.replacen("gstatus=2", "gstatus=4", 1);
    let bytes = encode(&text);
    let (count, error) = read(&bytes);
    assert_eq!(count, 5);
    let last = bytes.len() as u64 - 5;
    let expected = format!(
        "broken trace at offset {last} (generation 2): inconsistent status for goroutine 1: old \
         Waiting vs. new Running"
    );
    assert_eq!(error.unwrap().to_string(), expected);
}

#[test]
fn waiting_for_each_other_ends() {
    let start = "EventBatch gen=1 m=8 time=11 size=4\nGoStart dt=1 g=5 g_seq=9\n";
    let bytes = encode(&SMALL.replacen("EventBatch gen=2", &format!("{start}EventBatch gen=2"), 1));
    let (count, error) = read(&bytes);
    assert_eq!(count, 3);
    let text = error.unwrap().to_string();
    assert!(text.contains("failed to advance: none can come next of thread 8"), "{text}");
    assert!(text.contains("GoStart 5 9"), "{text}");
}

/// The thread that the others wait for may be what is cut off.
#[test]
fn waiting_for_what_is_cut_off_says_that() {
    let start = "EventBatch gen=1 m=8 time=11 size=4\nGoStart dt=1 g=5 g_seq=9\n";
    let bytes = encode(&SMALL.replacen("EventBatch gen=2", &format!("{start}EventBatch gen=2"), 1));
    let second = (encode(SMALL).len() - HEADER_LEN) / 2 + HEADER_LEN + encode(start).len();
    // Behind kind and generation is the thread, of ten bytes.
    let (count, error) = read(&bytes[..second + 3]);
    let (offset, what) = (second as u64 + 2, "the thread of a batch");
    assert_eq!((count, error), (3, Some(GoTraceError::Truncated { offset, what })));
}

/// Format 1: one batch without events, and nothing of what stands at the end.
#[test]
fn old_traces_need_their_end() {
    let mut bytes = b"go 1.21 trace\0\0\0".to_vec();
    // Kind 1 with two numbers: P 0, at tick 5.
    bytes.extend_from_slice(&[1 << 6 | 1, 0, 5]);
    let what = "no frequency event, which stands at the end";
    let error = GoTraceError::Truncated { offset: bytes.len() as u64, what };
    assert_eq!(read(&bytes), (0, Some(error)));
    // Kind 2 with one number, the ticks of a second.
    bytes.extend_from_slice(&[2, 100]);
    assert_eq!(read(&bytes), (1, None));
}

/// Go 1.26 says where a generation ends. Names stand there; without them the rest is read.
#[test]
fn a_generation_without_its_end_is_read_without_names() {
    let start = "Trace Go1.26
EventBatch gen=1 m=18446744073709551615 time=10 size=15
Sync
Frequency freq=15625000
ClockSnapshot dt=1 mono=99 sec=1740755049 nsec=123
EventBatch gen=1 m=7 time=10 size=13
ProcStatus dt=1 p=0 pstatus=1
GoStatus dt=1 g=1 m=7 gstatus=2
GoBlock dt=1 reason_string=1 stack=1
";
    let end = "EventBatch gen=1 m=18446744073709551615 time=10 size=7
Strings
String id=1
	data=\"why\"
EventBatch gen=1 m=18446744073709551615 time=10 size=8
Stacks
Stack id=1 n=1
	pc=5 func=1 file=1 line=9
EndOfGeneration
";
    let whole = encode(&format!("{start}{end}"));
    assert_eq!(read(&whole), (5, None));
    let (count, error) = read(&encode(start));
    let offset = encode(start).len() as u64;
    let what = "incomplete generation found";
    assert_eq!((count, error), (5, Some(GoTraceError::Truncated { offset, what })));
    let (count, error) = read(&whole[..whole.len() - 3]);
    assert_eq!(count, 5);
    assert!(matches!(error, Some(GoTraceError::Truncated { .. })), "{error:?}");
}
