//! `--- threadz N ---` and `--- Thread ... stack: ---`.

use super::draft::{Draft, DraftSample};
use super::lines::{Lines, addresses, pattern};
use super::{Outcome, Refusal, maps};

pattern!(THREADZ, r"--- threadz [0-9]+ ---");
pattern!(THREAD, r"--- Thread ([[:xdigit:]]+) \(name: (.*)/([0-9]+)\) stack: ---");

pub(super) fn read(text: &str) -> Outcome {
    let mut lines = Lines::new(text);
    lines.skip_comments();
    let mut line = lines.line;
    if THREADZ.find(line).is_some() {
        while lines.advance() {
            line = lines.line;
            if maps::is_sentinel(line) || line.starts_with('-') {
                break;
            }
        }
    } else if THREAD.groups(line).is_none() {
        return Err(Refusal::Unrecognized);
    }
    let thread = ("thread", "count");
    let mut draft = Draft::new(&[thread], thread);
    draft.profile.period = 1;
    while !maps::is_sentinel(line) && !line.starts_with("---- no stack trace for") {
        if THREAD.groups(line).is_none() {
            return Err(Refusal::Unrecognized);
        }
        let (next, stack) = stack(&mut lines)?;
        line = next;
        if stack.is_empty() {
            // Same as the thread before.
            let last = draft.samples.last_mut().and_then(|sample| sample.values.first_mut());
            last.into_iter().for_each(|count| *count += 1);
            continue;
        }
        let stack = draft.call_stack(&stack, false);
        draft.samples.push(DraftSample { stack, values: vec![1], bytes: None });
    }
    maps::read_sections(&mut lines, &mut draft);
    draft.drop_repeated_leaves();
    Ok(draft)
}

/// The line after a stack, and the stack.
fn stack<'t>(lines: &mut Lines<'t>) -> Result<(&'t str, Vec<u64>), Refusal> {
    let mut stack = Vec::new();
    let mut is_same = false;
    let mut line = "";
    while lines.advance() {
        line = lines.line.trim();
        if line.is_empty() {
            continue;
        }
        if line.starts_with("---") {
            break;
        }
        if line.contains("same as previous thread") {
            is_same = true;
            continue;
        }
        stack.extend(addresses(line)?);
    }
    if is_same {
        stack.clear();
    }
    Ok((line, stack))
}
