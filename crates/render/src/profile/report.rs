//! `top`, `tree`, `peek` and `diff`: tables for people, CSV and JSON for programs.

use analyze::report::{
    Cell, Edge, FunctionRow, Noise, Notes, Stacks, TRUNCATED, functions, neighbours,
};
use serde_json::{Value, json};

use crate::json::{integer, number};
use crate::quantity;
use crate::table::{Align, Table};

/// Order and number of rows.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many rows; 0 for all.
    pub rows: usize,
    /// Largest cumulative value first.
    pub by_cumulative: bool,
}

fn rows(stacks: &Stacks, options: Options) -> Vec<FunctionRow> {
    let mut rows = functions(stacks);
    if options.by_cumulative {
        rows.sort_by_key(|row| std::cmp::Reverse(row.cum.delta().unsigned_abs()));
    }
    rows.retain(|row| row.flat != Cell::default() || row.cum != Cell::default());
    if options.rows > 0 {
        rows.truncate(options.rows);
    }
    rows
}

/// `inuse_space: 12.3 MiB ±2.1 % in all, sampled every 512 KiB`, or the change; then
/// what was found about cut stacks.
pub fn headline(stacks: &Stacks) -> String {
    let Stacks { kind, unit, total, .. } = stacks;
    let mut out = if stacks.is_diff {
        let (now, before) = (quantity::text(total.value, unit), quantity::text(total.base, unit));
        let change = quantity::change(total.delta(), unit);
        format!("{kind}: {before} before, {now} now, {change}")
    } else {
        let error = with_space(error(stacks, stacks.noise, total.value));
        format!("{kind}: {}{error} in all", quantity::text(total.value, unit))
    };
    if let Some(period) = stacks.sampled_every {
        out += &format!(", sampled every {}", quantity::text(period, "bytes"));
    }
    out.push('\n');
    let Notes { depth, truncated, rerooted } = stacks.notes;
    if truncated > 0 {
        let marked = match truncated - rerooted {
            0 => String::new(),
            _ => format!("; the rest begins with {TRUNCATED}"),
        };
        out += &format!(
            "{truncated} of {} stacks were cut off at {depth} frames, {rerooted} of them continued \
             by the only callers known{marked}\n",
            stacks.rows.len()
        );
    }
    out
}

/// The relative standard error of a sampled value.
fn relative_error(stacks: &Stacks, noise: Noise, value: i64) -> Option<f64> {
    stacks.has_errors.then(|| noise.relative_error(value)).flatten()
}

fn error(stacks: &Stacks, noise: Noise, value: i64) -> String {
    quantity::error(relative_error(stacks, noise, value))
}

fn with_space(text: String) -> String {
    if text.is_empty() { text } else { format!(" {text}") }
}

/// The largest functions as a table.
pub fn top_text(stacks: &Stacks, options: Options) -> String {
    headline(stacks) + &top_table(stacks, options, &PEOPLE).text()
}

/// The largest functions as a Markdown table.
pub fn top_markdown(stacks: &Stacks, options: Options) -> String {
    format!("{}\n{}", headline(stacks), top_table(stacks, options, &PEOPLE).markdown())
}

/// The largest functions as CSV with plain numbers.
pub fn top_csv(stacks: &Stacks, options: Options) -> String {
    top_table(stacks, options, &PROGRAMS).csv()
}

/// How a table writes its cells.
struct Style {
    errors: [&'static str; 2],
    value: fn(i64, &str) -> String,
    error: fn(Option<f64>) -> String,
}

const PEOPLE: Style = Style { errors: ["±", "±"], value: quantity::text, error: quantity::error };
const PROGRAMS: Style = Style {
    errors: ["flat_error", "cum_error"],
    value: |value, _| value.to_string(),
    error: |share| share.map_or_else(String::new, |share| format!("{share:.4}")),
};

fn top_table(stacks: &Stacks, options: Options, style: &Style) -> Table {
    let right = |name| (name, Align::Right);
    let with_errors = stacks.has_errors;
    let mut columns = match stacks.is_diff {
        true => vec![right("before"), right("now"), right("flat")],
        false => vec![right("flat"), right("flat%"), right("sum%")],
    };
    columns.extend([right("cum"), right("cum%")]);
    if with_errors {
        let [flat, cum] = style.errors;
        columns.insert(1, right(flat));
        columns.insert(5, right(cum));
    }
    columns.extend([("function", Align::Left), ("file", Align::Left)]);
    let mut table = Table::new(&columns);
    let whole = if stacks.is_diff { stacks.total.base } else { stacks.total.value };
    let value = |value| (style.value)(value, &stacks.unit);
    let mut sum = 0_i64;
    for row in rows(stacks, options) {
        sum = sum.saturating_add(row.flat.delta());
        let flat = row.flat;
        let mut cells = if stacks.is_diff {
            vec![value(flat.base), value(flat.value), value(flat.delta())]
        } else {
            let share = quantity::percent(flat.value, whole);
            vec![value(flat.value), share, quantity::percent(sum, whole)]
        };
        cells.extend([value(row.cum.delta()), quantity::percent(row.cum.delta(), whole)]);
        if with_errors {
            let error = |noise, value| (style.error)(relative_error(stacks, noise, value));
            cells.insert(1, error(row.flat_noise, row.flat.value));
            cells.insert(5, error(row.cum_noise, row.cum.value));
        }
        cells.push(stacks.strings.get(row.function).to_owned());
        cells.push(stacks.strings.get(row.file).to_owned());
        table.push(cells);
    }
    table
}

/// The largest functions as JSON; the rows of the API's `table` too.
pub fn top_json(stacks: &Stacks, options: Options) -> Value {
    let row = |row: &FunctionRow| {
        let mut value = json!({
            "function": stacks.strings.get(row.function),
            "file": stacks.strings.get(row.file),
            "line": row.line,
            "flat": integer(row.flat.value),
            "cum": integer(row.cum.value),
            "flat_base": integer(row.flat.base),
            "cum_base": integer(row.cum.base),
        });
        add_errors(&mut value, stacks, row);
        value
    };
    let rows: Vec<Value> = rows(stacks, options).iter().map(row).collect();
    let mut value = about(stacks);
    value["rows"] = rows.into();
    value
}

/// Errors only where there are any.
fn add_errors(value: &mut Value, stacks: &Stacks, row: &FunctionRow) {
    let flat = relative_error(stacks, row.flat_noise, row.flat.value);
    let cum = relative_error(stacks, row.cum_noise, row.cum.value);
    for (key, error, noise) in [("flat", flat, row.flat_noise), ("cum", cum, row.cum_noise)] {
        if let Some(error) = error {
            value[format!("{key}_error")] = number(error);
            value[format!("{key}_sampled")] = number(noise.sampled);
        }
    }
}

/// What is said of a profile before its rows.
fn about(stacks: &Stacks) -> Value {
    let Notes { depth, truncated, rerooted } = stacks.notes;
    json!({
        "sample_type": stacks.kind,
        "unit": stacks.unit,
        "total": integer(stacks.total.value),
        "total_error": relative_error(stacks, stacks.noise, stacks.total.value).map(number),
        "base_total": integer(stacks.total.base),
        "is_diff": stacks.is_diff,
        "sampled_every_bytes": stacks.sampled_every,
        "stacks": {
            "count": stacks.rows.len(),
            "truncated": truncated,
            "rerooted": rerooted,
            "depth_limit": (truncated > 0).then_some(depth),
        },
    })
}

/// How many callers and callees `tree` shows of a function.
const NEIGHBOURS_SHOWN: usize = 8;

/// The largest functions between their callers and callees.
pub fn tree_text(stacks: &Stacks, options: Options) -> String {
    blocks(stacks, &rows(stacks, options), NEIGHBOURS_SHOWN)
}

/// The functions that `wanted` says yes to, between all their callers and callees;
/// `None` when there is none.
pub fn peek_text(stacks: &Stacks, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let rows = peeked(stacks, wanted);
    (!rows.is_empty()).then(|| blocks(stacks, &rows, usize::MAX))
}

fn peeked(stacks: &Stacks, wanted: impl Fn(&str) -> bool) -> Vec<FunctionRow> {
    let mut rows = rows(stacks, Options { rows: 0, by_cumulative: true });
    rows.retain(|row| wanted(stacks.strings.get(row.function)));
    rows
}

fn blocks(stacks: &Stacks, rows: &[FunctionRow], shown: usize) -> String {
    let all = neighbours(stacks);
    let none = (Vec::new(), Vec::new());
    let mut out = headline(stacks);
    let text = |cell: Cell| quantity::text(cell.delta(), &stacks.unit);
    let edges = |out: &mut String, edges: &[Edge], arrow: &str| {
        for edge in edges.iter().take(shown) {
            let name = stacks.strings.get(edge.function);
            *out += &format!("{:>34}     {arrow} {name}\n", text(edge.cell));
        }
        if edges.len() > shown {
            *out += &format!("{:>34}     {arrow} {} more\n", "", edges.len() - shown);
        }
    };
    for row in rows {
        let (callers, callees) = all.get(&row.function).unwrap_or(&none);
        out.push('\n');
        edges(&mut out, callers, "<-");
        let name = stacks.strings.get(row.function);
        let (flat, cum) = (text(row.flat), text(row.cum));
        let error = with_space(error(stacks, row.cum_noise, row.cum.value));
        out += &format!("{flat:>12} flat {cum:>12} cum{error}  {name}\n");
        edges(&mut out, callees, "->");
    }
    out
}

/// The largest functions between their callers and callees, as JSON.
pub fn tree_json(stacks: &Stacks, options: Options) -> Value {
    blocks_json(stacks, &rows(stacks, options))
}

/// As [`peek_text`], as JSON.
pub fn peek_json(stacks: &Stacks, wanted: impl Fn(&str) -> bool) -> Option<Value> {
    let rows = peeked(stacks, wanted);
    (!rows.is_empty()).then(|| blocks_json(stacks, &rows))
}

fn blocks_json(stacks: &Stacks, rows: &[FunctionRow]) -> Value {
    let all = neighbours(stacks);
    let none = (Vec::new(), Vec::new());
    let edges = |edges: &[Edge]| -> Value {
        let edge = |edge: &Edge| {
            json!({
                "function": stacks.strings.get(edge.function),
                "value": integer(edge.cell.value),
                "base": integer(edge.cell.base),
            })
        };
        edges.iter().map(edge).collect()
    };
    let function = |row: &FunctionRow| {
        let (callers, callees) = all.get(&row.function).unwrap_or(&none);
        let mut value = json!({
            "function": stacks.strings.get(row.function),
            "flat": integer(row.flat.value),
            "cum": integer(row.cum.value),
            "flat_base": integer(row.flat.base),
            "cum_base": integer(row.cum.base),
            "callers": edges(callers),
            "callees": edges(callees),
        });
        add_errors(&mut value, stacks, row);
        value
    };
    let functions: Vec<Value> = rows.iter().map(function).collect();
    let mut value = about(stacks);
    value["functions"] = functions.into();
    value
}
