//! Goroutines as text and JSON, grouped by stack, state and wait reason.

use model::{Bytes, GoroutineGroup, GoroutineSnapshot};
use serde_json::{Value, json};

use crate::json;
use crate::paint::Paint;

/// The largest groups with their stacks.
pub fn text(snapshot: &GoroutineSnapshot, shown: usize, paint: Paint) -> String {
    let count: u64 = snapshot.groups.iter().map(|group| group.count).sum();
    let stacks: u64 = snapshot.groups.iter().map(|group| group.stack_bytes).sum();
    let groups = snapshot.groups.len();
    let mut out = format!("{count} goroutines in {groups} groups, {} of stacks\n", Bytes(stacks));
    for group in snapshot.groups.iter().take(shown) {
        out += &format!("\n{}\n", paint.bold(&headline(group)));
        for frame in snapshot.stacks.get(group.stack).into_iter().flatten() {
            out += &format!("    {}  {}:{}\n", frame.function, frame.file, frame.line);
        }
        if let Some(frame) = &group.created_by {
            out += &format!("    created by {}  {}:{}\n", frame.function, frame.file, frame.line);
        }
    }
    if groups > shown {
        out += &format!("\n... {} groups more (-n 0 shows all)\n", groups - shown);
    }
    out
}

fn headline(group: &GoroutineGroup) -> String {
    let mut line = format!("{} {}", group.count, group.state);
    if !group.wait_reason.is_empty() {
        line += &format!(" [{}]", group.wait_reason);
    }
    if let Some(seconds) = group.wait_seconds_max.filter(|seconds| *seconds >= 1.0) {
        line += &format!(", the longest for {seconds:.0} s");
    }
    if group.stack_bytes > 0 {
        line += &format!(", {} of stacks", Bytes(group.stack_bytes));
    }
    line
}

/// All groups.
pub fn value(snapshot: &GoroutineSnapshot) -> Value {
    let groups: Vec<Value> = snapshot
        .groups
        .iter()
        .map(|group| {
            let stack = snapshot.stacks.get(group.stack);
            json!({
                "count": group.count,
                "state": group.state,
                "wait_reason": group.wait_reason,
                "wait_seconds_max": group.wait_seconds_max,
                "stack_bytes": group.stack_bytes,
                "system": group.is_system,
                "stack": stack.into_iter().flatten().map(json::frame).collect::<Vec<_>>(),
                "created_by": group.created_by.as_ref().map(json::frame),
            })
        })
        .collect();
    json!({
        "goroutines": snapshot.groups.iter().map(|group| group.count).sum::<u64>(),
        "groups": groups,
        "warnings": snapshot.warnings,
    })
}
