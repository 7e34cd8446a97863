//! Heap profiles as text: tcmalloc's, Go's `heap?debug=1`, growth and fragmentation.

use super::draft::{Draft, DraftSample};
use super::lines::{Lines, addresses, is_comment, pattern};
use super::{Outcome, Refusal, malformed, maps};
use crate::goruntime::scale_heap_sample;

pattern!(
    HEADER,
    r"heap profile: *([0-9]+): *([0-9]+) *\[ *([0-9]+): *([0-9]+) *\] *@ *(heap[_a-z0-9]*)/?([0-9]*)"
);
pattern!(SAMPLE, r"(-?[0-9]+): *(-?[0-9]+) *\[ *([0-9]+): *([0-9]+) *] @([ x0-9a-f]*)");
pattern!(
    GROWTH,
    r"heap profile: *([0-9]+): *([0-9]+) *\[ *([0-9]+): *([0-9]+) *\] @ (growthz?|fragmentationz?)"
);

/// What the first line says.
struct Header {
    period: i64,
    has_alloc: bool,
    is_sampled: bool,
}

fn header(line: &str) -> Result<Header, Refusal> {
    let Some(groups) = HEADER.groups(line) else {
        let found = GROWTH.groups(line).ok_or(Refusal::Unrecognized)?;
        drop(found);
        return Ok(Header { period: 1, has_alloc: false, is_sampled: false });
    };
    let group = |index: usize| groups.get(index).copied().unwrap_or("");
    let period = match group(6) {
        "" => 0,
        digits => digits.parse().map_err(|_| Refusal::Unrecognized)?,
    };
    let differs = |alloc: &str, in_use: &str| alloc != in_use && alloc != "0";
    let has_alloc = differs(group(3), group(1)) || differs(group(4), group(2));
    match group(5) {
        "heapz_v2" | "heap_v2" => Ok(Header { period, has_alloc, is_sampled: true }),
        "heapprofile" => Ok(Header { period: 1, has_alloc, is_sampled: false }),
        // Go writes twice its rate.
        "heap" => Ok(Header { period: period / 2, has_alloc, is_sampled: true }),
        _ => Err(Refusal::Unrecognized),
    }
}

pub(super) fn read(text: &str) -> Outcome {
    let mut lines = Lines::new(text);
    lines.advance();
    let header = header(lines.line)?;
    let space = ("space", "bytes");
    let mut draft = match header.has_alloc {
        true => Draft::new(
            &[
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes"),
            ],
            space,
        ),
        false => Draft::new(&[("objects", "count"), space], space),
    };
    draft.profile.period = header.period;
    while lines.advance() {
        let line = lines.line.trim();
        if is_comment(line) {
            draft.names.comment(lines.line, draft.samples.len().checked_sub(1));
            continue;
        }
        if maps::is_sentinel(line) {
            break;
        }
        let sample = sample(line, &header, &mut draft)?;
        draft.samples.push(sample);
    }
    maps::read_sections(&mut lines, &mut draft);
    Ok(draft)
}

fn sample(line: &str, header: &Header, draft: &mut Draft) -> Result<DraftSample, Refusal> {
    let unexpected =
        || Refusal::Malformed("unexpected number of sample values: got 0, want 6".to_owned());
    let groups = SAMPLE.groups(line).ok_or_else(unexpected)?;
    let [_, in_use_count, in_use_size, alloc_count, alloc_size, stack] = groups.as_slice() else {
        return Err(unexpected());
    };
    let mut sample = DraftSample { bytes: Some(0), ..DraftSample::default() };
    let mut add = |count: &str, size: &str, what: &str| -> Result<(), Refusal> {
        let parse = |text: &str| text.parse::<i64>().map_err(|error| malformed(line, error));
        let (mut count, mut size) = (parse(count)?, parse(size)?);
        if count == 0 && size != 0 {
            let message = format!("{what} count was 0 but {what} bytes was {size}");
            return Err(Refusal::Malformed(message));
        }
        if count != 0 {
            sample.bytes = Some(size.wrapping_div(count));
            if header.is_sampled {
                (count, size) = scale_heap_sample(count, size, header.period);
            }
        }
        sample.values.extend([count, size]);
        Ok(())
    };
    if header.has_alloc {
        add(alloc_count, alloc_size, "allocation")?;
    }
    add(in_use_count, in_use_size, "inuse")?;
    sample.stack = draft.call_stack(&addresses(stack)?, true);
    Ok(sample)
}
