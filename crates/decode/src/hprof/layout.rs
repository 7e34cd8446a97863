//! How large the virtual machine makes objects, which the format does not say.
//!
//! JDK 21 and Android give the size of each class's instances. Before, it follows from the
//! fields as HotSpot lays them out, and how wide headers and references are follows from
//! the addresses: objects lie side by side, so of all layouts the right one is that which
//! most often ends an object where the next begins. The virtual machine adds fields to some
//! classes that are in no dump; those of JDK 9 to 20 are known here. Fields annotated
//! @Contended are taken for plain ones but in java.lang.Thread: the format does not tell.

use model::heap::ObjectId;

use super::classes::{Class, Classes};
use super::cursor::Cursor;
use super::names::Names;
use super::subrecords::{self, OBJECT, Sub, value_bytes};
use super::write::COMPANION_CLASS;
use crate::places::Index;

/// Objects that are looked at to tell the layout.
const SAMPLES: usize = 100_000;

/// Gaps between fields that are kept for fields of subclasses.
const GAPS_MAX: usize = 8;

/// How a class arranges its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    /// Classes say how large instances are.
    Given,
    /// JDK 14 and older: each class begins where the last one ended, aligned to a reference.
    Aligned,
    /// JDK 15 and newer: fields fill the gaps of superclasses.
    Filled,
}

/// How objects are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) header_bytes: u64,
    pub(super) reference_bytes: u64,
    align_bytes: u64,
    arrangement: Arrangement,
}

impl Layout {
    pub(super) const WIDE: Layout = Layout {
        header_bytes: 16,
        reference_bytes: 8,
        align_bytes: 8,
        arrangement: Arrangement::Aligned,
    };

    pub(super) fn align(&self, bytes: u64) -> u64 {
        bytes.saturating_add(self.align_bytes - 1) & !(self.align_bytes - 1)
    }

    /// Where the elements of an array begin.
    pub(super) fn array_base(&self, element_bytes: u64) -> u64 {
        match self.header_bytes {
            // 32-bit machines, Android, and compact headers.
            8 if element_bytes <= 4 => 12,
            8 | 12 => 16,
            _ => 24,
        }
    }

    pub(super) fn array_bytes(&self, count: u32, element_bytes: u64) -> u64 {
        self.align(self.array_base(element_bytes) + u64::from(count) * element_bytes)
    }

    /// Bytes of the instances of each class.
    fn instance_bytes(&self, classes: &Classes<'_>, names: &Names<'_>) -> Vec<u64> {
        let mut ends: Vec<End> = vec![End::default(); classes.list.len()];
        for at in &classes.parents_first {
            let Some(class) = classes.get(*at as usize) else { continue };
            let parent = class.parent.and_then(|parent| ends.get(parent)).cloned();
            let parent = parent.unwrap_or(End { bytes: self.header_bytes, gaps: Vec::new() });
            let end = match self.arrangement {
                Arrangement::Given => {
                    End { bytes: u64::from(class.dump.instance_bytes), gaps: Vec::new() }
                }
                Arrangement::Aligned => self.aligned(&Own::of(classes, class, names), &parent),
                Arrangement::Filled => self.filled(&Own::of(classes, class, names), parent),
            };
            if let Some(slot) = ends.get_mut(*at as usize) {
                *slot = end;
            }
        }
        ends.iter().map(|end| self.align(end.bytes)).collect()
    }

    fn aligned(&self, own: &Own, parent: &End) -> End {
        let primitives: u64 = (0..).zip(own.primitives).map(|(bits, count)| count << bits).sum();
        let fields = primitives + own.references * self.reference_bytes;
        let padding = if own.is_contended { 2 * CONTENDED_PADDING } else { 0 };
        let bytes = parent.bytes.saturating_add(fields + padding);
        End { bytes: bytes.next_multiple_of(self.reference_bytes), gaps: Vec::new() }
    }

    fn filled(&self, own: &Own, mut end: End) -> End {
        let mut primitives = own.primitives;
        if own.is_contended {
            // threadLocalRandomSeed, -Probe and -SecondarySeed lie apart.
            let [_, _, ints, longs] = &mut primitives;
            (*ints, *longs) = (ints.saturating_sub(2), longs.saturating_sub(1));
        }
        for (bits, count) in (0_usize..4).zip(primitives).rev() {
            end.add(1 << bits, count);
        }
        end.add(self.reference_bytes, own.references);
        if own.is_contended {
            let start = (end.bytes + CONTENDED_PADDING).next_multiple_of(8);
            end = End { bytes: start + 16 + CONTENDED_PADDING, gaps: Vec::new() };
        }
        end
    }
}

/// -XX:ContendedPaddingWidth.
const CONTENDED_PADDING: u64 = 128;

/// Fields a class declares.
struct Own {
    /// How many of 1, 2, 4 and 8 bytes.
    primitives: [u64; 4],
    references: u64,
    is_contended: bool,
}

impl Own {
    fn of(classes: &Classes<'_>, class: &Class<'_>, names: &Names<'_>) -> Own {
        // What HotSpot's javaClasses.hpp injects: ints, longs, references.
        let injected = match names.table.get(class.name) {
            "java.lang.Class" => (2, 2, 3),
            "java.lang.ClassLoader" | "java.lang.Module" | "java.lang.invoke.MemberName" => {
                (0, 1, 0)
            }
            "java.lang.invoke.ResolvedMethodName" => (0, 1, 1),
            "java.lang.invoke.MethodHandleNatives$CallSiteContext" => (0, 2, 0),
            _ => (0, 0, 0),
        };
        let is_contended = names.table.get(class.name) == "java.lang.Thread"
            && subrecords::fields(class.dump.fields, classes.id_bytes)
                .any(|field| names.is(field.name, "threadLocalRandomSecondarySeed"));
        // The long ones are pointers.
        let (ints, longs, references) = match injected {
            (ints, pointers, references) if classes.id_bytes == 4 => {
                (ints + pointers, 0, references)
            }
            all => all,
        };
        let mut own = Own { primitives: [0, 0, ints, longs], references, is_contended };
        for field in subrecords::fields(class.dump.fields, classes.id_bytes) {
            match value_bytes(field.kind, classes.id_bytes) {
                _ if field.kind == OBJECT => own.references += 1,
                Some(bytes) => {
                    if let Some(count) = own.primitives.get_mut(bytes.trailing_zeros() as usize) {
                        *count += 1;
                    }
                }
                None => {}
            }
        }
        own
    }
}

/// Where the fields of a class end, and the gaps between them.
#[derive(Clone, Debug, Default)]
struct End {
    bytes: u64,
    /// Start and size.
    gaps: Vec<(u64, u64)>,
}

impl End {
    fn add(&mut self, bytes: u64, mut count: u64) {
        while count > 0 && self.fill(bytes) {
            count -= 1;
        }
        if count == 0 {
            return;
        }
        let start = self.bytes.next_multiple_of(bytes);
        self.keep(self.bytes, start - self.bytes);
        self.bytes = start.saturating_add(count.saturating_mul(bytes));
    }

    /// Puts a field into the smallest gap it fits into.
    fn fill(&mut self, bytes: u64) -> bool {
        let fits = |gap: &&(u64, u64)| gap.0.next_multiple_of(bytes) + bytes <= gap.0 + gap.1;
        let Some(gap) = self.gaps.iter().filter(fits).min_by_key(|gap| gap.1).copied() else {
            return false;
        };
        self.gaps.retain(|other| *other != gap);
        let start = gap.0.next_multiple_of(bytes);
        self.keep(gap.0, start - gap.0);
        self.keep(start + bytes, gap.0 + gap.1 - start - bytes);
        true
    }

    fn keep(&mut self, start: u64, bytes: u64) {
        if bytes > 0 && self.gaps.len() < GAPS_MAX {
            self.gaps.push((start, bytes));
        }
    }
}

/// The layout, and the bytes of the instances of each class.
pub(super) fn infer(
    bytes: &[u8],
    classes: &Classes<'_>,
    index: &Index,
    names: &Names<'_>,
) -> (Layout, Vec<u64>) {
    let object = classes.list.iter().find(|c| names.table.get(c.name) == "java.lang.Object");
    let is_given = object.is_some_and(|object| object.dump.instance_bytes > 0);
    // What was written here says exact sizes even where that leaves no room for a header.
    if is_given && classes.list.iter().any(|c| names.table.get(c.name) == COMPANION_CLASS) {
        let layout = Layout { arrangement: Arrangement::Given, ..Layout::WIDE };
        return (layout, layout.instance_bytes(classes, names));
    }
    let align_bytes = if classes.id_bytes == 8 { alignment(index) } else { 8 };
    let layouts = candidates(classes, is_given).into_iter().map(|candidate| {
        let (header_bytes, reference_bytes, arrangement) = candidate;
        let layout = Layout { header_bytes, reference_bytes, align_bytes, arrangement };
        let sizes = layout.instance_bytes(classes, names);
        (layout, sizes)
    });
    let mut layouts: Vec<(Layout, Vec<u64>)> = layouts.collect();
    if layouts.len() == 1 {
        return layouts.pop().unwrap_or((Layout::WIDE, Vec::new()));
    }
    let scores = scores(bytes, classes, index, &layouts);
    // Of equals the first: references as wide as ids.
    let best = (0..layouts.len()).rev().max_by_key(|at| scores.get(*at).copied());
    layouts.swap_remove(best.unwrap_or(0))
}

fn candidates(classes: &Classes<'_>, is_given: bool) -> Vec<(u64, u64, Arrangement)> {
    let mut found = Vec::new();
    if classes.id_bytes == 4 {
        return vec![(8, 4, if is_given { Arrangement::Given } else { Arrangement::Aligned })];
    }
    if is_given {
        let pairs = [(16, 8), (12, 8), (16, 4), (12, 4), (8, 8), (8, 4)];
        let fits = pairs.into_iter().filter(|pair| classes.fit(pair.0, pair.1));
        found.extend(fits.map(|(header, wide)| (header, wide, Arrangement::Given)));
        // No class is too small for the narrowest, unless the dump is damaged.
        if found.is_empty() {
            found.push((8, 4, Arrangement::Given));
        }
        return found;
    }
    for (header, wide) in [(16, 8), (12, 8), (16, 4), (12, 4)] {
        found.push((header, wide, Arrangement::Aligned));
        found.push((header, wide, Arrangement::Filled));
    }
    found
}

/// How often each layout ends an object where the next begins, less how often it reaches
/// into the next one.
fn scores(
    bytes: &[u8],
    classes: &Classes<'_>,
    index: &Index,
    layouts: &[(Layout, Vec<u64>)],
) -> Vec<i64> {
    let mut scores = vec![0; layouts.len()];
    let step = (index.len() / SAMPLES).max(1);
    for number in (0..index.len().saturating_sub(1)).step_by(step) {
        let places = (index.places.get(number), index.places.get(number + 1));
        let (Some(place), Some(next)) = places else { break };
        let at = index.at(ObjectId(number as u32));
        let mut cursor = Cursor::new(bytes, at, classes.id_bytes);
        let sub = subrecords::next(&mut cursor, classes.id_bytes);
        for (score, (layout, sizes)) in scores.iter_mut().zip(layouts) {
            let size = match sub {
                Ok(Sub::Instance { class, .. }) => {
                    classes.find(class).and_then(|class| sizes.get(class)).copied()
                }
                Ok(Sub::ObjectArray { count, .. }) => {
                    Some(layout.array_bytes(count, layout.reference_bytes))
                }
                Ok(Sub::PrimitiveArray { kind, count, .. }) => {
                    let wide = value_bytes(kind, classes.id_bytes).unwrap_or(1);
                    Some(layout.array_bytes(count, wide as u64))
                }
                _ => None,
            };
            let Some(size) = size else { continue };
            *score += match size.cmp(&(next.id - place.id)) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => 1,
                std::cmp::Ordering::Greater => -1,
            };
        }
    }
    scores
}

/// -XX:ObjectAlignmentInBytes: what all addresses are multiples of, once there are enough
/// of them to tell.
fn alignment(index: &Index) -> u64 {
    if index.len() < 1000 {
        return 8;
    }
    let bits = index.places.iter().fold(0, |bits, place| bits | place.id);
    1 << bits.trailing_zeros().clamp(3, 8)
}
