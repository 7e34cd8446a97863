//! A profile while it is read: samples with their own stacks, locations by address.

use std::collections::HashMap;

use model::profile::{Location, Mapping};
use model::{Addr, Function, FunctionId, Label, LabelValue, Line, LocationId, Profile, StrId};

use super::frames;
use super::names::TextNames;

/// A sample.
#[derive(Debug, Default)]
pub(crate) struct DraftSample {
    pub(super) stack: Vec<LocationId>,
    pub(super) values: Vec<i64>,
    /// The `bytes` label.
    pub(super) bytes: Option<i64>,
}

/// A profile while it is read.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(super) profile: Profile,
    pub(super) samples: Vec<DraftSample>,
    pub(super) names: TextNames,
    by_address: HashMap<u64, LocationId>,
}

impl Draft {
    /// Starts with these value columns and the type of the period, as (kind, unit).
    pub(super) fn new(types: &[(&str, &str)], period: (&str, &str)) -> Draft {
        let mut profile = Profile::new(types);
        profile.period_type = Some(profile.value_type(period.0, period.1));
        Draft { profile, ..Draft::default() }
    }

    /// The location of an address.
    pub(super) fn location(&mut self, address: u64) -> LocationId {
        let locations = &mut self.profile.locations;
        *self.by_address.entry(address).or_insert_with(|| {
            locations.push(Location { address: Addr(address), ..Location::default() });
            LocationId(locations.len() as u32 - 1)
        })
    }

    /// The locations of return addresses, one back each so that they lie in the call;
    /// the leaf too unless it is no call.
    pub(super) fn call_stack(&mut self, addresses: &[u64], is_leaf_call: bool) -> Vec<LocationId> {
        let call = |(index, address): (usize, &u64)| match index > 0 || is_leaf_call {
            true => address.wrapping_sub(1),
            false => *address,
        };
        addresses.iter().enumerate().map(call).map(|address| self.location(address)).collect()
    }

    pub(super) fn address(&self, id: LocationId) -> u64 {
        self.profile.locations.get(id.0 as usize).map_or(0, |location| location.address.0)
    }

    /// A profiler may record the leaf twice: from the signal and from the stack, there
    /// one back.
    pub(super) fn drop_repeated_leaves(&mut self) {
        let mut samples = std::mem::take(&mut self.samples);
        for sample in &mut samples {
            if let [leaf, next, ..] = sample.stack.as_slice()
                && self.address(*leaf) == self.address(*next).wrapping_add(1)
            {
                sample.stack.remove(1);
            }
        }
        self.samples = samples;
    }

    /// A function's only line, new for every name.
    pub(super) fn function(&mut self, name: &str, file: &str) -> FunctionId {
        let name = self.profile.strings.intern(name);
        let filename = self.profile.strings.intern(file);
        self.profile.functions.push(Function {
            name,
            system_name: name,
            filename,
            ..Function::default()
        });
        FunctionId(self.profile.functions.len() as u32 - 1)
    }

    pub(super) fn set_line(&mut self, location: LocationId, function: FunctionId, line: i64) {
        if let Some(location) = self.profile.locations.get_mut(location.0 as usize) {
            location.lines = vec![Line { function, line, column: 0 }];
            location.address = Addr(0);
        }
    }

    /// Numbers locations in the order samples use them, drops those that none uses.
    pub(super) fn renumber_locations(&mut self) {
        let old = std::mem::take(&mut self.profile.locations);
        let mut new_ids: Vec<Option<LocationId>> = vec![None; old.len()];
        for sample in &mut self.samples {
            for id in &mut sample.stack {
                let Some(slot) = new_ids.get_mut(id.0 as usize) else { continue };
                let locations = &mut self.profile.locations;
                *id = *slot.get_or_insert_with(|| {
                    locations.extend(old.get(id.0 as usize).cloned());
                    LocationId(locations.len() as u32 - 1)
                });
            }
        }
        self.by_address.clear();
    }

    /// Drops functions that no location uses, numbers the rest by use.
    pub(super) fn renumber_functions(&mut self) {
        let old = std::mem::take(&mut self.profile.functions);
        let mut new_ids: Vec<Option<FunctionId>> = vec![None; old.len()];
        for line in self.profile.locations.iter_mut().flat_map(|location| &mut location.lines) {
            let Some(slot) = new_ids.get_mut(line.function.0 as usize) else { continue };
            let functions = &mut self.profile.functions;
            line.function = *slot.get_or_insert_with(|| {
                functions.extend(old.get(line.function.0 as usize).copied());
                FunctionId(functions.len() as u32 - 1)
            });
        }
    }

    /// Adds a mapping.
    pub(super) fn push_mapping(&mut self, mapping: Mapping) {
        self.profile.mappings.push(mapping);
    }

    /// Sets the expressions of frames that profilers themselves add.
    pub(super) fn name_uninteresting(&mut self) {
        let kinds: Vec<&str> =
            self.profile.sample_types.iter().map(|t| self.profile.str(t.kind)).collect();
        let (drop, keep) = frames::uninteresting(&kinds);
        self.profile.drop_frames = self.profile.strings.intern(&drop);
        self.profile.keep_frames = self.profile.strings.intern(&keep);
    }

    /// Reports whether it is known what the values of samples are.
    pub(super) fn has_types(&self) -> bool {
        let columns = self.profile.sample_types.len();
        columns > 0 && self.samples.iter().all(|sample| sample.values.len() == columns)
    }

    /// Puts the samples into the profile.
    pub(super) fn finish(mut self) -> (Profile, TextNames) {
        let key = self.profile.strings.intern("bytes");
        let columns = self.profile.sample_types.len();
        for sample in self.samples {
            let label = |bytes| Label { key, value: LabelValue::Num(bytes, StrId(0)) };
            let labels: Vec<Label> = sample.bytes.map(label).into_iter().collect();
            if sample.values.len() == columns {
                self.profile.push_sample(&sample.stack, &sample.values, &labels);
            }
        }
        (self.profile, self.names)
    }
}
