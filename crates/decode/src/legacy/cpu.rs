//! CPU profiles in words of 32 or 64 bits, either byte order (profilez).

use std::collections::HashMap;

use super::draft::{Draft, DraftSample};
use super::{Outcome, Refusal, java, lines, maps};

/// How words are stored.
#[derive(Clone, Copy)]
struct Words {
    size: usize,
    is_big_endian: bool,
}

const LAYOUTS: [Words; 4] = [
    Words { size: 4, is_big_endian: false },
    Words { size: 4, is_big_endian: true },
    Words { size: 8, is_big_endian: false },
    Words { size: 8, is_big_endian: true },
];

impl Words {
    /// The first word and the rest.
    fn take(self, bytes: &[u8]) -> Option<(u64, &[u8])> {
        let (word, rest) = bytes.split_at_checked(self.size)?;
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let value = match self.is_big_endian {
            true => word.iter().fold(0, join),
            false => word.iter().rev().fold(0, join),
        };
        Some((value, rest))
    }
}

pub(super) fn read(bytes: &[u8]) -> Outcome {
    for words in LAYOUTS {
        let mut header = [0; 5];
        let mut rest = Some(bytes);
        for slot in &mut header {
            let taken = rest.and_then(|bytes| words.take(bytes));
            (*slot, rest) = taken.map_or((0, None), |(word, rest)| (word, Some(rest)));
        }
        let Some(rest) = rest else { continue };
        match header {
            [0, 3, kind @ (0 | 1), period, 0] if period > 0 => {
                return profile(rest, period, words, kind == 1);
            }
            _ => {}
        }
    }
    Err(Refusal::Unrecognized)
}

fn profile(bytes: &[u8], period_micros: u64, words: Words, is_java: bool) -> Outcome {
    let cpu = ("cpu", "nanoseconds");
    let mut draft = Draft::new(&[("samples", "count"), cpu], cpu);
    draft.profile.period = period_micros.cast_signed().wrapping_mul(1000);
    let rest = samples(bytes, words, is_java, &mut draft).ok_or(Refusal::Unrecognized)?;
    if is_java {
        java::locations(&lines::text(rest), &mut draft);
        java::strip(&mut draft);
        return Ok(draft);
    }
    drop_signal_frames(&mut draft);
    maps::attach(lines::text(rest).lines(), &mut draft);
    draft.drop_repeated_leaves();
    Ok(draft)
}

/// Reads `count, depth, addresses...` up to the end mark; what follows it.
fn samples<'b>(
    mut bytes: &'b [u8],
    words: Words,
    is_java: bool,
    draft: &mut Draft,
) -> Option<&'b [u8]> {
    while !bytes.is_empty() {
        let (count, rest) = words.take(bytes)?;
        let (depth, mut rest) = words.take(rest)?;
        if depth > rest.len() as u64 / 4 {
            return None;
        }
        let mut addresses = Vec::new();
        for _ in 0..depth {
            let (address, tail) = words.take(rest).unwrap_or((0, &[]));
            addresses.push(address);
            rest = tail;
        }
        bytes = rest;
        if count == 0 && addresses == [0] {
            break;
        }
        let stack = match is_java {
            true => addresses.iter().map(|address| draft.location(*address)).collect(),
            false => draft.call_stack(&addresses, false),
        };
        let count = count.cast_signed();
        let values = vec![count, count.wrapping_mul(draft.profile.period)];
        draft.samples.push(DraftSample { stack, values, bytes: None });
    }
    Some(bytes)
}

/// Nearly all samples may share the frame after the leaf: the profiler's signal
/// handler. It is removed, twice at most.
fn drop_signal_frames(draft: &mut Draft) {
    let total = draft.samples.len();
    for _ in 0..2 {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        let seconds = draft.samples.iter().filter_map(|sample| sample.stack.get(1));
        for id in seconds {
            *counts.entry(draft.address(*id)).or_default() += 1;
        }
        let common = counts.into_iter().find(|(_, count)| *count >= total - total / 32);
        let Some((address, _)) = common else { continue };
        let mut samples = std::mem::take(&mut draft.samples);
        for sample in &mut samples {
            if sample.stack.get(1).is_some_and(|id| draft.address(*id) == address) {
                sample.stack.remove(1);
            }
        }
        draft.samples = samples;
    }
}
