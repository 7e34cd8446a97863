//! Labels by key: their units, and frames made of them (tagroot, tagleaf).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::profile::Location;
use model::{Function, FunctionId, Label, LabelValue, Line, LocationId, Profile, StackId, StrId};

use super::measure::scaled_label;

/// Marks samples of the base of a difference.
pub const BASE_LABEL: &str = "pprof::base";

/// The unit of every numeric label, by key.
#[derive(Clone, Debug, Default)]
pub struct LabelUnits {
    units: HashMap<StrId, String>,
}

impl LabelUnits {
    /// The unit of a key; empty when no sample has it.
    pub fn get(&self, key: StrId) -> &str {
        self.units.get(&key).map_or("", String::as_str)
    }

    /// Finds the first unit given for each key, else one that its name suggests.
    /// The second result names keys with several.
    pub fn of(profile: &Profile) -> (LabelUnits, Vec<String>) {
        let mut units: BTreeMap<StrId, Option<StrId>> = BTreeMap::new();
        let mut ignored: BTreeMap<StrId, BTreeSet<StrId>> = BTreeMap::new();
        for sample in profile.samples.ids() {
            for label in profile.samples.labels(sample) {
                let LabelValue::Num(_, unit) = label.value else { continue };
                let wanted = units.entry(label.key).or_default();
                if unit == StrId(0) {
                    continue;
                }
                if *wanted.get_or_insert(unit) != unit {
                    ignored.entry(label.key).or_default().insert(unit);
                }
            }
        }
        let named = units.into_iter().map(|(key, unit)| {
            let unit = unit.map(|unit| profile.str(unit)).filter(|unit| !unit.is_empty());
            let name = unit.unwrap_or(match profile.str(key) {
                "alignment" | "request" => "bytes",
                name => name,
            });
            (key, name.to_owned())
        });
        let units = LabelUnits { units: named.collect() };
        let notes = ignored.into_iter().map(|(key, others)| {
            let mut others: Vec<&str> = others.into_iter().map(|id| profile.str(id)).collect();
            others.sort_unstable();
            let (name, used) = (profile.str(key), units.get(key));
            format!(
                "For tag {name} used unit {used}, also encountered unit(s) {}",
                others.join(", ")
            )
        });
        let notes = notes.collect();
        (units, notes)
    }
}

/// Reports whether a sample is one of the base of a difference.
pub fn is_base(profile: &Profile, labels: &[Label]) -> bool {
    labels.iter().any(|label| match label.value {
        LabelValue::Str(text) => {
            profile.str(label.key) == BASE_LABEL && profile.str(text) == "true"
        }
        LabelValue::Num(..) => false,
    })
}

/// Removes every label with this key and a text.
pub fn remove(profile: &mut Profile, key: &str) {
    let Some(key) = profile.strings.lookup(key) else { return };
    profile.samples.edit_labels(|_, labels| {
        labels.retain(|label| label.key != key || matches!(label.value, LabelValue::Num(..)));
    });
}

/// Gives every sample this label, in place of those with the same key.
pub fn set(profile: &mut Profile, key: &str, value: &str) {
    let key = profile.strings.intern(key);
    let value = LabelValue::Str(profile.strings.intern(value));
    profile.samples.edit_labels(|_, labels| {
        labels.retain(|label| label.key != key || matches!(label.value, LabelValue::Num(..)));
        labels.push(Label { key, value });
    });
}

/// The texts of one key of a sample: strings, then numbers in `unit`.
fn formatted(profile: &Profile, labels: &[Label], key: &str, unit: &str) -> Vec<String> {
    let of_key = || labels.iter().filter(|label| profile.str(label.key) == key);
    let texts = of_key().filter_map(|label| match label.value {
        LabelValue::Str(text) => Some(profile.str(text).to_owned()),
        LabelValue::Num(..) => None,
    });
    let numbers = || {
        of_key().filter_map(|label| match label.value {
            LabelValue::Num(number, unit) => Some((number, unit)),
            LabelValue::Str(_) => None,
        })
    };
    let has_units = numbers().any(|(_, unit)| unit != StrId(0));
    let numbers = numbers().map(|(number, from)| match has_units {
        true => scaled_label(number, profile.str(from), unit),
        false => scaled_label(number, "", ""),
    });
    texts.chain(numbers).collect()
}

/// Adds a frame for each key at the root and at the leaf of every stack, named after
/// the sample's value. Tells which of the two matched anything.
pub fn add_frames(
    profile: &mut Profile,
    roots: &[&str],
    leaves: &[&str],
    unit: &str,
) -> (bool, bool) {
    let mut frames = LabelFrames::new(profile);
    let mut matched = (false, false);
    let mut stacks = Vec::with_capacity(profile.samples.len());
    for sample in profile.samples.ids() {
        let labels = profile.samples.labels(sample).to_vec();
        let mut stack = Vec::new();
        matched.1 |= frames.add(profile, &labels, leaves, unit, &mut stack);
        let id = profile.samples.stacks.get(sample.0 as usize).copied().unwrap_or(StackId(0));
        stack.extend_from_slice(profile.stacks.get(id));
        matched.0 |= frames.add(profile, &labels, roots, unit, &mut stack);
        stacks.push(profile.stacks.intern(&stack));
    }
    profile.samples.stacks = stacks;
    matched
}

/// Locations made of labels, by function and file name.
struct LabelFrames {
    known: HashMap<(String, String), LocationId>,
    next_location: u64,
    next_function: u64,
}

impl LabelFrames {
    fn new(profile: &Profile) -> LabelFrames {
        let locations = (0..profile.locations.len() as u32).map(LocationId);
        let functions = (0..profile.functions.len() as u32).map(FunctionId);
        LabelFrames {
            known: HashMap::new(),
            next_location: locations.map(|id| profile.location_id(id)).max().unwrap_or(0) + 1,
            next_function: functions.map(|id| profile.function_id(id)).max().unwrap_or(0) + 1,
        }
    }

    /// Appends the frames for `keys`, the last key first.
    fn add(
        &mut self,
        profile: &mut Profile,
        labels: &[Label],
        keys: &[&str],
        unit: &str,
        stack: &mut Vec<LocationId>,
    ) -> bool {
        let mut matched = false;
        for key in keys.iter().rev() {
            let values = formatted(profile, labels, key, unit);
            matched |= !values.is_empty();
            stack.push(self.intern(profile, values.join(","), key));
        }
        matched
    }

    fn intern(&mut self, profile: &mut Profile, function: String, file: &str) -> LocationId {
        let key = (function, file.to_owned());
        if let Some(id) = self.known.get(&key) {
            return *id;
        }
        let name = profile.strings.intern(&key.0);
        let filename = profile.strings.intern(file);
        let function = FunctionId(profile.functions.len() as u32);
        let id = self.next_function;
        profile.functions.push(Function { id, name, filename, ..Function::default() });
        let location = LocationId(profile.locations.len() as u32);
        let lines = vec![Line { function, line: 0, column: 0 }];
        profile.locations.push(Location { id: self.next_location, lines, ..Location::default() });
        self.next_location += 1;
        self.next_function += 1;
        self.known.insert(key, location);
        location
    }
}
