//! `traces`.

use std::borrow::Cow;
use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Naming, Nodes, mean, printable_name};
use analyze::pprof::measure::label;
use model::{Label, LabelValue, LocationId, Profile, StrId};

const SEPARATOR: &str = "-----------+-------------------------------------------------------";

/// What stands before a frame that carries no value.
const MARGIN: &str = "             ";

/// Handed to the output at once.
const CHUNK_BYTES: usize = 256 << 10;

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", report.profile_labels().join("\n"))?;
    let nodes = Nodes::of(&mut report.profile, Naming::default());
    let report = &*report;
    let profile = &report.profile;
    let frames = FrameLines::of(&nodes, profile);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 4096);
    for (sample, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
        let stack = profile.stacks.get(*stack);
        if stack.is_empty() {
            continue;
        }
        writeln!(chunk, "{SEPARATOR}")?;
        write_labels(report, profile.samples.labels(sample), &mut chunk)?;
        let (value, div) = report.value(sample);
        let value = report.format_value(mean(value, div));
        // The value takes the place of the first line's margin.
        let start = chunk.len();
        stack.iter().for_each(|location| chunk.extend_from_slice(frames.of_location(*location)));
        if chunk.len() > start {
            let first = format!("{value:>10}   ");
            let margin = start..start + MARGIN.len();
            match chunk.get_mut(margin.clone()) {
                Some(place) if place.len() == first.len() => {
                    place.copy_from_slice(first.as_bytes());
                }
                _ => drop(chunk.splice(margin, first.bytes())),
            }
        }
        if chunk.len() >= CHUNK_BYTES {
            out.write_all(&chunk)?;
            chunk.clear();
        }
    }
    writeln!(chunk, "{SEPARATOR}")?;
    out.write_all(&chunk)
}

/// The lines of every location, written out once: each is printed many times.
struct FrameLines {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl FrameLines {
    fn of(nodes: &Nodes, profile: &Profile) -> FrameLines {
        let mut lines = FrameLines { text: Vec::new(), ends: Vec::new() };
        for index in 0..profile.locations.len() as u32 {
            let places = nodes.of_location(LocationId(index));
            for (index, place) in places.iter().enumerate() {
                let info = nodes.infos.get(*place as usize);
                let name = info.map(|info| printable_name(info, &profile.strings));
                lines.text.extend_from_slice(MARGIN.as_bytes());
                lines.text.extend_from_slice(name.unwrap_or_default().as_bytes());
                let inline = if index + 1 == places.len() { "\n" } else { " (inline)\n" };
                lines.text.extend_from_slice(inline.as_bytes());
            }
            lines.ends.push(lines.text.len());
        }
        lines
    }

    fn of_location(&self, location: LocationId) -> &[u8] {
        let index = location.0 as usize;
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or(&[])
    }
}

/// Texts, then numbers, each a line a key.
fn write_labels(report: &Report, labels: &[Label], out: &mut Vec<u8>) -> io::Result<()> {
    let profile = &report.profile;
    let mut lines: Vec<(bool, StrId, String)> = Vec::with_capacity(labels.len());
    for one in labels {
        let (is_number, value) = match one.value {
            LabelValue::Str(text) => (false, Cow::Borrowed(profile.str(text))),
            LabelValue::Num(number, _) => {
                (true, Cow::Owned(label(number, report.label_units.get(one.key))))
            }
        };
        let is_same = |line: &&mut (bool, StrId, String)| (line.0, line.1) == (is_number, one.key);
        match lines.iter_mut().find(is_same) {
            Some((.., line)) => *line += &format!(" {value}"),
            None => {
                let line = format!("{:>10}:  {value}", profile.str(one.key));
                lines.push((is_number, one.key, line));
            }
        }
    }
    lines.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
    lines.iter().try_for_each(|(.., line)| writeln!(out, "{line}"))
}
