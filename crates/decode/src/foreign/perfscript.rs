//! The text of `perf script`: a header line for each event, a line for each frame, leaf
//! first, and an empty line.

use std::collections::HashMap;

use model::profile::{Location, Mapping};
use model::{Addr, Label, LabelValue, Line, LocationId, MappingId, Profile, StrId};

use super::named::NamedFrames;

/// What a header line says.
struct Event<'t> {
    command: &'t str,
    pid: i64,
    period: i64,
}

/// Reports whether a line is an event's header.
pub(super) fn is_header(line: &str) -> bool {
    header(line).is_some()
}

/// `command  pid/tid [cpu] 12.345:  250000 cycles:u:`; the command may hold blanks.
fn header(line: &str) -> Option<Event<'_>> {
    if line.starts_with([' ', '\t']) && line.trim_start().starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let time_end = line.find(": ")?;
    let before = line.get(..time_end)?;
    let (before, time) = before.rsplit_once(' ')?;
    if !time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || time.is_empty() {
        return None;
    }
    let before = match before.trim_end().rsplit_once(' ') {
        Some((rest, cpu)) if cpu.starts_with('[') => rest.trim_end(),
        _ => before.trim_end(),
    };
    let (command, pid) = before.rsplit_once(' ')?;
    let pid = pid.split('/').next()?.parse().ok()?;
    let after = line.get(time_end + 1..)?.trim_start();
    let period = after.split(' ').next().and_then(|word| word.parse().ok());
    Some(Event { command: command.trim(), pid, period: period.unwrap_or(1) })
}

/// Reads the text; what is not understood is counted and left out.
pub(super) fn read(text: &str) -> (Profile, Vec<String>) {
    let mut reader = Reader::new();
    let mut event: Option<Event<'_>> = None;
    let mut stack: Vec<LocationId> = Vec::new();
    let mut bad = 0_u64;
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            if let Some(event) = event.take() {
                reader.push(&event, &stack);
            }
            stack.clear();
        } else if line.starts_with('#') {
        } else if event.is_none() {
            event = header(line);
            bad += u64::from(event.is_none());
        } else {
            match reader.frame(line.trim()) {
                Some(location) => stack.push(location),
                None => bad += 1,
            }
        }
    }
    let mut warnings = Vec::new();
    if bad > 0 {
        warnings.push(format!("{bad} lines of the perf script were not understood"));
    }
    (reader.profile, warnings)
}

struct Reader {
    profile: Profile,
    frames: NamedFrames,
    mappings: HashMap<String, MappingId>,
    locations: HashMap<(u64, String, MappingId), LocationId>,
    command: StrId,
    pid: StrId,
}

impl Reader {
    fn new() -> Reader {
        let mut profile = Profile::new(&[("samples", "count"), ("event", "count")]);
        profile.period_type = Some(profile.value_type("event", "count"));
        profile.default_sample_type = profile.strings.lookup("samples");
        let (command, pid) = (profile.strings.intern("comm"), profile.strings.intern("pid"));
        Reader {
            profile,
            frames: NamedFrames::default(),
            mappings: HashMap::new(),
            locations: HashMap::new(),
            command,
            pid,
        }
    }

    fn push(&mut self, event: &Event<'_>, stack: &[LocationId]) {
        let command = self.profile.strings.intern(event.command);
        let labels = [
            Label { key: self.command, value: LabelValue::Str(command) },
            Label { key: self.pid, value: LabelValue::Num(event.pid, StrId(0)) },
        ];
        self.profile.push_sample(stack, &[1, event.period], &labels);
    }

    /// `7f12ab34 symbol+0x1d (/lib/libc.so.6)`.
    fn frame(&mut self, line: &str) -> Option<LocationId> {
        let (address, rest) = line.split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        let (symbol, object) = match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("))
        {
            Some((symbol, object)) => (symbol, object),
            None => (rest, ""),
        };
        let symbol = match symbol.rsplit_once("+0x") {
            Some((name, offset)) if offset.bytes().all(|b| b.is_ascii_hexdigit()) => name,
            _ => symbol,
        };
        let mapping = self.mapping(object);
        let key = (address, symbol.to_owned(), mapping);
        if let Some(location) = self.locations.get(&key) {
            return Some(*location);
        }
        let lines = match symbol {
            "[unknown]" | "" => Vec::new(),
            name => {
                let function = self.frames.function(&mut self.profile, name, "");
                vec![Line { function, line: 0, column: 0 }]
            }
        };
        let location = LocationId(self.profile.locations.len() as u32);
        self.profile.locations.push(Location {
            mapping: Some(mapping),
            address: Addr(address),
            lines,
            ..Location::default()
        });
        self.locations.insert(key, location);
        Some(location)
    }

    fn mapping(&mut self, object: &str) -> MappingId {
        if let Some(mapping) = self.mappings.get(object) {
            return *mapping;
        }
        let filename = self.profile.strings.intern(object);
        let id = MappingId(self.profile.mappings.len() as u32);
        // Where objects lie is not in the text.
        self.profile.mappings.push(Mapping { filename, has_functions: true, ..Mapping::default() });
        self.mappings.insert(object.to_owned(), id);
        id
    }
}
