//! `NAME profile: total N`: goroutine, threadcreate and custom profiles of Go.

use super::draft::{Draft, DraftSample};
use super::lines::{Lines, is_comment, pattern};
use super::{Outcome, Refusal, maps};

pattern!(START, r"\A(\S+) profile: total [0-9]+\z");
pattern!(SAMPLE, r"\A([0-9]+) @(( 0x[0-9a-f]+)+)\z");

pub(super) fn read(text: &str) -> Outcome {
    let mut lines = Lines::new(text);
    lines.skip_comments();
    let header = START.groups(lines.line).ok_or(Refusal::Unrecognized)?;
    let name = header.get(1).copied().unwrap_or("");
    let mut draft = Draft::new(&[(name, "count")], (name, "count"));
    draft.profile.period = 1;
    while lines.advance() {
        if is_comment(lines.line) {
            draft.names.comment(lines.line, draft.samples.len().checked_sub(1));
            continue;
        }
        if lines.line.starts_with("---") {
            break;
        }
        let damaged = || Refusal::Malformed("malformed profile format".to_owned());
        let groups = SAMPLE.groups(lines.line).ok_or_else(damaged)?;
        let [_, count, addresses, ..] = groups.as_slice() else { return Err(damaged()) };
        let value = super::lines::integer(count).ok_or_else(damaged)?;
        let addresses = super::lines::addresses(addresses).map_err(|_| damaged())?;
        let stack = draft.call_stack(&addresses, true);
        draft.samples.push(DraftSample { stack, values: vec![value], bytes: None });
    }
    maps::read_sections(&mut lines, &mut draft);
    Ok(draft)
}
