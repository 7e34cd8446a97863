//! Java's heap and contention profiles, and the symbols at the end of its CPU profiles.

use std::collections::HashMap;

use model::{FunctionId, LocationId};

use super::draft::{Draft, DraftSample};
use super::lines::{addresses, integer, pattern};
use super::{Outcome, Refusal, maps};
use crate::goruntime::scale_heap_sample;

pattern!(ATTRIBUTE, r"([0-9A-Za-z_ ]+)=([0-9A-Za-z_ ]+)");
pattern!(SAMPLE, r" *([0-9]+) +([0-9]+) +@ +([ x0-9a-f]*)");
pattern!(LOCATION, r"^\s*0x([[:xdigit:]]+)\s+(.*)\s*$");
pattern!(FILE_LINE, r"^(.*)\s+\((.+):(-?[0-9]+)\)$");
pattern!(PATH, r"^(.*)\s+\((.*)\)$");

/// Bytes between two samples of the heap.
const HEAP_RATE: i64 = 524_288;

pub(super) fn read(text: &str) -> Outcome {
    let (first, mut rest) = text.split_once('\n').ok_or(Refusal::Unrecognized)?;
    let is_heap = match first.trim() {
        "--- heapz 1 ---" => true,
        "--- contentionz 1 ---" => false,
        _ => return Err(Refusal::Unrecognized),
    };
    let mut draft = Draft::new(&[], ("", ""));
    rest = attributes(rest, is_heap, &mut draft)?;
    rest = samples(rest, is_heap, &mut draft)?;
    locations(rest, &mut draft);
    strip(&mut draft);
    Ok(draft)
}

/// The first line, and what follows; only whole lines count.
fn line(text: &str) -> Option<(&str, &str)> {
    let (line, rest) = text.split_once('\n')?;
    Some((line.trim(), rest))
}

/// Reads `name=value` lines; what follows them.
fn attributes<'t>(mut text: &'t str, is_heap: bool, draft: &mut Draft) -> Result<&'t str, Refusal> {
    while let Some((current, rest)) = line(text) {
        if !current.is_empty() {
            let Some(groups) = ATTRIBUTE.groups(current) else { return Ok(text) };
            let [_, name, value] = groups.as_slice() else { return Ok(text) };
            let (name, value) = (name.trim(), value.trim());
            let number = || {
                let message = format!("failed to parse attribute {current}");
                integer(value).ok_or(Refusal::Malformed(message))
            };
            match (is_heap, name) {
                (_, "format") if value == "java" => {}
                (true, "resolution") => {
                    set_types(draft, &[("inuse_objects", "count"), ("inuse_space", value)]);
                }
                (false, "resolution") => {
                    set_types(draft, &[("contentions", "count"), ("delay", value)]);
                }
                (false, "sampling period") => {
                    let count = draft.profile.value_type("contentions", "count");
                    draft.profile.period_type = Some(count);
                    draft.profile.period = number()?;
                }
                (false, "ms since reset") => {
                    draft.profile.duration_nanos = number()?.wrapping_mul(1_000_000);
                }
                _ => return Err(Refusal::Unrecognized),
            }
        }
        text = rest;
    }
    Ok(text)
}

fn set_types(draft: &mut Draft, types: &[(&str, &str)]) {
    let profile = &mut draft.profile;
    profile.sample_types =
        types.iter().map(|(kind, unit)| profile.value_type(kind, unit)).collect();
    profile.samples.values = vec![Vec::new(); types.len()];
}

/// Reads samples; what follows them. The two numbers stand the other way round.
fn samples<'t>(mut text: &'t str, is_heap: bool, draft: &mut Draft) -> Result<&'t str, Refusal> {
    while let Some((current, rest)) = line(text) {
        if !current.is_empty() {
            let Some(groups) = SAMPLE.groups(current) else { return Ok(text) };
            let [_, second, first, stack] = groups.as_slice() else { return Ok(text) };
            let parse = |text: &str| {
                integer(text).ok_or(Refusal::Malformed(format!("parsing sample {current}")))
            };
            let (mut first, mut second) = (parse(first)?, parse(second)?);
            let mut bytes = None;
            if is_heap {
                if first == 0 {
                    let message =
                        format!("parsing sample {current}: second value must be non-zero");
                    return Err(Refusal::Malformed(message));
                }
                bytes = Some(second.wrapping_div(first));
                (first, second) = scale_heap_sample(first, second, HEAP_RATE);
            } else if draft.profile.period != 0 {
                first = first.wrapping_mul(draft.profile.period);
                second = second.wrapping_mul(draft.profile.period);
            }
            let addresses = addresses(stack)?;
            let stack = addresses.iter().map(|address| draft.location(*address)).collect();
            draft.samples.push(DraftSample { stack, values: vec![first, second], bytes });
        }
        text = rest;
    }
    Ok(text)
}

/// Reads `0xADDRESS NAME (FILE:LINE)` lines.
pub(super) fn locations(text: &str, draft: &mut Draft) {
    let by_address: HashMap<u64, LocationId> = (0..draft.profile.locations.len() as u32)
        .map(|id| (draft.address(LocationId(id)), LocationId(id)))
        .collect();
    let mut functions: HashMap<String, FunctionId> = HashMap::new();
    for line in text.lines() {
        let Some(groups) = LOCATION.groups(line.trim()) else { continue };
        let [_, address, what] = groups.as_slice() else { continue };
        let address = u64::from_str_radix(address, 16).ok();
        let Some(location) = address.and_then(|address| by_address.get(&address)) else {
            continue;
        };
        let (name, file, number) = place(what);
        let function = match functions.get(&name) {
            Some(function) => *function,
            None => {
                let function = draft.function(&name, &file);
                functions.insert(name, function);
                function
            }
        };
        draft.set_line(*location, function, number);
    }
    draft.renumber_locations();
    draft.renumber_functions();
    maps::attach_unmapped(draft);
}

/// Function, file and line.
fn place(text: &str) -> (String, String, i64) {
    if let Some(groups) = FILE_LINE.groups(text)
        && let [_, name, file, line] = groups.as_slice()
    {
        let line = line.parse().ok().filter(|line| *line > 0).unwrap_or(0);
        return ((*name).to_owned(), (*file).to_owned(), line);
    }
    if let Some(groups) = PATH.groups(text)
        && let [_, name, path] = groups.as_slice()
    {
        // A library: where it lies does not matter.
        let file = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        let file = if path.is_empty() { "." } else { file };
        return ((*name).to_owned(), file.to_owned(), 0);
    }
    let name = if text.contains("generated stub/JIT") { "STUB" } else { text };
    (name.to_owned(), String::new(), 0)
}

/// Addresses mean nothing outside the process; without them profiles merge better.
pub(super) fn strip(draft: &mut Draft) {
    for location in &mut draft.profile.locations {
        location.address = model::Addr(0);
        location.lines.iter_mut().for_each(|line| line.column = 0);
    }
}
