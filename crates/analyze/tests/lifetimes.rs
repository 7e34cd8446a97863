//! What following objects costs in resident memory. Alone in its process, so that nothing else
//! moves the high-water mark.

use analyze::trace::Analysis;
use analyze::trace::lifetimes::{Options, Tracker};
use model::Addr;
use model::trace::{Event, HeapInfo, ObjectType, ObjectTypeId, Range, Tables, Time, What};

const PAGES: u64 = 3_000;
/// Of 48 bytes, in a page of 8 KiB.
const SLOTS: u64 = 170;
const ROUNDS: u64 = 3;

fn resident(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Half a million objects, which die and come again in each round.
#[test]
fn memory_follows_what_lives_and_not_what_happens() {
    let mut tables = Tables::default();
    let (address, name) = (Addr(0x50_0000), b"main.node");
    let node = ObjectType { address, bytes: 48, pointer_bytes: 8, name };
    tables.add_type(ObjectTypeId(1), node);
    let base = Addr(0xc0_0000_0000);
    tables.set_heap(HeapInfo { base, page_bytes: 8192, align_bytes: 8, stack_bytes: 2048 });
    tables.seal().unwrap();
    let mut tracker = Tracker::new(Options::default(), None);
    let mut time = 0;
    let mut happens = |what: What| {
        time += 64;
        tracker.event(&Event { time: Time(time), what, ..Event::default() }, &tables);
    };
    let objects = || (0..PAGES).flat_map(|page| (0..SLOTS).map(move |slot| page * 1024 + slot * 6));
    let event =
        |code, first, second, third| What::Experiment { code, arguments: [first, second, third] };
    happens(What::Sync { number: 1 });
    // Writing 5 resets the high-water mark.
    let reset = std::fs::write("/proc/self/clear_refs", "5");
    let (Ok(()), Some(before)) = (reset, resident("VmRSS:")) else {
        println!("skipped: /proc/self does not tell resident memory here");
        return;
    };
    // 129: a span of size class 5; 132: an object of type 1; 133: it dies.
    (0..PAGES).for_each(|page| happens(event(129, page, 1, 5 << 2)));
    for _ in 0..ROUNDS {
        objects().for_each(|object| happens(event(132, object, 1, 0)));
        happens(What::RangeBegin(Range::Mark));
        objects().for_each(|object| happens(event(133, object, 0, 0)));
    }
    objects().for_each(|object| happens(event(132, object, 1, 0)));
    let peak = resident("VmHWM:").expect("it was there before");
    let totals = tracker.totals();
    assert_eq!(totals.living.objects, PAGES * SLOTS);
    assert_eq!(totals.allocated.objects, PAGES * SLOTS * (ROUNDS + 1));
    let bytes = (peak - before) as f64 / (PAGES * SLOTS) as f64;
    assert!(bytes < 40.0, "{bytes:.1} bytes an object");
    assert!(bytes > 15.0, "{bytes:.1} bytes an object: the measure is broken");
    println!("{bytes:.1} bytes an object");
    assert_eq!(tracker.finish().types[0].young.objects, PAGES * SLOTS * ROUNDS);
}
