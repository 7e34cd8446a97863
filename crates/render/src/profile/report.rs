//! `top`, `tree` and `diff`: tables for people, CSV and JSON for programs.

use analyze::report::{Cell, Edge, FunctionRow, Stacks, functions, neighbours};
use serde_json::{Value, json};

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

/// `inuse_space: 12.3 MiB in all`, or the change.
fn headline(stacks: &Stacks) -> String {
    let Stacks { kind, unit, total, .. } = stacks;
    if stacks.is_diff {
        let (now, before) = (quantity::text(total.value, unit), quantity::text(total.base, unit));
        let change = quantity::change(total.delta(), unit);
        format!("{kind}: {before} before, {now} now, {change}\n")
    } else {
        format!("{kind}: {} in all\n", quantity::text(total.value, unit))
    }
}

/// The largest functions as a table.
pub fn top_text(stacks: &Stacks, options: Options) -> String {
    headline(stacks)
        + &top_table(stacks, options, |value| quantity::text(value, &stacks.unit)).text()
}

/// The largest functions as CSV with plain numbers.
pub fn top_csv(stacks: &Stacks, options: Options) -> String {
    top_table(stacks, options, |value| value.to_string()).csv()
}

fn top_table(stacks: &Stacks, options: Options, value: impl Fn(i64) -> String) -> Table {
    let mut columns = vec![("flat", Align::Right), ("flat%", Align::Right)];
    if stacks.is_diff {
        columns = vec![("before", Align::Right), ("now", Align::Right), ("flat", Align::Right)];
    } else {
        columns.push(("sum%", Align::Right));
    }
    columns.extend([("cum", Align::Right), ("cum%", Align::Right)]);
    columns.extend([("function", Align::Left), ("file", Align::Left)]);
    let mut table = Table::new(&columns);
    let whole = if stacks.is_diff { stacks.total.base } else { stacks.total.value };
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
        cells.push(stacks.strings.get(row.function).to_owned());
        cells.push(stacks.strings.get(row.file).to_owned());
        table.push(cells);
    }
    table
}

/// The largest functions as JSON; the rows of the API's `table` too.
pub fn top_json(stacks: &Stacks, options: Options) -> Value {
    let rows: Vec<Value> = rows(stacks, options)
        .iter()
        .map(|row| {
            json!({
                "function": stacks.strings.get(row.function),
                "file": stacks.strings.get(row.file),
                "line": row.line,
                "flat": row.flat.value,
                "cum": row.cum.value,
                "flat_base": row.flat.base,
                "cum_base": row.cum.base,
            })
        })
        .collect();
    json!({
        "sample_type": stacks.kind,
        "unit": stacks.unit,
        "total": stacks.total.value,
        "base_total": stacks.total.base,
        "is_diff": stacks.is_diff,
        "rows": rows,
    })
}

/// How many callers and callees a function shows.
const NEIGHBOURS_SHOWN: usize = 8;

/// Each function between its callers and callees.
pub fn tree_text(stacks: &Stacks, options: Options) -> String {
    let all = neighbours(stacks);
    let none = (Vec::new(), Vec::new());
    let mut out = headline(stacks);
    let number = |cell: Cell| quantity::text(cell.delta(), &stacks.unit);
    let edges = |out: &mut String, edges: &[Edge], arrow: &str| {
        for edge in edges.iter().take(NEIGHBOURS_SHOWN) {
            let name = stacks.strings.get(edge.function);
            *out += &format!("{:>34}     {arrow} {name}\n", number(edge.cell));
        }
        if edges.len() > NEIGHBOURS_SHOWN {
            *out += &format!("{:>34}     {arrow} {} more\n", "", edges.len() - NEIGHBOURS_SHOWN);
        }
    };
    for row in rows(stacks, options) {
        let (callers, callees) = all.get(&row.function).unwrap_or(&none);
        out.push('\n');
        edges(&mut out, callers, "<-");
        let name = stacks.strings.get(row.function);
        let (flat, cum) = (number(row.flat), number(row.cum));
        out += &format!("{flat:>12} flat {cum:>12} cum  {name}\n");
        edges(&mut out, callees, "->");
    }
    out
}

/// Each function between its callers and callees, as JSON.
pub fn tree_json(stacks: &Stacks, options: Options) -> Value {
    let all = neighbours(stacks);
    let none = (Vec::new(), Vec::new());
    let edges = |edges: &[Edge]| -> Value {
        let edge = |edge: &Edge| {
            json!({
                "function": stacks.strings.get(edge.function),
                "value": edge.cell.value,
                "base": edge.cell.base,
            })
        };
        edges.iter().map(edge).collect()
    };
    let functions: Vec<Value> = rows(stacks, options)
        .iter()
        .map(|row| {
            let (callers, callees) = all.get(&row.function).unwrap_or(&none);
            json!({
                "function": stacks.strings.get(row.function),
                "flat": row.flat.value,
                "cum": row.cum.value,
                "callers": edges(callers),
                "callees": edges(callees),
            })
        })
        .collect();
    json!({ "sample_type": stacks.kind, "unit": stacks.unit, "total": stacks.total.value,
            "functions": functions })
}
