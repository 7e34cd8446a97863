//! Strings and stacks of a part of a trace. Strings stay where they are in the file; each
//! different frame is kept once.

use std::borrow::Cow;
use std::ops::Range;

use ahash::AHashMap;

use super::{HeapInfo, ObjectType, ObjectTypeId, StackId, StringId};

/// Index of a frame in [`Tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub u32);

/// A frame of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StackFrame {
    /// Where the call returns to; in the leaf, where the program was.
    pub pc: u64,
    /// The function.
    pub function: StringId,
    /// Its source file.
    pub file: StringId,
    /// The line.
    pub line: u64,
}

/// The same id was given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// Of strings.
    String(StringId),
    /// Of stacks.
    Stack(StackId),
}

/// Strings, stacks and types of objects by their ids.
#[derive(Clone, Debug, Default)]
pub struct Tables<'a> {
    strings: Vec<(u64, &'a [u8])>,
    stacks: Vec<(u64, Range<u32>)>,
    stack_frames: Vec<FrameId>,
    frames: Vec<StackFrame>,
    frame_of_pc: AHashMap<u64, FrameId>,
    types: Vec<(u64, ObjectType<'a>)>,
    heap: Option<HeapInfo>,
}

impl<'a> Tables<'a> {
    /// Adds a string; [`Tables::seal`] comes after the last.
    pub fn add_string(&mut self, id: StringId, text: &'a [u8]) {
        self.strings.push((id.0, text));
    }

    /// Adds a stack, innermost frame first. Of frames with one pc the first one counts, as
    /// in Go. False when there are too many to number.
    #[must_use]
    pub fn add_stack(&mut self, id: StackId, frames: &[StackFrame]) -> bool {
        let start = self.stack_frames.len();
        let Ok(end) = u32::try_from(start + frames.len()) else { return false };
        for frame in frames {
            let next = FrameId(self.frames.len() as u32);
            let number = *self.frame_of_pc.entry(frame.pc).or_insert(next);
            if number == next {
                self.frames.push(*frame);
            }
            self.stack_frames.push(number);
        }
        self.stacks.push((id.0, start as u32..end));
        true
    }

    /// Adds a type of objects. Of types with one id the first one counts.
    pub fn add_type(&mut self, id: ObjectTypeId, of: ObjectType<'a>) {
        self.types.push((id.0, of));
    }

    /// Sets the units of events about objects.
    pub fn set_heap(&mut self, heap: HeapInfo) {
        self.heap = Some(heap);
    }

    /// Of stacks with the same id, drops all but the last one.
    pub fn keep_last(&mut self) {
        self.stacks.reverse();
        self.stacks.sort_by_key(|entry| entry.0);
        self.stacks.dedup_by_key(|entry| entry.0);
    }

    /// Makes everything findable.
    ///
    /// # Errors
    /// When an id was given twice, or an entry has the id 0.
    pub fn seal(&mut self) -> Result<(), Duplicate> {
        self.frame_of_pc = AHashMap::new();
        // Written in this order, but for the entries of several buffers.
        self.strings.sort_by_key(|entry| entry.0);
        self.stacks.sort_by_key(|entry| entry.0);
        self.types.sort_by_key(|entry| entry.0);
        self.types.dedup_by_key(|entry| entry.0);
        if let Some(id) = doubled(&self.strings) {
            return Err(Duplicate::String(StringId(id)));
        }
        match doubled(&self.stacks) {
            Some(id) => Err(Duplicate::Stack(StackId(id))),
            None => Ok(()),
        }
    }

    /// The string with this id.
    pub fn string(&self, id: StringId) -> Option<&'a [u8]> {
        if id.0 == 0 {
            return Some(b"");
        }
        find(&self.strings, id.0).copied()
    }

    /// The string with this id as text; empty when there is none.
    pub fn text(&self, id: StringId) -> Cow<'a, str> {
        String::from_utf8_lossy(self.string(id).unwrap_or_default())
    }

    /// Whether there is a stack with this id.
    pub fn has_stack(&self, id: StackId) -> bool {
        id.0 == 0 || find(&self.stacks, id.0).is_some()
    }

    /// The frames of a stack, innermost first; empty when there is none.
    pub fn stack(&self, id: StackId) -> &[FrameId] {
        let range = if id.0 == 0 { None } else { find(&self.stacks, id.0) };
        let frames =
            range.and_then(|range| self.stack_frames.get(range.start as usize..range.end as usize));
        frames.unwrap_or_default()
    }

    /// The frames of a stack with their names' ids, innermost first.
    pub fn frames(&self, id: StackId) -> impl Iterator<Item = StackFrame> {
        self.stack(id).iter().filter_map(|frame| self.frame(*frame))
    }

    /// A frame.
    pub fn frame(&self, id: FrameId) -> Option<StackFrame> {
        self.frames.get(id.0 as usize).copied()
    }

    /// The function that a goroutine with this stack started with. A goroutine that was
    /// preempted where the runtime cannot unwind has one frame without a name, which tells none.
    pub fn started_with(&self, stack: StackId) -> Option<StringId> {
        let outermost = self.frame(*self.stack(stack).last()?)?.function;
        self.string(outermost).is_some_and(|name| !name.is_empty()).then_some(outermost)
    }

    /// The type of objects with this id.
    pub fn object_type(&self, id: ObjectTypeId) -> Option<ObjectType<'a>> {
        find(&self.types, id.0).copied()
    }

    /// Units of events about objects, in the part of the trace that tells them: the first.
    pub fn heap(&self) -> Option<HeapInfo> {
        self.heap
    }

    /// All different frames.
    pub fn all_frames(&self) -> &[StackFrame] {
        &self.frames
    }
}

fn doubled<T>(entries: &[(u64, T)]) -> Option<u64> {
    let first = entries.first().filter(|entry| entry.0 == 0).map(|entry| entry.0);
    let pairs = entries.iter().zip(entries.iter().skip(1));
    first.or_else(|| pairs.map(|(a, b)| (a.0, b.0)).find(|(a, b)| a == b).map(|(a, _)| a))
}

/// The runtime numbers from 1 without gaps, which needs no search.
fn find<T>(entries: &[(u64, T)], id: u64) -> Option<&T> {
    let at = usize::try_from(id.checked_sub(1)?).ok()?;
    if let Some(entry) = entries.get(at).filter(|entry| entry.0 == id) {
        return Some(&entry.1);
    }
    let at = entries.binary_search_by_key(&id, |entry| entry.0).ok()?;
    entries.get(at).map(|entry| &entry.1)
}
