//! Contention profiles as text: C++'s, and Go's mutex and block with `debug=1`.

use super::draft::{Draft, DraftSample};
use super::lines::{Lines, addresses, integer, is_comment, pattern};
use super::{Outcome, Refusal, malformed, maps};

pattern!(SAMPLE, r"([0-9]+) *([0-9]+) @([ x0-9a-f]*)");

pub(super) fn read(text: &str) -> Outcome {
    let mut lines = Lines::new(text);
    lines.advance();
    let starts = ["--- contentionz ", "--- mutex:", "--- contention:"];
    if !starts.iter().any(|start| lines.line.starts_with(start)) {
        return Err(Refusal::Unrecognized);
    }
    let count = ("contentions", "count");
    let mut draft = Draft::new(&[count, ("delay", "nanoseconds")], count);
    draft.profile.period = 1;
    let cycles_per_second = attributes(&mut lines, &mut draft)?;
    loop {
        let line = lines.line.trim();
        if line.starts_with("---") {
            break;
        }
        if is_comment(line) {
            draft.names.comment(lines.line, draft.samples.len().checked_sub(1));
        } else {
            let sample = sample(line, cycles_per_second, &mut draft)?;
            draft.samples.push(sample);
        }
        if !lines.advance() {
            break;
        }
    }
    maps::read_sections(&mut lines, &mut draft);
    Ok(draft)
}

/// Reads `name = value` lines up to the first sample; the cycles a second.
fn attributes(lines: &mut Lines<'_>, draft: &mut Draft) -> Result<i64, Refusal> {
    let mut cycles_per_second = 0;
    while lines.advance() {
        let line = lines.line.trim();
        if is_comment(line) {
            continue;
        }
        if line.starts_with("---") {
            break;
        }
        let Some((key, value)) = line.split_once('=') else { break };
        let number = || integer(value.trim()).ok_or(Refusal::Unrecognized);
        match key.trim() {
            "cycles/second" => cycles_per_second = number()?,
            "sampling period" => draft.profile.period = number()?,
            "ms since reset" => {
                draft.profile.duration_nanos = number()?.wrapping_mul(1_000_000);
            }
            "discarded samples" => {}
            _ => return Err(Refusal::Unrecognized),
        }
    }
    Ok(cycles_per_second)
}

fn sample(line: &str, cycles_per_second: i64, draft: &mut Draft) -> Result<DraftSample, Refusal> {
    let groups = SAMPLE.groups(line).ok_or(Refusal::Unrecognized)?;
    let [_, delay, count, stack] = groups.as_slice() else { return Err(Refusal::Unrecognized) };
    let parse = |text: &str| text.parse::<i64>().map_err(|error| malformed(line, error));
    let (mut delay, mut count) = (parse(delay)?, parse(count)?);
    let period = draft.profile.period;
    if period > 0 {
        if cycles_per_second > 0 {
            let cycles_per_nano = cycles_per_second as f64 / 1e9;
            delay = (delay as f64 * period as f64 / cycles_per_nano) as i64;
        }
        count = count.wrapping_mul(period);
    }
    let stack = draft.call_stack(&addresses(stack)?, true);
    Ok(DraftSample { stack, values: vec![count, delay], bytes: None })
}
