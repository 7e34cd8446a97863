//! Tags, source and code of a report as JSON, for pages. Values are plain numbers in
//! the unit of the profile.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use analyze::pprof::filter::{self, Detail};
use analyze::pprof::measure::are_same_quantity;
use analyze::pprof::{Report, labels};
use model::{LabelValue, StrId};
use serde_json::{Value, json};

use super::code::{Code, Instruction, ListedFunction, ListedSymbol, SourceFiles};
use super::disasm::Disassembly;
use super::list::Found;
use super::weblist::{Collected, Inlining};
use super::{ReportError, tags};

/// Values shown of a key; a label with more is an identifier.
const TAG_VALUES: usize = 100;
/// Functions and symbols shown at once.
const LISTED: usize = 50;

fn size(value: i64) -> Reverse<u64> {
    Reverse(value.unsigned_abs())
}

/// The labels of a profile, each with its largest values.
pub fn tags(report: &Report) -> Value {
    let profile = &report.profile;
    let mut keys: BTreeMap<(&str, bool), Vec<(LabelValue, i64)>> = BTreeMap::new();
    for ((key, value), sum) in tags::sums(report) {
        let name = profile.str(key);
        // The base of a difference is marked by a label of ours.
        if name != labels::BASE_LABEL {
            let is_number = matches!(value, LabelValue::Num(..));
            keys.entry((name, is_number)).or_default().push((value, sum));
        }
    }
    let key = |((name, is_number), mut values): ((&str, bool), Vec<(LabelValue, i64)>)| {
        let text = |id: StrId| profile.str(id);
        let order = |value: &LabelValue| match value {
            LabelValue::Str(id) => (0, text(*id)),
            LabelValue::Num(number, _) => (*number, ""),
        };
        values.sort_by(|(a, a_sum), (b, b_sum)| {
            size(*a_sum).cmp(&size(*b_sum)).then_with(|| order(a).cmp(&order(b)))
        });
        let total = values.iter().fold(0_i64, |sum, (_, value)| sum.saturating_add(*value));
        let shown = values.iter().take(TAG_VALUES).map(|(value, sum)| {
            let value: Value = match value {
                LabelValue::Str(id) => text(*id).into(),
                LabelValue::Num(number, _) => (*number).into(),
            };
            json!({ "value": value, "total": sum, "share": share(*sum, report.total) })
        });
        json!({
            "key": name,
            "numeric": is_number,
            "unit": if is_number { unit(report, name) } else { "" },
            "total": total,
            "values": shown.collect::<Vec<_>>(),
            "omitted": values.len().saturating_sub(TAG_VALUES),
        })
    };
    let keys: Vec<Value> = keys.into_iter().map(key).collect();
    answer(report, "keys", &keys)
}

/// The unit of a numeric label. Without one reports take its name for it, which is none
/// unless it happens to be a unit.
fn unit<'a>(report: &'a Report, key: &str) -> &'a str {
    let id = report.profile.strings.lookup(key);
    let unit = id.map_or("", |id| report.label_units.get(id));
    if unit == key && !are_same_quantity(unit, unit) { "" } else { unit }
}

fn share(value: i64, total: i64) -> f64 {
    if total == 0 { 0.0 } else { value as f64 / total as f64 }
}

fn answer(report: &Report, key: &str, list: &[Value]) -> Value {
    json!({ "unit": report.sample_unit, "total": report.total, key: list })
}

/// The source of the functions that a report asks for, the largest first.
///
/// # Errors
/// When the report asks for none.
pub fn source(report: &mut Report, sources: &mut dyn SourceFiles) -> Result<Value, ReportError> {
    listed(report, sources, None)
}

/// The same with the code below each line. The report is one of `weblist`, which
/// keeps addresses.
///
/// # Errors
/// When the report asks for none.
pub fn source_with_code(
    report: &mut Report,
    sources: &mut dyn SourceFiles,
    code: &mut dyn Code,
) -> Result<Value, ReportError> {
    let collected = Collected::of(report, code, Inlining::All).ok();
    let inlines = !report.config.noinlines;
    let detail = Detail {
        inlines,
        functions: true,
        files: true,
        lines: true,
        columns: false,
        addresses: false,
    };
    filter::aggregate(&mut report.profile, detail);
    listed(report, sources, collected.as_ref())
}

fn listed(
    report: &mut Report,
    sources: &mut dyn SourceFiles,
    code: Option<&Collected>,
) -> Result<Value, ReportError> {
    let functions: Vec<Value> = match Found::all(report) {
        Ok(mut found) => {
            found.places.sort_by_key(|place| (size(place.flat), size(place.cum)));
            found.places.truncate(LISTED);
            let places = found.places.iter();
            let listed = places.map(|place| {
                let mut listed = found.listed(report, place, sources);
                if let Some(code) = code {
                    code.add_to(report, &mut listed);
                }
                function(&listed)
            });
            listed.collect()
        }
        Err(_) if report.symbol.is_some() => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(answer(report, "functions", &functions))
}

fn function(listed: &ListedFunction) -> Value {
    let ListedFunction { name, file, flat, cum, error, lines } = listed;
    let lines = lines.iter().map(|line| {
        let mut value = json!({
            "line": line.number, "text": line.text, "flat": line.flat, "cum": line.cum
        });
        if !line.instructions.is_empty() {
            value["instructions"] =
                line.instructions.iter().map(|i| instruction(i, name)).collect();
        }
        value
    });
    json!({
        "function": name, "file": file, "flat": flat, "cum": cum, "error": error,
        "lines": lines.collect::<Vec<_>>(),
    })
}

fn instruction(instruction: &Instruction, symbol: &str) -> Value {
    let Instruction { address, text, flat, cum, function, code_function, file, line, .. } =
        instruction;
    let names = [code_function.as_str(), function, symbol];
    json!({
        "address": format!("{address:#x}"), "text": text, "flat": flat, "cum": cum,
        "function": names.into_iter().find(|name| !name.is_empty()),
        "file": file, "line": line,
    })
}

/// The code of the functions that a report asks for, the largest first.
///
/// # Errors
/// When the report asks for none.
pub fn disasm(report: &mut Report, code: &mut dyn Code) -> Result<Value, ReportError> {
    let mut disassembly = Disassembly::of(report, code)?;
    let error = disassembly.nothing(report).map(|reason| match disassembly.errors.first() {
        Some(error) => error.clone(),
        None => format!("{reason}; a call that was inlined is part of its caller's code"),
    });
    disassembly.keep_largest(LISTED);
    let (symbols, error) = match disassembly.symbols(report, code) {
        Ok(symbols) => (symbols, error),
        Err(error) => (Vec::new(), Some(error)),
    };
    let symbol = |symbol: &ListedSymbol| {
        let ListedSymbol { name, path, flat, cum, instructions } = symbol;
        let code: Vec<Value> = instructions.iter().map(|i| instruction(i, name)).collect();
        json!({ "symbol": name, "path": path, "flat": flat, "cum": cum, "instructions": code })
    };
    let symbols: Vec<Value> = symbols.iter().map(symbol).collect();
    let mut value = answer(report, "symbols", &symbols);
    value["error"] = error.into();
    Ok(value)
}
