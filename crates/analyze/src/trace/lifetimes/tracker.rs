//! Follows objects from event to event.

use ahash::AHashMap;
use model::HeapGraph;
use model::trace::{Event, HeapInfo, ObjectEvent, ObjectTypeId, Range, Tables, Time, What};

use super::functions::{Functions, Label};
use super::slots::{Record, Slot, Slots};
use super::types::{BYTES_NAME, TypeNumber, Types, UNKNOWN_NAME};
use super::{Lifetimes, Named, Naming, Totals, Unmatched};
use crate::trace::Analysis;

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Collections whose survivors are counted; less than
    /// [`COLLECTION_CLASSES`](super::COLLECTION_CLASSES).
    pub gcs: usize,
    /// What is freed within this time is short-lived.
    pub within_nanos: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { gcs: 3, within_nanos: 1_000_000_000 }
    }
}

/// Makes [`Lifetimes`].
#[derive(Debug)]
pub struct Tracker<'s> {
    options: Options,
    snapshot: Option<&'s HeapGraph<'s>>,
    heap: Option<(HeapInfo, Slots)>,
    types: Types,
    subjects: Subjects,
    functions: Functions,
    /// Tiny objects in slots that held others since before the latest collection, by slot: the
    /// first since then, which may begin anew in a slot whose free is still to come.
    doubtful: AHashMap<Slot, Record>,
    start: Option<Time>,
    end: Time,
    collections: u32,
    totals: Totals,
    named: Named,
    unmatched: Unmatched,
}

impl<'s> Tracker<'s> {
    /// Starts; types that the trace does not tell are those of the snapshot, of the same
    /// program, taken shortly before.
    pub fn new(options: Options, snapshot: Option<&'s HeapGraph<'s>>) -> Tracker<'s> {
        Tracker {
            options,
            snapshot,
            heap: None,
            types: Types::default(),
            subjects: Subjects::default(),
            functions: Functions::default(),
            doubtful: AHashMap::new(),
            start: None,
            end: Time(0),
            collections: 0,
            totals: Totals::default(),
            named: Named::default(),
            unmatched: Unmatched::default(),
        }
    }

    /// The counts as they are after the last event.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Ends.
    pub fn finish(mut self) -> Lifetimes {
        let age = self.now();
        let unknown = self.types.named(UNKNOWN_NAME);
        for (record, _) in self.heap.iter().flat_map(|(_, slots)| slots.living()) {
            self.unmatched.early_unresolved += u64::from(record.owes_free());
            let subject = self.subjects.get(record.subject);
            if record.has_existed() {
                self.named.existed_living += 1;
                self.named.existed_living_named += u64::from(subject.of != unknown);
                continue;
            }
            // The last collection may not have swept all.
            let judged = self.collections.saturating_sub(1);
            let survived = judged.saturating_sub(record.born_collections);
            let nanos = age.saturating_sub(record.born_nanos());
            self.types.figures(subject.of).is_left(nanos, survived);
        }
        self.unmatched.early = self.unmatched.early.saturating_sub(self.unmatched.early_unresolved);
        let mut lifetimes = Lifetimes {
            duration_nanos: age,
            collections: self.collections,
            totals: self.totals,
            named: self.named,
            unmatched: self.unmatched,
            functions: self.functions.finish(),
            types: Vec::new(),
        };
        self.types.finish(self.collections, self.options.gcs, &mut lifetimes);
        lifetimes
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.end.nanos_since(self.start.unwrap_or(self.end))
    }

    fn object(&mut self, event: &Event, what: ObjectEvent, tables: &Tables<'_>) {
        match what {
            ObjectEvent::Span { page, pages, class } => {
                let Some((_, slots)) = &mut self.heap else { return };
                let lost = slots.add(page, pages, class);
                self.lose(&lost);
            }
            ObjectEvent::SpanFree { page } => {
                let Some((_, slots)) = &mut self.heap else { return };
                let lost = slots.free(page);
                self.lose(&lost);
            }
            ObjectEvent::Existed { object, of } => self.existed(object, of, tables),
            ObjectEvent::Alloc { object, of } => self.alloc(event, object, of, tables),
            ObjectEvent::Free { object } => self.free(object),
        }
    }

    fn find(&mut self, object: u64) -> Option<Slot> {
        let slot = self.heap.as_mut().and_then(|(_, slots)| slots.find(object));
        self.unmatched.without_span += u64::from(slot.is_none());
        slot
    }

    fn existed(&mut self, object: u64, id: ObjectTypeId, tables: &Tables<'_>) {
        let Some(slot) = self.find(object) else { return };
        let Some((info, slots)) = &mut self.heap else { return };
        let bytes = slots.bytes(slot);
        let by_trace = self.types.of(id, bytes, info.page_bytes, tables);
        let by_snapshot =
            self.snapshot.and_then(|graph| self.types.of_snapshot(object, bytes, info, graph));
        let of = match (by_trace, by_snapshot) {
            (Some(number), other) => {
                self.named.existed_by_trace += 1;
                if let Some((other, Naming::Named)) = other
                    && !self.types.is_of_map(number)
                {
                    self.named.compared += 1;
                    self.named.differing += u64::from(other != number);
                }
                number
            }
            (None, Some((number, naming))) => {
                self.named.existed_by_snapshot += u64::from(naming == Naming::Named);
                number
            }
            (None, None) => self.types.named(UNKNOWN_NAME),
        };
        let subject = self.subjects.number(Subject { of, function: Label::NONE });
        slots.set(slot, Record::existed(subject));
        self.types.figures(of).existed.add(bytes);
        self.totals.existed.add(bytes);
        self.totals.living.add(bytes);
    }

    fn alloc(&mut self, event: &Event, object: u64, id: ObjectTypeId, tables: &Tables<'_>) {
        let Some(slot) = self.find(object) else {
            // At least that it was allocated is known.
            self.totals.allocated.add(0);
            return;
        };
        let Some((info, slots)) = &mut self.heap else { return };
        let (bytes, page_bytes, old) = (slots.bytes(slot), info.page_bytes, slots.get(slot));
        let (is_tiny, is_noscan) = (slots.is_tiny(slot), slots.is_noscan(slot));
        let of = self.types.of(id, bytes, page_bytes, tables);
        let naming = match (of, id) {
            (Some(_), _) => Naming::Named,
            (None, ObjectTypeId(0)) if is_noscan => Naming::Bytes,
            (None, _) => Naming::Unknown,
        };
        let of = of.unwrap_or_else(|| {
            self.types.named(if naming == Naming::Bytes { BYTES_NAME } else { UNKNOWN_NAME })
        });
        let function = self.functions.of(event.goroutine);
        let subject = self.subjects.number(Subject { of, function });
        let mut record = Record::born(self.now(), self.collections, subject);
        if old.lives() && is_tiny {
            // What was allocated since the latest collection began is not freed by it.
            if old.has_existed() || old.born_collections < self.collections {
                self.doubtful.entry(slot).or_insert(record);
            }
            self.totals.packed += 1;
            self.types.figures(of).packed += 1;
            return;
        }
        if old.lives() {
            self.unmatched.early += 1;
            self.die(old, bytes);
        }
        // Another that is owed by now will never come.
        record.set_owes_free(old.lives());
        self.unmatched.early_unresolved += u64::from(old.owes_free());
        if let Some((_, slots)) = &mut self.heap {
            slots.set(slot, record);
        }
        self.count(record, bytes);
        match naming {
            Naming::Named => self.named.allocated += 1,
            Naming::Bytes => self.named.allocated_bytes += 1,
            Naming::Unknown => {}
        }
    }

    /// An object was allocated in a slot of its own.
    fn count(&mut self, record: Record, bytes: u64) {
        let Subject { of, function } = self.subjects.get(record.subject);
        self.types.figures(of).allocated.add(bytes);
        self.functions.figures(function).allocated.add(bytes);
        self.totals.allocated.add(bytes);
        self.totals.living.add(bytes);
    }

    fn free(&mut self, object: u64) {
        let Some(slot) = self.find(object) else { return };
        let Some((_, slots)) = &mut self.heap else { return };
        let (mut record, bytes) = (slots.get(slot), slots.bytes(slot));
        self.totals.freed.add(bytes);
        if !record.lives() {
            self.unmatched.frees += 1;
            return;
        }
        if record.owes_free() {
            record.set_owes_free(false);
            slots.set(slot, record);
            return;
        }
        // The slot had a new object before its free came.
        let next = if slots.is_tiny(slot) { self.doubtful.remove(&slot) } else { None };
        slots.set(slot, next.unwrap_or_default());
        self.die(record, bytes);
        if let Some(next) = next {
            let of = self.subjects.get(next.subject).of;
            let figures = self.types.figures(of);
            figures.packed = figures.packed.saturating_sub(1);
            self.totals.packed = self.totals.packed.saturating_sub(1);
            self.unmatched.early += 1;
            self.count(next, bytes);
        }
    }

    /// Objects that are in a span that is freed have no free of their own.
    fn lose(&mut self, lost: &[(Record, u64)]) {
        for (record, bytes) in lost {
            self.unmatched.lost_with_span += 1;
            self.die(*record, *bytes);
        }
    }

    fn die(&mut self, record: Record, bytes: u64) {
        let living = &mut self.totals.living;
        living.objects = living.objects.saturating_sub(1);
        living.bytes = living.bytes.saturating_sub(bytes);
        let now = self.now();
        let Subject { of, function } = self.subjects.get(record.subject);
        let figures = self.types.figures(of);
        if record.has_existed() {
            figures.existed_freed.add(bytes);
            return;
        }
        let nanos = now.saturating_sub(record.born_nanos());
        let survived = self.collections.saturating_sub(record.born_collections).saturating_sub(1);
        figures.dies(nanos, survived, self.collections, bytes);
        if nanos < self.options.within_nanos {
            figures.within.add(bytes);
        }
        let by_function = self.functions.figures(function);
        by_function.freed.add(bytes);
        if survived == 0 {
            by_function.young.add(bytes);
        }
    }
}

impl Analysis for Tracker<'_> {
    #[inline]
    fn event(&mut self, event: &Event, tables: &Tables<'_>) {
        self.start.get_or_insert(event.time);
        self.end = event.time;
        match &event.what {
            What::Experiment { code, arguments } => {
                if let Some(what) = ObjectEvent::of(*code, *arguments) {
                    self.object(event, what, tables);
                }
            }
            What::Sync { .. } => {
                self.types.forget_ids();
                self.functions.forget_ids();
                if let Some(info) = tables.heap() {
                    self.heap = Some((info, Slots::new(info)));
                }
            }
            What::Goroutine(change) => self.functions.change(change, tables),
            What::RangeBegin(Range::Mark) => {
                self.collections += 1;
                self.doubtful.clear();
            }
            // In every generation that it goes on into, but only the first tells something new.
            What::RangeActive(Range::Mark) if self.collections == 0 => self.collections = 1,
            _ => {}
        }
    }
}

/// Who allocated an object of which type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Subject {
    of: TypeNumber,
    function: Label,
}

/// Pairs by numbers, which fit into a record.
#[derive(Debug, Default)]
struct Subjects {
    all: Vec<Subject>,
    numbers: AHashMap<Subject, u32>,
}

impl Subjects {
    fn number(&mut self, subject: Subject) -> u32 {
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(subject).or_insert(next);
        if number == next {
            self.all.push(subject);
        }
        number
    }

    fn get(&self, number: u32) -> Subject {
        #[expect(clippy::indexing_slicing, reason = "numbers are made by `number` only")]
        self.all[number as usize]
    }
}
