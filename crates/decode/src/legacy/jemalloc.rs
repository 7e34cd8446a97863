//! Collects the stacks of a jemalloc dump; the reader of its lines is in `foreign`.

use model::Profile;

use super::draft::{Draft, DraftSample};
use super::{lines, maps};
use crate::goruntime::scale_heap_sample;

/// Samples of a dump.
pub(crate) struct JemallocSink {
    draft: Draft,
    rate: i64,
    rows: Vec<[i64; 4]>,
}

impl JemallocSink {
    /// Starts with the mean distance of samples in bytes.
    pub(crate) fn new(rate: i64) -> JemallocSink {
        JemallocSink { draft: Draft::new(&[], ("space", "bytes")), rate, rows: Vec::new() }
    }

    /// Adds a stack with objects and bytes in use, objects and bytes allocated.
    pub(crate) fn push(&mut self, addresses: &str, counts: [i64; 4]) -> Option<()> {
        let addresses = lines::addresses(addresses).ok()?;
        let [objects, bytes, all_objects, all_bytes] = counts;
        let (in_use_objects, in_use_bytes) = scale_heap_sample(objects, bytes, self.rate);
        let (alloc_objects, alloc_bytes) = scale_heap_sample(all_objects, all_bytes, self.rate);
        let size = bytes.checked_div(objects).or_else(|| all_bytes.checked_div(all_objects));
        let stack = self.draft.call_stack(&addresses, true);
        self.rows.push([alloc_objects, alloc_bytes, in_use_objects, in_use_bytes]);
        self.draft.samples.push(DraftSample { stack, values: Vec::new(), bytes: size });
        Some(())
    }

    /// The profile; `maps` are the lines of the memory map.
    pub(crate) fn finish(mut self, maps: &[&str]) -> Profile {
        let has_alloc = self.rows.iter().any(|[objects, bytes, ..]| *objects != 0 || *bytes != 0);
        let types = [
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ];
        let first = if has_alloc { 0 } else { 2 };
        let profile = &mut self.draft.profile;
        profile.period = self.rate;
        for (kind, unit) in types.into_iter().skip(first) {
            let value_type = profile.value_type(kind, unit);
            profile.sample_types.push(value_type);
            profile.samples.values.push(Vec::new());
        }
        for (sample, row) in self.draft.samples.iter_mut().zip(&self.rows) {
            sample.values = row.iter().skip(first).copied().collect();
        }
        maps::attach(maps.iter().copied(), &mut self.draft);
        self.draft.name_uninteresting();
        self.draft.finish().0
    }
}
