//! Goroutines as a pprof profile and back, so that they are kept, shown and compared
//! like any other profile.
//!
//! One sample a group: `goroutine/count`, labels `state` and `wait_reason`, numeric
//! labels `wait_max_seconds`, `stack_bytes_total`, `system` (the runtime's own) and
//! `has_creator` (the outermost frame is the `go` statement).

use std::collections::HashMap;

use model::profile::Location;
use model::{
    Frame, Function, FunctionId, GoroutineGroup, GoroutineSnapshot, Label, LabelValue, Line,
    LocationId, Profile, SampleId, Timestamp,
};

/// Writes a snapshot as a profile.
pub fn to_profile(snapshot: &GoroutineSnapshot, time: Timestamp) -> Profile {
    let mut profile = Profile::new(&[("goroutine", "count")]);
    profile.period_type = Some(profile.value_type("goroutine", "count"));
    profile.period = 1;
    profile.time_nanos = time.0.saturating_mul(1_000_000);
    let mut locations = Locations::default();
    for group in &snapshot.groups {
        let frames = snapshot.stacks.get(group.stack).map_or(&[][..], Vec::as_slice);
        let stack: Vec<LocationId> = frames
            .iter()
            .chain(&group.created_by)
            .map(|frame| locations.id(&mut profile, frame))
            .collect();
        let labels = labels(&mut profile, group);
        let count = i64::try_from(group.count).unwrap_or(i64::MAX);
        profile.push_sample(&stack, &[count], &labels);
    }
    profile
}

fn labels(profile: &mut Profile, group: &GoroutineGroup) -> Vec<Label> {
    let mut labels = Vec::new();
    for (key, text) in [("state", group.state), ("wait_reason", group.wait_reason.as_str())] {
        let (key, value) = (profile.strings.intern(key), profile.strings.intern(text));
        labels.push(Label { key, value: LabelValue::Str(value) });
    }
    let numbers = [
        ("wait_max_seconds", group.wait_seconds_max.map_or(0, |seconds| seconds as i64), "seconds"),
        ("stack_bytes_total", i64::try_from(group.stack_bytes).unwrap_or(i64::MAX), "bytes"),
        ("system", group.is_system.into(), ""),
        ("has_creator", group.created_by.is_some().into(), ""),
    ];
    for (key, number, unit) in numbers.into_iter().filter(|(_, number, _)| *number != 0) {
        let (key, unit) = (profile.strings.intern(key), profile.strings.intern(unit));
        labels.push(Label { key, value: LabelValue::Num(number, unit) });
    }
    labels
}

#[derive(Default)]
struct Locations {
    locations: HashMap<Frame, LocationId>,
    functions: HashMap<(String, String), FunctionId>,
}

impl Locations {
    fn id(&mut self, profile: &mut Profile, frame: &Frame) -> LocationId {
        if let Some(id) = self.locations.get(frame) {
            return *id;
        }
        let key = (frame.function.clone(), frame.file.clone());
        let function = *self.functions.entry(key).or_insert_with(|| {
            let name = profile.strings.intern(&frame.function);
            let filename = profile.strings.intern(&frame.file);
            profile.functions.push(Function {
                name,
                system_name: name,
                filename,
                ..Function::default()
            });
            FunctionId(profile.functions.len() as u32 - 1)
        });
        let line = Line { function, line: frame.line.into(), column: 0 };
        profile.locations.push(Location { lines: vec![line], ..Location::default() });
        let id = LocationId(profile.locations.len() as u32 - 1);
        self.locations.insert(frame.clone(), id);
        id
    }
}

/// States as the model names them; a stored word outside this list is `waiting`.
const STATES: [&str; 8] =
    ["idle", "runnable", "running", "syscall", "waiting", "dead", "copystack", "preempted"];

/// Reads the groups back. A plain goroutine profile of Go's own gives groups without
/// states.
pub fn from_profile(profile: &Profile) -> GoroutineSnapshot {
    let mut snapshot = GoroutineSnapshot::default();
    let column = profile.column("goroutine").or_else(|| profile.default_column());
    let values = column.and_then(|column| profile.samples.values.get(column));
    let mut stacks: HashMap<Vec<Frame>, usize> = HashMap::new();
    for sample in profile.samples.ids() {
        let count = values.and_then(|values| values.get(sample.0 as usize)).copied().unwrap_or(0);
        let number = |key| profile.num_label(sample, key).unwrap_or(0);
        let state = text_label(profile, sample, "state");
        let mut frames = frames(profile, sample);
        let created_by = if number("has_creator") != 0 { frames.pop() } else { None };
        let stack = *stacks.entry(frames).or_insert_with_key(|frames| {
            snapshot.stacks.push(frames.clone());
            snapshot.stacks.len() - 1
        });
        snapshot.groups.push(GoroutineGroup {
            count: count.max(0).cast_unsigned(),
            state: STATES.into_iter().find(|known| *known == state).unwrap_or("waiting"),
            wait_reason: text_label(profile, sample, "wait_reason").to_owned(),
            wait_seconds_max: profile.num_label(sample, "wait_max_seconds").map(|s| s as f64),
            stack_bytes: number("stack_bytes_total").max(0).cast_unsigned(),
            stack,
            created_by,
            is_system: number("system") != 0,
        });
    }
    snapshot.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    snapshot
}

fn text_label<'a>(profile: &'a Profile, sample: SampleId, key: &str) -> &'a str {
    let labels = profile.samples.labels(sample).iter();
    let mut texts = labels.filter_map(|label| match label.value {
        LabelValue::Str(text) if profile.str(label.key) == key => Some(profile.str(text)),
        _ => None,
    });
    texts.next().unwrap_or("")
}

fn frames(profile: &Profile, sample: SampleId) -> Vec<Frame> {
    let frame = |line: Line| {
        let function = profile.functions.get(line.function.0 as usize);
        Frame {
            function: function.map_or("", |f| profile.str(f.name)).to_owned(),
            file: function.map_or("", |f| profile.str(f.filename)).to_owned(),
            line: u32::try_from(line.line).unwrap_or(0),
        }
    };
    profile.lines(sample).map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_survive_the_round_trip() {
        let frame = |function: &str, line| Frame {
            function: function.to_owned(),
            file: "main.go".to_owned(),
            line,
        };
        let group = |count, state, stack, created_by| GoroutineGroup {
            count,
            state,
            stack,
            created_by,
            wait_reason: "chan receive".to_owned(),
            wait_seconds_max: Some(61.0),
            stack_bytes: 8192,
            is_system: false,
        };
        let snapshot = GoroutineSnapshot {
            stacks: vec![vec![frame("runtime.gopark", 3), frame("main.wait", 7)], vec![]],
            groups: vec![
                group(40, "waiting", 0, Some(frame("main.start", 9))),
                group(1, "running", 1, None),
            ],
            ..GoroutineSnapshot::default()
        };
        let profile = to_profile(&snapshot, Timestamp(5));
        let bytes = crate::pprof::write(&profile);
        assert_eq!(from_profile(&crate::pprof::read(&bytes).unwrap().profile), snapshot);
    }
}
