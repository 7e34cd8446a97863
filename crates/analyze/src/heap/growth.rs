//! What keeps the growth of a heap alive, for verdicts: the types that grew most between
//! two snapshots, and the ways from roots to what was added. Costs what the difference of
//! the two costs, and a search of each.

use model::{Bytes, Retainer};

use super::diff::{PathChange, Side, TypeChange, diff, path_changes};
use super::paths::Step;

/// What grew between two snapshots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growth {
    /// Ways to what was added, those that hold most of it first.
    pub retainers: Vec<Retainer>,
    /// The figures behind it, one sentence each.
    pub evidence: Vec<String>,
}

/// Types that are looked at, ways of each, and ways and types that are told.
const TYPES: usize = 6;
const PATHS: usize = 50;
const RETAINERS: usize = 3;
const SENTENCES: usize = 2;

/// A way with less than this share of the growth is not what grows.
const SHARE_MIN: f64 = 0.1;

/// Compares two snapshots that are so many seconds apart.
pub fn growth(before: Side<'_>, after: Side<'_>, seconds: f64) -> Growth {
    let found = diff(before, after, 0);
    let Some(grown) = found.live.1.bytes.checked_sub(found.live.0.bytes).filter(|grown| *grown > 0)
    else {
        let text = format!("the live heap did not grow between two snapshots {seconds:.0} s apart");
        return Growth { retainers: Vec::new(), evidence: vec![text] };
    };
    let is_large = |bytes: u64| bytes as f64 >= SHARE_MIN * grown as f64;
    let mut kept: Vec<PathChange> = Vec::new();
    for change in path_changes(before.graph, after.graph, &found, TYPES, PATHS) {
        let bytes = change.objects.1.bytes.saturating_sub(change.objects.0.bytes);
        let is_told = kept.iter().any(|told| is_along(&told.steps, &change.steps));
        if kept.len() < RETAINERS && is_large(bytes) && !is_told {
            kept.push(change);
        }
    }
    let types = found.types.iter().filter(|change| change.bytes_delta() > 0);
    let large = types.filter(|change| is_large(change.bytes_delta().unsigned_abs()));
    Growth {
        retainers: kept.iter().map(retainer).collect(),
        evidence: large.take(SENTENCES).map(|change| sentence(change, seconds)).collect(),
    }
}

fn retainer(change: &PathChange) -> Retainer {
    Retainer { path: change.steps.iter().map(Step::text).collect() }
}

fn sentence(change: &TypeChange, seconds: f64) -> String {
    let TypeChange { name, live, .. } = change;
    format!(
        "{name} grew by {} and {} objects between two snapshots {seconds:.0} s apart, to {} in {}",
        Bytes(live.1.bytes.saturating_sub(live.0.bytes)),
        live.1.objects as i64 - live.0.objects as i64,
        Bytes(live.1.bytes),
        live.1.objects,
    )
}

/// Whether one way is the beginning of the other: what is further along it grows with it.
fn is_along(one: &[Step], other: &[Step]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let Some((last, before)) = short.split_last() else { return true };
    let Some(at) = long.get(before.len()) else { return false };
    let is_same = |(a, b): (&Step, &Step)| a.name == b.name && a.via == b.via;
    // The last step of the shorter one points no further.
    last.name == at.name && before.iter().zip(long).all(is_same)
}

#[cfg(test)]
mod tests {
    use model::heap::{HeapGraph, HolderKind};

    use super::growth;
    use crate::heap::Dominators;
    use crate::heap::diff::Side;
    use crate::heap::tests::Drawing;

    /// A trail of events with a text each, and a cache that stays as it is.
    fn trail(events: u32) -> HeapGraph<'static> {
        let mut drawing = Drawing::new();
        let [log, event, text, page] =
            [("main.Log", 24), ("main.Event", 64), ("string", 1), ("main.Page", 512)]
                .map(|(name, bytes)| drawing.type_of(name, bytes, &[(0, "first", None)]));
        let page = drawing.object(page, 512);
        let log = drawing.object(log, 24);
        for _ in 0..events {
            let from = drawing.object(event, 64);
            let to = drawing.object(text, 16);
            drawing.point(log.0, from.0).point(from.0, to.0);
        }
        drawing.holder(HolderKind::Global, "main.cache", &[page.0]);
        drawing.holder(HolderKind::Global, "main.trail", &[log.0]);
        drawing.done()
    }

    #[test]
    fn the_way_to_what_was_added_is_told_once() {
        let (before, after) = (trail(10), trail(30));
        let dominators = [&before, &after].map(Dominators::of);
        let side = |graph, at: usize| Side { graph, dominators: &dominators[at] };
        let found = growth(side(&before, 0), side(&after, 1), 12.0);
        let paths: Vec<&[String]> = found.retainers.iter().map(|r| r.path.as_slice()).collect();
        assert_eq!(paths.len(), 1, "{paths:?}");
        assert_eq!(paths[0][0], "main.trail (global)");
        assert_eq!(paths[0].last().unwrap(), "main.Event");
        let expected = "main.Event grew by 1.25 KiB and 20 objects between two snapshots 12 s \
                        apart, to 1.88 KiB in 30";
        assert_eq!(found.evidence[0], expected);
        // The other way round nothing grows.
        let found = growth(side(&after, 1), side(&before, 0), 12.0);
        assert!(found.retainers.is_empty());
        assert_eq!(found.evidence, ["the live heap did not grow between two snapshots 12 s apart"]);
    }
}
