//! What a program maps and unmaps against what it says of itself.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use capture::bpf::MmapProbe;
use capture::names::ProcessNames;
use model::Addr;
use model::probe::{MappingCall, MappingChange};

use crate::permitted;
use crate::subject::{Subject, c_program, called};

const PAGE: u64 = 4096;
/// The functions of mmap.c that map, in the order of its answers.
const SITES: [&str; 6] =
    ["map_first", "map_second", "reserve", "map_over", "make_larger", "grow_break"];

/// Which site each page is of, page by page.
#[derive(Default)]
struct Pages {
    sites: HashMap<u64, &'static str>,
    given_back: BTreeMap<&'static str, u64>,
    /// Pages that may be used since.
    opened: usize,
}

fn pages(range: &Range<Addr>) -> impl Iterator<Item = u64> + use<> {
    range.start.0 / PAGE..range.end.0 / PAGE
}

impl Pages {
    fn push(&mut self, call: &MappingCall, site: Option<&'static str>) {
        match &call.change {
            MappingChange::Mapped { range, .. } => {
                self.sites.extend(pages(range).map(|page| (page, site.expect("a site maps"))));
            }
            MappingChange::Unmapped { range } => {
                self.forget(range);
            }
            MappingChange::BreakMoved { from, to } if from < to => {
                let pages = pages(&(*from..*to));
                self.sites.extend(pages.map(|page| (page, site.expect("a site maps"))));
            }
            MappingChange::BreakMoved { from, to } => {
                self.forget(&(*to..*from));
            }
            MappingChange::Moved { from, to, is_kept } => {
                assert!(!is_kept);
                let old: Vec<_> = pages(from).map(|page| self.sites.remove(&page)).collect();
                for (index, page) in pages(to).enumerate() {
                    let moved = old.get(index).copied().flatten();
                    self.sites.insert(page, moved.or(site).expect("a site maps"));
                }
            }
            MappingChange::GivenBack { range } => {
                for page in pages(range) {
                    let site = self.sites.get(&page).expect("a mapped page");
                    *self.given_back.entry(site).or_default() += PAGE;
                }
            }
            MappingChange::Protected { range, is_reserved } => {
                assert!(!is_reserved);
                self.opened += pages(range).count();
            }
            MappingChange::Replaced => panic!("it runs no other program"),
        }
    }

    fn forget(&mut self, range: &Range<Addr>) {
        for page in pages(range) {
            self.sites.remove(&page);
        }
    }

    fn bytes(&self, site: &str) -> u64 {
        self.sites.values().filter(|of| **of == site).count() as u64 * PAGE
    }
}

#[test]
fn each_site_has_what_the_program_says() {
    let Some(program) = c_program("mmap") else { return };
    let mut subject = Subject::start(&program);
    subject.ask("nothing");
    let mut names = ProcessNames::open(subject.pid()).unwrap();
    let Some(mut probe) = permitted(MmapProbe::open(&names)) else { return };
    let before = probe.attach(subject.pid()).unwrap();
    assert!(before.len() > 5, "{before:?}");
    let mut mapped = Pages::default();
    for round in 1..=3 {
        let truth = subject.ask("change");
        let mut calls = Vec::new();
        probe.read(Duration::from_millis(100), |call| calls.push(call));
        assert_eq!(calls.len(), 17, "round {round}");
        for call in calls {
            let stack = called(&mut names, &call.stack);
            assert_eq!(stack.last().map(String::as_str), Some("_start"), "{stack:?}");
            let site = SITES.into_iter().find(|site| stack.iter().any(|name| name == site));
            mapped.push(&call, site);
        }
        let found = SITES.map(|site| mapped.bytes(site).to_string()).join(" ");
        assert_eq!(found, truth, "round {round}: {SITES:?}");
    }
    // 16 pages with MADV_DONTNEED, 4 with MADV_FREE.
    assert_eq!(mapped.given_back, BTreeMap::from([("map_over", 3 * 20 * PAGE)]));
    assert_eq!(mapped.opened, 3 * 10);
    let counts = probe.counts();
    assert_eq!((counts.dropped, counts.table_full, counts.without_stack), (0, 0, 0));
}

#[test]
fn a_program_that_becomes_another_has_its_mappings_no_longer() {
    let Some(program) = c_program("mmap") else { return };
    let mut subject = Subject::start(&program);
    subject.ask("nothing");
    let names = ProcessNames::open(subject.pid()).unwrap();
    let Some(mut probe) = permitted(MmapProbe::open(&names)) else { return };
    probe.attach(subject.pid()).unwrap();
    subject.ask("exec");
    let mut calls = Vec::new();
    probe.read(Duration::from_millis(100), |call| calls.push(call.change));
    assert_eq!(calls.first(), Some(&MappingChange::Replaced));
    // The new program's loader maps the C library.
    assert!(calls.iter().any(|change| matches!(change, MappingChange::Mapped { .. })));
    // What another process does is not told.
    let mut other = Subject::start(&program);
    other.ask("change");
    let mut others = 0;
    probe.read(Duration::from_millis(20), |_| others += 1);
    assert_eq!(others, 0);
}

#[test]
fn no_call_is_lost_when_threads_map_all_at_once() {
    let Some(program) = c_program("mmap") else { return };
    let mut subject = Subject::start(&program);
    // Stacks of threads stay for the next ones.
    subject.ask("storm");
    let names = ProcessNames::open(subject.pid()).unwrap();
    let Some(mut probe) = permitted(MmapProbe::open(&names)) else { return };
    probe.attach(subject.pid()).unwrap();
    subject.ask("storm");
    let (mut mapped, mut unmapped) = ((0, 0), (0, 0));
    probe.read(Duration::from_millis(100), |call| {
        let bytes = |range: &Range<Addr>| range.end.0 - range.start.0;
        match &call.change {
            MappingChange::Mapped { range, .. } => mapped = (mapped.0 + 1, mapped.1 + bytes(range)),
            MappingChange::Unmapped { range } => {
                unmapped = (unmapped.0 + 1, unmapped.1 + bytes(range));
            }
            _ => {}
        }
    });
    let pages: u64 = (0..5000).map(|round| 1 + round * 7 % 13).sum();
    assert_eq!(mapped, (20_000, 4 * pages * PAGE));
    assert_eq!(unmapped, mapped);
    assert_eq!(probe.counts().dropped, 0);
}
