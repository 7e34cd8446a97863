//! `tags`.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use analyze::pprof::Report;
use analyze::pprof::graph::{Tag, sort_tags};
use analyze::pprof::measure::{percentage, scaled_label};
use model::{LabelValue, StrId};

use super::tabs::Tabs;

/// Values by shown text, and their sum.
type OfKey = (HashMap<String, i64>, i64);

/// Sums by key and value; numbers without their units.
pub(super) fn sums(report: &Report) -> HashMap<(StrId, LabelValue), i64> {
    let profile = &report.profile;
    let mut sums: HashMap<(StrId, LabelValue), i64> = HashMap::new();
    for sample in profile.samples.ids() {
        let (value, _) = report.value(sample);
        for label in profile.samples.labels(sample) {
            let shown = match label.value {
                LabelValue::Num(number, _) => LabelValue::Num(number, StrId(0)),
                text @ LabelValue::Str(_) => text,
            };
            let sum = sums.entry((label.key, shown)).or_default();
            *sum = sum.wrapping_add(value);
        }
    }
    sums
}

fn collect(report: &Report) -> BTreeMap<&str, OfKey> {
    let profile = &report.profile;
    let mut keys: BTreeMap<&str, OfKey> = BTreeMap::new();
    // By id first: making the text costs more than adding.
    for ((key, value), sum) in sums(report) {
        let text = match value {
            LabelValue::Str(text) => profile.str(text).to_owned(),
            LabelValue::Num(number, _) => {
                scaled_label(number, report.label_units.get(key), &report.output_unit)
            }
        };
        let (values, total) = keys.entry(profile.str(key)).or_default();
        let shown = values.entry(text).or_default();
        *shown = shown.wrapping_add(sum);
        *total = total.wrapping_add(sum);
    }
    keys
}

pub(super) fn write(report: &mut Report, out: &mut dyn Write) -> io::Result<()> {
    let report = &*report;
    let mut tabs = Tabs::default();
    let share = |value: i64| match report.total > 0 {
        true => format!(" ({})", percentage(value, report.total)),
        false => String::new(),
    };
    for (key, (values, total)) in collect(report) {
        let (sum, all) = (report.format_value(total), report.format_value(report.total));
        tabs.line(&format!("{key}:\t Total {sum} of {all}{}", share(total)));
        let named = |(name, flat)| Tag { name, flat, ..Tag::default() };
        let mut tags: Vec<Tag> = values.into_iter().map(named).collect();
        sort_tags(&mut tags, true);
        for tag in tags {
            let value = report.format_value(tag.flat);
            tabs.line(&format!(" \t{value}{}:\t {}", share(tag.flat), tag.name));
        }
        tabs.line("");
    }
    tabs.write(out)
}
