//! `traces`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Naming, Nodes, mean, printable_name};
use analyze::pprof::measure::label;
use model::{Label, LabelValue, StrId};

const SEPARATOR: &str = "-----------+-------------------------------------------------------";

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", report.profile_labels().join("\n"))?;
    let nodes = Nodes::of(&mut report.profile, Naming::default());
    let report = &*report;
    let profile = &report.profile;
    let names: Vec<String> =
        nodes.infos.iter().map(|info| printable_name(info, &profile.strings)).collect();
    for (sample, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
        let stack = profile.stacks.get(*stack);
        if stack.is_empty() {
            continue;
        }
        writeln!(out, "{SEPARATOR}")?;
        write_labels(report, profile.samples.labels(sample), out)?;
        let (value, div) = report.value(sample);
        let mut value = report.format_value(mean(value, div));
        for location in stack {
            let places = nodes.of_location(*location);
            for (index, place) in places.iter().enumerate() {
                let name = names.get(*place as usize).map_or("", String::as_str);
                let inline = if index + 1 == places.len() { "" } else { " (inline)" };
                // Plain pieces: this line is written millions of times.
                match value.is_empty() {
                    true => out.write_all(b"             ")?,
                    false => write!(out, "{value:>10}   ")?,
                }
                out.write_all(name.as_bytes())?;
                out.write_all(inline.as_bytes())?;
                out.write_all(b"\n")?;
                value.clear();
            }
        }
    }
    writeln!(out, "{SEPARATOR}")
}

/// Texts, then numbers, each a line a key.
fn write_labels(report: &Report, labels: &[Label], out: &mut dyn Write) -> io::Result<()> {
    let profile = &report.profile;
    let mut texts: BTreeMap<StrId, Vec<String>> = BTreeMap::new();
    let mut numbers: BTreeMap<StrId, Vec<String>> = BTreeMap::new();
    for one in labels {
        match one.value {
            LabelValue::Str(text) => {
                texts.entry(one.key).or_default().push(profile.str(text).to_owned());
            }
            LabelValue::Num(number, _) => {
                let unit = report.label_units.get(one.key);
                numbers.entry(one.key).or_default().push(label(number, unit));
            }
        }
    }
    for group in [texts, numbers] {
        let line = |(key, values): (StrId, Vec<String>)| {
            format!("{:>10}:  {}\n", profile.str(key), values.join(" "))
        };
        let mut lines: Vec<String> = group.into_iter().map(line).collect();
        lines.sort();
        out.write_all(lines.concat().as_bytes())?;
    }
    Ok(())
}
