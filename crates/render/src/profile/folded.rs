//! Folded stacks: `main;handler;alloc 4096`, one line a stack, as flamegraph.pl and
//! its successors read them. Frames are functions; equal lines are joined.

use std::collections::BTreeMap;

use analyze::report::Stacks;

/// Writes the stacks; a difference gives `before now` as difffolded.pl does.
pub fn write(stacks: &Stacks) -> String {
    let mut lines: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in &stacks.rows {
        let names: Vec<String> = stacks
            .path(row)
            .iter()
            // A semicolon separates frames and a line end separates stacks.
            .map(|id| stacks.function(*id).replace(';', ":").replace('\n', " "))
            .collect();
        let sum = lines.entry(names.join(";")).or_default();
        sum.0 = sum.0.saturating_add(row.cell.base);
        sum.1 = sum.1.saturating_add(row.cell.value);
    }
    let mut out = String::new();
    for (path, (base, value)) in lines {
        out += &match stacks.is_diff {
            true => format!("{path} {base} {value}\n"),
            false => format!("{path} {value}\n"),
        };
    }
    out
}
