//! What the `#` lines of Go's text profiles say: names of frames, labels of samples.
//!
//! A frame line is `#\tADDRESS\tNAME+OFFSET\tFILE:LINE`, its address one before the return
//! address of the stack. Frames of the runtime at the leaf, and runtime.goexit, have no
//! line; with the rest named they say nothing and are left out.

use std::collections::{HashMap, HashSet};

use model::profile::Location;
use model::{Function, FunctionId, Label, LabelValue, Line, LocationId, Profile};

/// Names and labels beside a profile.
#[derive(Clone, Debug, Default)]
pub struct TextNames {
    frames: HashMap<u64, TextFrame>,
    labels: HashMap<u32, Vec<(String, String)>>,
}

#[derive(Clone, Debug)]
struct TextFrame {
    function: String,
    file: String,
    line: i64,
}

/// What is known of a location.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unnamed,
    /// A frame of the runtime, which texts hide at the leaf.
    Runtime,
    Named,
}

impl Kind {
    fn of(profile: &Profile, location: &Location) -> Kind {
        let Some(line) = location.lines.first() else { return Kind::Unnamed };
        let function = profile.functions.get(line.function.0 as usize);
        let name = function.map_or("", |function| profile.str(function.name));
        let is_runtime = name.starts_with("runtime.") || name.starts_with("internal/runtime/");
        if is_runtime { Kind::Runtime } else { Kind::Named }
    }
}

impl TextNames {
    /// Takes a comment line that follows the sample with this number.
    pub(super) fn comment(&mut self, line: &str, sample: Option<usize>) {
        if let Some(labels) = line.strip_prefix("# labels: ") {
            let labels = parse_labels(labels);
            if let Some(sample) = sample.filter(|_| !labels.is_empty()) {
                self.labels.insert(sample as u32, labels);
            }
            return;
        }
        let Some(rest) = line.strip_prefix("#\t0x") else { return };
        let mut parts = rest.split('\t').filter(|part| !part.is_empty());
        let address = parts.next().and_then(|text| u64::from_str_radix(text, 16).ok());
        let (Some(address), Some(name), Some(place)) = (address, parts.next(), parts.next()) else {
            return;
        };
        let function = name.rsplit_once("+0x").map_or(name, |(function, _)| function).to_owned();
        let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
        let frame = TextFrame { function, file: file.to_owned(), line: line.parse().unwrap_or(0) };
        self.frames.insert(address, frame);
    }

    /// Reports whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.labels.is_empty()
    }

    /// Gives samples their labels.
    pub fn label(&self, profile: &mut Profile) {
        let mut samples = std::mem::take(&mut profile.samples);
        samples.edit_labels(|sample, labels| {
            for (key, value) in self.labels.get(&sample.0).into_iter().flatten() {
                let key = profile.strings.intern(key);
                let value = LabelValue::Str(profile.strings.intern(value));
                labels.push(Label { key, value });
            }
        });
        profile.samples = samples;
    }

    /// Names locations that have no name, and takes frames that stay without one off
    /// both ends of stacks that have named ones.
    pub fn name(&self, profile: &mut Profile) {
        if self.frames.is_empty() {
            return;
        }
        let mut functions: HashMap<(&str, &str), FunctionId> = HashMap::new();
        let mut locations = std::mem::take(&mut profile.locations);
        for location in locations.iter_mut().filter(|location| location.lines.is_empty()) {
            let address = location.address.0;
            // A goroutine that has not run yet stands at its function's first byte,
            // which Go does not take one off from.
            let frame = self.frames.get(&address);
            let frame = frame.or_else(|| self.frames.get(&address.wrapping_add(1)));
            let Some(frame) = frame else { continue };
            let key = (frame.function.as_str(), frame.file.as_str());
            let function = *functions.entry(key).or_insert_with(|| {
                let name = profile.strings.intern(&frame.function);
                let filename = profile.strings.intern(&frame.file);
                let new = Function { name, system_name: name, filename, ..Function::default() };
                profile.functions.push(new);
                FunctionId(profile.functions.len() as u32 - 1)
            });
            location.lines = vec![Line { function, line: frame.line, column: 0 }];
        }
        profile.locations = locations;
        let kinds: Vec<Kind> =
            profile.locations.iter().map(|location| Kind::of(profile, location)).collect();
        let kind = |id: &LocationId| kinds.get(id.0 as usize).copied().unwrap_or(Kind::Unnamed);
        // Texts leave out one frame at the root: runtime.goexit.
        let mut exits: HashSet<LocationId> = HashSet::new();
        let mut stacks = Vec::with_capacity(profile.samples.len());
        for stack in &profile.samples.stacks {
            let all = profile.stacks.get(*stack);
            let end = all.iter().rposition(|id| kind(id) != Kind::Unnamed).map_or(0, |i| i + 1);
            let frames = all.get(..end).unwrap_or(all);
            // A runtime frame may have its name from another stack; what lies below the
            // hidden part is hidden too.
            let below = frames.iter().take_while(|id| kind(id) != Kind::Named).count();
            let below = frames.get(..below).unwrap_or(&[]);
            let start = below.iter().rposition(|id| kind(id) == Kind::Unnamed).map_or(0, |i| i + 1);
            let named = frames.get(start..).filter(|named| !named.is_empty());
            if named.is_some() {
                exits.extend(all.get(end..).unwrap_or(&[]));
            }
            stacks.push(named.unwrap_or(all).to_vec());
        }
        name_exits(profile, &stacks, &exits);
        profile.samples.stacks = stacks.iter().map(|stack| profile.stacks.intern(stack)).collect();
    }

    /// Names and labels.
    pub fn apply(&self, profile: &mut Profile) {
        self.label(profile);
        self.name(profile);
    }

    /// Labels of a sample, for tests.
    #[cfg(test)]
    pub(super) fn labels_of(&self, sample: model::SampleId) -> &[(String, String)] {
        self.labels.get(&sample.0).map_or(&[], Vec::as_slice)
    }
}

/// A goroutine that is just ending has no other frame than the one that texts leave out.
fn name_exits(profile: &mut Profile, stacks: &[Vec<LocationId>], exits: &HashSet<LocationId>) {
    let mut function = None;
    for stack in stacks {
        let [only] = stack.as_slice() else { continue };
        let index = only.0 as usize;
        let is_unnamed = profile.locations.get(index).is_some_and(|l| l.lines.is_empty());
        if !is_unnamed || !exits.contains(only) {
            continue;
        }
        let function = *function.get_or_insert_with(|| {
            let name = profile.strings.intern("runtime.goexit");
            let new = Function { name, system_name: name, ..Function::default() };
            profile.functions.push(new);
            FunctionId(profile.functions.len() as u32 - 1)
        });
        if let Some(location) = profile.locations.get_mut(index) {
            location.lines = vec![Line { function, line: 0, column: 0 }];
        }
    }
}

/// `{"key":"value", "other":"value"}` with Go's quoting.
fn parse_labels(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = text.trim().trim_start_matches('{');
    while let Some((key, tail)) = quoted(rest) {
        let Some((value, tail)) = tail.trim_start().strip_prefix(':').and_then(quoted) else {
            break;
        };
        labels.push((key, value));
        rest = tail.trim_start().trim_start_matches(',');
    }
    labels
}

/// A quoted text and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start().strip_prefix('"')?;
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, text.get(index + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                kind @ ('x' | 'u' | 'U') => {
                    let digits = match kind {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let code = (0..digits).try_fold(0_u32, |code, _| {
                        Some(code << 4 | letters.next()?.1.to_digit(16)?)
                    })?;
                    out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}
