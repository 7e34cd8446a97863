//! Merging, subtracting and normalising profiles (profile/merge.go,
//! measurement.ScaleProfiles).

use ahash::AHashMap;
use model::profile::{Location, Mapping};
use model::{
    Addr, Function, FunctionId, Label, LabelValue, LocationId, MappingId, Profile, StackId, StrId,
    ValueType,
};

use super::graph::go_int;
use super::labels;
use super::measure::{are_same_quantity, scale as scale_unit};

/// Merges profiles after giving them the same sample types and units.
///
/// # Errors
/// When they have no sample type in common, or their types cannot be brought together.
pub fn combine(mut profiles: Vec<Profile>) -> Result<Profile, String> {
    share_sample_types(&mut profiles)?;
    share_units(&mut profiles)?;
    match profiles.len() {
        1 => profiles.pop().ok_or_else(|| "no profiles to merge".to_owned()),
        _ => merge(&profiles),
    }
}

/// The difference of a profile and a base. With `is_marked` the base's samples get a label,
/// and shares are of the base.
///
/// # Errors
/// When the two are not compatible.
pub fn difference(profile: Profile, mut base: Profile, is_marked: bool) -> Result<Profile, String> {
    if is_marked {
        labels::set(&mut base, labels::BASE_LABEL, "true");
    }
    negate(&mut base);
    combine(vec![profile, base])
}

/// Merges profiles with equal sample types: equal samples are added, zero ones and what
/// nothing refers to are dropped.
///
/// # Errors
/// When there is none, or they are not compatible.
pub fn merge(profiles: &[Profile]) -> Result<Profile, String> {
    let mut merged = merge_once(profiles)?;
    while has_zero_sample(&merged) {
        merged = merge_once(&[merged])?;
    }
    Ok(merged)
}

fn merge_once(profiles: &[Profile]) -> Result<Profile, String> {
    let mut merger = Merger { profile: headers(profiles)?, ..Merger::default() };
    for profile in profiles {
        merger.add(profile);
    }
    Ok(merger.profile)
}

fn has_zero_sample(profile: &Profile) -> bool {
    profile.samples.ids().any(|sample| profile.samples.row(sample).all(|value| value == 0))
}

/// Scales every value so that the sums are those of `base`.
///
/// # Errors
/// When the profiles are not compatible.
pub fn normalize(profile: &mut Profile, base: &Profile) -> Result<(), String> {
    check_compatible(profile, base)?;
    let sum = |column: &Vec<i64>| column.iter().fold(0_i64, |sum, v| sum.wrapping_add(*v));
    let ratios: Vec<f64> = profile
        .samples
        .values
        .iter()
        .zip(&base.samples.values)
        .map(|(own, base)| match sum(own) {
            0 => 0.0,
            own => sum(base) as f64 / own as f64,
        })
        .collect();
    scale(profile, &ratios);
    Ok(())
}

/// Multiplies each column by its ratio and drops samples that become zero.
pub fn scale(profile: &mut Profile, ratios: &[f64]) {
    let scaled: Vec<usize> = (0..ratios.len()).filter(|i| ratios.get(*i) != Some(&1.0)).collect();
    if scaled.is_empty() {
        return;
    }
    for (column, ratio) in profile.samples.values.iter_mut().zip(ratios) {
        if *ratio != 1.0 {
            column.iter_mut().for_each(|v| *v = go_int((*v as f64 * ratio).round()));
        }
    }
    let samples = &mut profile.samples;
    let values = std::mem::take(&mut samples.values);
    let is_kept = |row: usize| {
        let column = |index: &usize| values.get(*index).and_then(|column| column.get(row));
        scaled.iter().filter_map(column).any(|value| *value != 0)
    };
    let kept: Vec<bool> = (0..samples.len()).map(is_kept).collect();
    samples.values = values;
    samples.retain(|sample| kept.get(sample.0 as usize) == Some(&true));
}

/// Turns every value into its negative.
pub fn negate(profile: &mut Profile) {
    let ratios = vec![-1.0; profile.sample_types.len()];
    scale(profile, &ratios);
}

fn kinds(profile: &Profile) -> Vec<String> {
    profile.sample_types.iter().map(|t| profile.str(t.kind).to_owned()).collect()
}

/// Keeps the sample types that all have, in the order of the first.
fn share_sample_types(profiles: &mut [Profile]) -> Result<(), String> {
    let all: Vec<Vec<String>> = profiles.iter().map(kinds).collect();
    let count = |kind: &String| all.iter().flatten().filter(|other| *other == kind).count();
    let first = all.first().map_or(&[][..], Vec::as_slice);
    let common: Vec<&String> = first.iter().filter(|kind| count(kind) == all.len()).collect();
    if common.is_empty() {
        return Err("profiles have empty common sample type list".to_owned());
    }
    for (profile, own) in profiles.iter_mut().zip(&all) {
        let place = |kind: &&String| {
            let missing = || format!("{kind:?} sample type is not found in profile");
            own.iter().position(|other| other == *kind).ok_or_else(missing)
        };
        let places = common.iter().map(place).collect::<Result<Vec<usize>, String>>()?;
        if places.iter().copied().eq(0..own.len()) {
            continue;
        }
        let default = profile.default_sample_type.map(|id| profile.str(id).to_owned());
        let default = default.filter(|kind| common.contains(&kind));
        let default = default.unwrap_or_else(|| common.first().map_or("", |s| s).to_owned());
        profile.default_sample_type = Some(profile.strings.intern(&default));
        let types = std::mem::take(&mut profile.sample_types);
        let values = std::mem::take(&mut profile.samples.values);
        for place in places {
            profile.sample_types.extend(types.get(place));
            profile.samples.values.extend(values.get(place).cloned());
        }
    }
    Ok(())
}

/// Scales values to the finest unit that any of the profiles uses.
fn share_units(profiles: &mut [Profile]) -> Result<(), String> {
    if profiles.len() < 2 {
        return Ok(());
    }
    let texts = |profile: &Profile, value_type: ValueType| {
        (profile.str(value_type.kind).to_owned(), profile.str(value_type.unit).to_owned())
    };
    let empty = ValueType { kind: StrId(0), unit: StrId(0) };
    let periods = profiles.iter().map(|p| texts(p, p.period_type.unwrap_or(empty)));
    let period = finest(periods).map_err(|error| format!("period type: {error}"))?;
    let columns = profiles.first().map_or(0, |profile| profile.sample_types.len());
    let mut units = Vec::new();
    for column in 0..columns {
        let types =
            profiles.iter().map(|p| texts(p, p.sample_types.get(column).copied().unwrap_or(empty)));
        units.push(finest(types).map_err(|error| format!("sample types: {error}"))?);
    }
    for profile in profiles {
        if let Some(mut value_type) = profile.period_type {
            let unit = profile.str(value_type.unit).to_owned();
            profile.period = go_int(scale_unit(profile.period, &unit, &period).0);
            value_type.unit = profile.strings.intern(&period);
            profile.period_type = Some(value_type);
        }
        let mut ratios = Vec::new();
        for (index, unit) in units.iter().enumerate() {
            let Some(value_type) = profile.sample_types.get(index).copied() else { continue };
            ratios.push(scale_unit(1, profile.str(value_type.unit), unit).0);
            let unit = profile.strings.intern(unit);
            profile.sample_types.iter_mut().skip(index).take(1).for_each(|t| t.unit = unit);
        }
        scale(profile, &ratios);
    }
    Ok(())
}

/// The finest unit of compatible types, given as name and unit.
fn finest(types: impl Iterator<Item = (String, String)>) -> Result<String, String> {
    let mut finest: Option<(String, String)> = None;
    for (kind, unit) in types {
        let Some((known_kind, known_unit)) = &finest else {
            finest = Some((kind, unit));
            continue;
        };
        let singular = |text: &str| text.strip_suffix('s').unwrap_or(text).to_owned();
        let is_compatible = singular(known_kind) == singular(&kind)
            && (*known_unit == unit || are_same_quantity(known_unit, &unit));
        if !is_compatible {
            return Err(format!(
                "incompatible types: {{{known_kind} {known_unit} 0 0}} {{{kind} {unit} 0 0}}"
            ));
        }
        if scale_unit(1, &unit, known_unit).0 < 1.0 {
            finest = Some((kind, unit));
        }
    }
    Ok(finest.map(|(_, unit)| unit).unwrap_or_default())
}

fn check_compatible(a: &Profile, b: &Profile) -> Result<(), String> {
    let text = |profile: &Profile, value_type: &ValueType| {
        format!("{} {}", profile.str(value_type.kind), profile.str(value_type.unit))
    };
    let period = |profile: &Profile| profile.period_type.as_ref().map(|t| text(profile, t));
    let period = |profile: &Profile| period(profile).unwrap_or_else(|| " ".to_owned());
    if period(a) != period(b) {
        return Err(format!(
            "incompatible period types &{{{} 0 0}} and &{{{} 0 0}}",
            period(a),
            period(b)
        ));
    }
    let types = |profile: &Profile| -> Vec<String> {
        profile.sample_types.iter().map(|value_type| text(profile, value_type)).collect()
    };
    match types(a) == types(b) {
        true => Ok(()),
        false => Err(format!("incompatible sample types {:?} and {:?}", types(a), types(b))),
    }
}

fn headers(profiles: &[Profile]) -> Result<Profile, String> {
    let first = profiles.first().ok_or("no profiles to merge")?;
    for other in profiles {
        check_compatible(first, other)?;
    }
    let types: Vec<(&str, &str)> =
        first.sample_types.iter().map(|t| (first.str(t.kind), first.str(t.unit))).collect();
    let mut merged = Profile::new(&types);
    merged.drop_frames = merged.strings.intern(first.str(first.drop_frames));
    merged.keep_frames = merged.strings.intern(first.str(first.keep_frames));
    merged.period_type =
        first.period_type.map(|t| merged.value_type(first.str(t.kind), first.str(t.unit)));
    for profile in profiles {
        if merged.time_nanos == 0 || profile.time_nanos < merged.time_nanos {
            merged.time_nanos = profile.time_nanos;
        }
        merged.duration_nanos = merged.duration_nanos.wrapping_add(profile.duration_nanos);
        if merged.period == 0 || merged.period < profile.period {
            merged.period = profile.period;
        }
        for comment in &profile.comments {
            let comment = merged.strings.intern(profile.str(*comment));
            if !merged.comments.contains(&comment) {
                merged.comments.push(comment);
            }
        }
        if merged.default_sample_type.is_none() {
            let default = profile.default_sample_type.map(|id| profile.str(id));
            merged.default_sample_type = default.map(|kind| merged.strings.intern(kind));
        }
        if merged.doc_url == StrId(0) {
            merged.doc_url = merged.strings.intern(profile.str(profile.doc_url));
        }
    }
    Ok(merged)
}

#[derive(PartialEq, Eq, Hash)]
struct MappingKey {
    size: u64,
    offset: u64,
    build_id_or_file: StrId,
}

/// Lines as Go compares them: the columns of all but the last are left out.
#[derive(PartialEq, Eq, Hash)]
struct LocationKey {
    address: u64,
    mapping: Option<MappingId>,
    lines: Vec<(FunctionId, i64)>,
    last_column: i64,
    is_folded: bool,
}

#[derive(Default)]
struct Merger {
    profile: Profile,
    mappings: AHashMap<MappingKey, MappingId>,
    functions: AHashMap<Function, FunctionId>,
    locations: AHashMap<LocationKey, LocationId>,
    label_sets: AHashMap<Box<[Label]>, u32>,
    samples: AHashMap<(StackId, u32), u32>,
    /// Scratch.
    stack: Vec<LocationId>,
    /// Scratch.
    values: Vec<i64>,
}

/// The merged parts for those of one source, as far as they were needed.
struct Renaming {
    strings: Vec<Option<StrId>>,
    mappings: Vec<Option<(MappingId, u64)>>,
    functions: Vec<Option<FunctionId>>,
    locations: Vec<Option<LocationId>>,
    stacks: Vec<Option<StackId>>,
}

fn at<T: Copy>(list: &[Option<T>], index: u32) -> Option<T> {
    list.get(index as usize).copied().flatten()
}

fn put<T>(list: &mut [Option<T>], index: u32, value: T) {
    if let Some(slot) = list.get_mut(index as usize) {
        *slot = Some(value);
    }
}

impl Merger {
    fn add(&mut self, source: &Profile) {
        let mut names = Renaming {
            strings: vec![None; source.strings.len()],
            mappings: vec![None; source.mappings.len()],
            functions: vec![None; source.functions.len()],
            locations: vec![None; source.locations.len()],
            stacks: vec![None; source.stacks.len()],
        };
        if self.mappings.is_empty() && !source.mappings.is_empty() {
            // The first mapping is the program itself and stays the first.
            self.mapping(source, &mut names, MappingId(0));
        }
        // Most of what a source has is new, or there would be no reason to merge it.
        let (rows, stacks) = (source.samples.len(), source.stacks.len());
        self.samples.reserve(rows);
        self.profile.samples.reserve(rows, source.samples.label_count());
        self.profile.stacks.reserve(stacks, source.stacks.frame_count());
        let mut labels = Vec::new();
        for (sample, stack) in source.samples.ids().zip(&source.samples.stacks) {
            if source.samples.row(sample).all(|value| value == 0) {
                continue;
            }
            let stack = self.stack(source, &mut names, *stack);
            labels.clear();
            for label in source.samples.labels(sample) {
                labels.push(Label {
                    key: self.string(source, &mut names, label.key),
                    value: match label.value {
                        LabelValue::Str(text) => {
                            LabelValue::Str(self.string(source, &mut names, text))
                        }
                        LabelValue::Num(number, unit) => {
                            LabelValue::Num(number, self.string(source, &mut names, unit))
                        }
                    },
                });
            }
            labels.sort_by_key(|label| (matches!(label.value, LabelValue::Num(..)), label.key));
            self.sample(stack, source.samples.row(sample), &labels);
        }
    }

    fn sample(&mut self, stack: StackId, values: impl Iterator<Item = i64>, labels: &[Label]) {
        let next_set = self.label_sets.len() as u32;
        let set = match self.label_sets.get(labels) {
            Some(set) => *set,
            None => *self.label_sets.entry(labels.into()).or_insert(next_set),
        };
        let samples = &mut self.profile.samples;
        match self.samples.entry((stack, set)) {
            std::collections::hash_map::Entry::Occupied(known) => {
                let row = *known.get() as usize;
                for (column, value) in samples.values.iter_mut().zip(values) {
                    if let Some(sum) = column.get_mut(row) {
                        *sum = sum.wrapping_add(value);
                    }
                }
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                self.values.clear();
                self.values.extend(values);
                new.insert(samples.push(stack, &self.values, labels).0);
            }
        }
    }

    fn string(&mut self, source: &Profile, names: &mut Renaming, id: StrId) -> StrId {
        at(&names.strings, id.0).unwrap_or_else(|| {
            let new = self.profile.strings.intern(source.str(id));
            put(&mut names.strings, id.0, new);
            new
        })
    }

    fn stack(&mut self, source: &Profile, names: &mut Renaming, id: StackId) -> StackId {
        if let Some(known) = at(&names.stacks, id.0) {
            return known;
        }
        let mut stack = std::mem::take(&mut self.stack);
        stack.clear();
        for location in source.stacks.get(id) {
            stack.push(match at(&names.locations, location.0) {
                Some(known) => known,
                None => self.location(source, names, *location),
            });
        }
        let new = self.profile.stacks.intern(&stack);
        self.stack = stack;
        put(&mut names.stacks, id.0, new);
        new
    }

    fn location(&mut self, source: &Profile, names: &mut Renaming, id: LocationId) -> LocationId {
        let Some(old) = source.locations.get(id.0 as usize) else { return id };
        let (mapping, offset) = match old.mapping {
            Some(mapping) => self.mapping(source, names, mapping),
            None => (None, 0),
        };
        let mut location = Location { id: 0, mapping, ..old.clone() };
        location.address = Addr(old.address.0.wrapping_add(offset));
        for line in &mut location.lines {
            line.function = self.function(source, names, line.function);
        }
        let start = mapping.and_then(|id| self.profile.mappings.get(id.0 as usize));
        let key = LocationKey {
            address: location.address.0.wrapping_sub(start.map_or(0, |m| m.start.0)),
            mapping,
            lines: location.lines.iter().map(|line| (line.function, line.line)).collect(),
            last_column: location.lines.last().map_or(0, |line| line.column),
            is_folded: location.is_folded,
        };
        let locations = &mut self.profile.locations;
        let new = *self.locations.entry(key).or_insert_with(|| {
            locations.push(location);
            LocationId(locations.len() as u32 - 1)
        });
        put(&mut names.locations, id.0, new);
        new
    }

    /// The merged mapping and what to add to addresses in the old one.
    fn mapping(
        &mut self,
        source: &Profile,
        names: &mut Renaming,
        id: MappingId,
    ) -> (Option<MappingId>, u64) {
        if let Some((known, offset)) = at(&names.mappings, id.0) {
            return (Some(known), offset);
        }
        let Some(old) = source.mappings.get(id.0 as usize) else { return (None, 0) };
        let filename = self.string(source, names, old.filename);
        let build_id = self.string(source, names, old.build_id);
        let size = old.limit.0.wrapping_sub(old.start.0).wrapping_add(0xfff);
        let key = MappingKey {
            size: size - size % 0x1000,
            offset: old.file_offset,
            build_id_or_file: if build_id == StrId(0) { filename } else { build_id },
        };
        let mappings = &mut self.profile.mappings;
        let new = *self.mappings.entry(key).or_insert_with(|| {
            mappings.push(Mapping { id: 0, filename, build_id, ..*old });
            MappingId(mappings.len() as u32 - 1)
        });
        let start = mappings.get(new.0 as usize).map_or(0, |mapping| mapping.start.0);
        let offset = start.wrapping_sub(old.start.0);
        put(&mut names.mappings, id.0, (new, offset));
        (Some(new), offset)
    }

    fn function(&mut self, source: &Profile, names: &mut Renaming, id: FunctionId) -> FunctionId {
        if let Some(known) = at(&names.functions, id.0) {
            return known;
        }
        let old = source.functions.get(id.0 as usize).copied().unwrap_or_default();
        let function = Function {
            id: 0,
            name: self.string(source, names, old.name),
            system_name: self.string(source, names, old.system_name),
            filename: self.string(source, names, old.filename),
            start_line: old.start_line,
        };
        let functions = &mut self.profile.functions;
        let new = *self.functions.entry(function).or_insert_with(|| {
            functions.push(function);
            FunctionId(functions.len() as u32 - 1)
        });
        put(&mut names.functions, id.0, new);
        new
    }
}
