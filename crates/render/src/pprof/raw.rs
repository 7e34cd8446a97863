//! `raw`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use analyze::pprof::Report;
use model::{Label, LabelValue, LocationId, MappingId, Profile, StrId};

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    let profile = &report.profile;
    let text = |id| profile.str(id);
    for comment in &profile.comments {
        writeln!(out, "Comment: {}", text(*comment))?;
    }
    if profile.doc_url != StrId(0) {
        writeln!(out, "Doc: {}", text(profile.doc_url))?;
    }
    let period = profile.period_type.map_or(("", ""), |t| (text(t.kind), text(t.unit)));
    writeln!(out, "PeriodType: {} {}", period.0, period.1)?;
    writeln!(out, "Period: {}", profile.period)?;
    if profile.time_nanos != 0 {
        writeln!(out, "Time: {}", report.time.long)?;
    }
    if profile.duration_nanos != 0 {
        let duration: String = duration_text(profile.duration_nanos).chars().take(4).collect();
        writeln!(out, "Duration: {duration}")?;
    }
    writeln!(out, "Samples:")?;
    let types = profile.sample_types.iter().map(|t| {
        let is_default = t.kind == profile.default_sample_type.unwrap_or_default();
        format!("{}/{}{} ", text(t.kind), text(t.unit), if is_default { "[dflt]" } else { "" })
    });
    writeln!(out, "{}", types.collect::<String>().trim())?;
    write_samples(profile, out)?;
    writeln!(out, "Locations")?;
    write_locations(profile, out)?;
    writeln!(out, "Mappings")?;
    for (index, mapping) in profile.mappings.iter().enumerate() {
        let flags = [
            (mapping.has_functions, "[FN]"),
            (mapping.has_filenames, "[FL]"),
            (mapping.has_line_numbers, "[LN]"),
            (mapping.has_inline_frames, "[IN]"),
        ];
        let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        writeln!(
            out,
            "{}: {:#x}/{:#x}/{:#x} {} {} {flags}",
            profile.mapping_id(MappingId(index as u32)),
            mapping.start.0,
            mapping.limit.0,
            mapping.file_offset,
            text(mapping.filename),
            text(mapping.build_id),
        )?;
    }
    Ok(())
}

fn write_samples(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let ids: Vec<String> = (0..profile.locations.len() as u32)
        .map(|id| format!("{} ", profile.location_id(LocationId(id))))
        .collect();
    let mut line = String::new();
    for (sample, stack) in profile.samples.ids().zip(&profile.samples.stacks) {
        line.clear();
        for value in profile.samples.row(sample) {
            line.push_str(&format!(" {value:>10}"));
        }
        line.push_str(": ");
        for location in profile.stacks.get(*stack) {
            line.push_str(ids.get(location.0 as usize).map_or("", String::as_str));
        }
        writeln!(out, "{line}")?;
        let labels = profile.samples.labels(sample);
        for group in [text_labels(profile, labels), number_labels(profile, labels)] {
            if !group.is_empty() {
                writeln!(out, "                {}", group.join(" "))?;
            }
        }
    }
    Ok(())
}

fn text_labels(profile: &Profile, labels: &[Label]) -> Vec<String> {
    let mut keys: BTreeMap<StrId, Vec<&str>> = BTreeMap::new();
    for label in labels {
        if let LabelValue::Str(text) = label.value {
            keys.entry(label.key).or_default().push(profile.str(text));
        }
    }
    let shown =
        |(key, values): (StrId, Vec<&str>)| format!("{}:[{}]", profile.str(key), values.join(" "));
    sorted(keys.into_iter().map(shown))
}

fn number_labels(profile: &Profile, labels: &[Label]) -> Vec<String> {
    let mut keys: BTreeMap<StrId, Vec<(i64, StrId)>> = BTreeMap::new();
    for label in labels {
        if let LabelValue::Num(number, unit) = label.value {
            keys.entry(label.key).or_default().push((number, unit));
        }
    }
    let shown = |(key, values): (StrId, Vec<(i64, StrId)>)| {
        let has_units = values.iter().any(|(_, unit)| *unit != StrId(0));
        let one = |(number, unit): &(i64, StrId)| match has_units {
            true => format!("{number} {}", profile.str(*unit)),
            false => number.to_string(),
        };
        let values: Vec<String> = values.iter().map(one).collect();
        format!("{}:[{}]", profile.str(key), values.join(" "))
    };
    sorted(keys.into_iter().map(shown))
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

fn write_locations(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    for (index, location) in profile.locations.iter().enumerate() {
        let id = profile.location_id(LocationId(index as u32));
        let mut head = format!("{id:>6}: {:#x} ", location.address.0);
        if let Some(mapping) = location.mapping {
            head.push_str(&format!("M={} ", profile.mapping_id(mapping)));
        }
        if location.is_folded {
            head.push_str("[F] ");
        }
        if location.lines.is_empty() {
            writeln!(out, "{head}")?;
        }
        for line in &location.lines {
            let function = profile.functions.get(line.function.0 as usize);
            let function = function.copied().unwrap_or_default();
            let (name, system_name) =
                (profile.str(function.name), profile.str(function.system_name));
            write!(
                out,
                "{head}{name} {}:{}:{} s={}",
                profile.str(function.filename),
                line.line,
                line.column,
                function.start_line
            )?;
            match name == system_name {
                true => writeln!(out)?,
                false => writeln!(out, "({system_name})")?,
            }
            head = "             ".to_owned();
        }
    }
    Ok(())
}

/// A duration as Go prints it: `1h2m3.5s`, `250ms`, `1.5µs`.
fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let trimmed = |value: u64, unit: u64| {
        let fraction = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        match fraction.is_empty() || unit == 1 {
            true => format!("{}", value / unit),
            false => format!("{}.{fraction}", value / unit),
        }
    };
    let text = match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", trimmed(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", trimmed(nanos, 1_000_000)),
        _ => {
            let seconds = nanos / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = trimmed(nanos % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, _) => format!("{minutes}m{rest}s"),
                _ => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    };
    format!("{sign}{text}")
}
