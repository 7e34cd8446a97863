//! Goroutines as holders: their frames' variables by name, registers, deferred calls.

use std::collections::BTreeMap;

use ahash::AHashMap;
use model::heap::{HeapGoroutine, Holder, HolderId, HolderKind};
use model::{Addr, Frame};

use super::bounds::Room;
use super::names::{Local, Names};
use super::roots::Roots;
use super::stacks::{LiveWord, Routine, Scan, ScannedFrame, Stacks};
use super::typetable::TypeTable;
use super::{Module, Reader, Seed};
use crate::goruntime::{Memory, RuntimeError, goroutine_state, wait_reason};

/// Goroutines beyond this are damage; their stacks alone are 8 GiB.
const GOROUTINES_MAX: u64 = 4_000_000;
/// Frames of a stack that are kept; the variables of deeper ones still count.
const FRAMES_KEPT: usize = 256;

impl<'a, 'm> Reader<'a, 'm, '_> {
    /// What every goroutine holds.
    pub(super) fn goroutines(
        &self,
        roots: &mut Roots<'a, '_>,
        types: &mut TypeTable<'a, '_>,
        names: &mut Names<'_>,
        stack_names: &mut StackNames,
        seeds: &mut Vec<Seed<'m>>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<HeapGoroutine>, RuntimeError> {
        let image = self.input.image;
        let variables = &self.input.attached.variables;
        let allgs = self.input.attached.variable(variables.allgs, "runtime.allgs")?;
        let list = image.read_u64(allgs)?;
        let count = allgs.checked_add(8).map_or(Ok(0), |at| image.read_u64(at))?;
        let mut stacks = Stacks::new(image, self.modules, self.layout, self.input.threads);
        let mut goroutines = Vec::new();
        let mut partial = 0_u64;
        let mut claimed = Claimed::default();
        for index in 0..count.min(GOROUTINES_MAX) {
            let Ok(g) = image.read_u64(Addr(list.wrapping_add(index * 8))) else { break };
            let Some(routine) = stacks.routine(g) else { continue };
            // One that is listed twice, or shares its stack with another: damage.
            let (low, high) = (routine.stack_lo, routine.stack_hi);
            if !claimed.claim(g, 0) || (low < high && !claimed.claim(low, high)) {
                partial += 1;
                continue;
            }
            let scan = stacks.scan(&routine);
            partial += u64::from(scan.is_partial);
            let pcs: Vec<u64> = scan.frames.iter().take(FRAMES_KEPT).map(|f| f.pc).collect();
            let number = goroutines.len() as u32;
            let version = self.input.binary.version;
            goroutines.push(HeapGoroutine {
                id: routine.id,
                state: goroutine_state(routine.status).to_owned(),
                wait_reason: wait_reason(version, routine.wait_reason).unwrap_or("").to_owned(),
                stack_bytes: high.saturating_sub(low),
                stack: Some(stack_names.of(&pcs, false, self.modules)),
            });
            // Variables are parts of the stack; those of inlined calls may count twice.
            let room = Room::of(high.saturating_sub(low).saturating_mul(2));
            let mut hold = Hold { reader: self, roots, types, names, seeds, number, room };
            hold.goroutine(&routine, &scan);
        }
        if partial > 0 {
            let what = "were frozen where their frames are unknown; what they hold is guessed";
            warnings.push(format!("{partial} goroutines {what}"));
        }
        Ok(goroutines)
    }
}

/// Makes the holders of one goroutine.
struct Hold<'a, 'm, 'c, 'r, 't, 's, 'n> {
    reader: &'r Reader<'a, 'm, 'c>,
    roots: &'r mut Roots<'a, 't>,
    types: &'r mut TypeTable<'a, 's>,
    names: &'r mut Names<'n>,
    seeds: &'r mut Vec<Seed<'m>>,
    number: u32,
    /// Bytes of variables that may still be copied.
    room: Room,
}

/// Ranges of memory of which none may overlap.
#[derive(Default)]
pub(super) struct Claimed {
    ranges: BTreeMap<u64, u64>,
}

impl Claimed {
    /// Takes a range, or a single address when it has no end; false if another one has it.
    pub(super) fn claim(&mut self, start: u64, end: u64) -> bool {
        let end = end.max(start.saturating_add(1));
        let before = self.ranges.range(..end).next_back();
        let is_free = before.is_none_or(|(_, before_end)| *before_end <= start);
        if is_free {
            self.ranges.insert(start, end);
        }
        is_free
    }
}

impl Hold<'_, '_, '_, '_, '_, '_, '_> {
    fn goroutine(&mut self, routine: &Routine, scan: &Scan) {
        let name = self.types.strings.intern(&format!("goroutine {}", routine.id));
        let parent = self.roots.holder(HolderKind::Goroutine, name);
        if let Some(holder) = self.roots.holders.last_mut() {
            holder.goroutine = Some(self.number);
        }
        for value in &scan.saved {
            if self.roots.is_object(*value) {
                let holder = self.child(parent, HolderKind::Local, "deferred call", "", false);
                self.roots.point(holder, 0, *value);
            }
        }
        for value in &scan.registers {
            if self.roots.is_object(*value) {
                let holder = self.child(parent, HolderKind::Register, "register", "", true);
                self.roots.point(holder, 0, *value);
            }
        }
        for frame in &scan.frames {
            self.frame(parent, frame);
        }
    }

    fn child(
        &mut self,
        parent: HolderId,
        kind: HolderKind,
        name: &str,
        place: &str,
        is_conservative: bool,
    ) -> HolderId {
        let strings = &mut self.types.strings;
        let (name, place) = (strings.intern(name), strings.intern(place));
        let (parent, goroutine) = (Some(parent), Some(self.number));
        self.roots.add(Holder { kind, name, place, parent, goroutine, of: None, is_conservative })
    }

    /// The live words of a frame, by the variables they belong to.
    fn frame(&mut self, parent: HolderId, frame: &ScannedFrame) {
        let is_object = |word: &&LiveWord| self.roots.is_object(word.value);
        let words: Vec<LiveWord> = frame.words.iter().filter(is_object).copied().collect();
        if words.is_empty() {
            return;
        }
        let place = self.reader.place(frame.pc);
        let module = self.reader.modules.iter().position(|module| module.has_code(frame.pc));
        let locals = module.map(|module| self.names.locals(module, frame.pc, frame.is_call));
        let locals = locals.unwrap_or_default();
        let mut by_local: Vec<(usize, Vec<(u64, LiveWord)>)> = Vec::new();
        let mut rest = Vec::new();
        for word in words {
            let found = locals
                .iter()
                .enumerate()
                .find_map(|(index, local)| Some((index, offset_in(local, frame.cfa, word.addr)?)));
            let Some((index, offset)) = found else {
                rest.push(word);
                continue;
            };
            match by_local.iter_mut().find(|(known, _)| *known == index) {
                Some((_, words)) => words.push((offset, word)),
                None => by_local.push((index, vec![(offset, word)])),
            }
        }
        for (index, words) in by_local {
            if let Some(local) = locals.get(index) {
                self.local(parent, frame, local, &words, &place);
            }
        }
        for word in rest {
            let kind = HolderKind::Local;
            let holder = self.child(parent, kind, "", &place, word.is_conservative);
            self.roots.point(holder, 0, word.value);
        }
    }

    fn local(
        &mut self,
        parent: HolderId,
        frame: &ScannedFrame,
        local: &Local,
        words: &[(u64, LiveWord)],
        place: &str,
    ) {
        let is_guess = words.iter().any(|(_, word)| word.is_conservative);
        let holder = self.child(parent, HolderKind::Local, &local.name, place, is_guess);
        for (offset, word) in words {
            self.roots.point(holder, *offset, word.value);
        }
        let Some(of) = self.types.of_debug(local.of) else { return };
        if let Some(holder) = self.roots.holders.last_mut()
            && !local.is_moved_to_heap
        {
            holder.of = Some(of);
        }
        const VARIABLE_MAX: u64 = 1 << 20;
        // A guess may be a word that died long ago: it says nothing of types.
        if is_guess || local.bytes > VARIABLE_MAX || !self.room.take(local.bytes) {
            return;
        }
        let mut bytes = vec![0; local.bytes as usize];
        for (offset, size, at) in &local.places {
            let from = frame.cfa.wrapping_add_signed(*at);
            let part = self.reader.input.image.slice(Addr(from), *size);
            let to = offset.saturating_add(*size);
            let target = bytes.get_mut(*offset as usize..to as usize);
            if let (Some(part), Some(target)) = (part, target) {
                target.copy_from_slice(part);
            }
        }
        let live = Some(words.iter().map(|(offset, _)| *offset).collect());
        let bytes = bytes.into();
        self.seeds.push(Seed { bytes, live, of, is_pointer: local.is_moved_to_heap });
    }
}

/// Where in a variable an address of its frame lies.
fn offset_in(local: &Local, cfa: u64, addr: u64) -> Option<u64> {
    local.places.iter().find_map(|(offset, size, at)| {
        let into = addr.checked_sub(cfa.wrapping_add_signed(*at))?;
        (into < *size).then_some(offset.saturating_add(into))
    })
}

impl Reader<'_, '_, '_> {
    /// `main.serve (server.go:42)`
    fn place(&self, pc: u64) -> String {
        let module = self.modules.iter().find(|module| module.has_code(pc));
        let table = module.and_then(|module| module.table.as_ref());
        let Some(frame) = table.and_then(|table| table.frames(Addr(pc)).pop()) else {
            return format!("{pc:#x}");
        };
        let Frame { function, file, line } = frame.frame;
        let file = file.rsplit('/').next().unwrap_or("");
        format!("{function} ({file}:{line})")
    }
}

/// Stacks by their addresses.
pub(super) struct StackNames {
    ids: AHashMap<Vec<u64>, u32>,
    pub(super) stacks: Vec<Vec<Frame>>,
    /// Bytes of frames that may still be made: each has its own copy of its names.
    room: Room,
}

impl StackNames {
    /// No stack yet, of a program with so many bytes of memory.
    pub(super) fn for_memory(bytes: u64) -> StackNames {
        const BYTES_FREE: u64 = 16 << 20;
        let room = Room::of(BYTES_FREE + bytes / 4);
        StackNames { ids: AHashMap::new(), stacks: Vec::new(), room }
    }

    /// The stack of these addresses; `are_returns` when each lies behind its call.
    pub(super) fn of(&mut self, pcs: &[u64], are_returns: bool, modules: &[Module<'_>]) -> u32 {
        if let Some(id) = self.ids.get(pcs) {
            return *id;
        }
        let back = u64::from(are_returns);
        let frames = pcs.iter().flat_map(|pc| {
            let pc = pc.saturating_sub(back);
            let module = modules.iter().find(|module| module.has_code(pc));
            let table = module.and_then(|module| module.table.as_ref());
            table.map(|table| table.frames(Addr(pc))).unwrap_or_default()
        });
        let frames = frames.map(|logical| logical.frame);
        let frames = frames.take_while(|frame| {
            let names = frame.function.len() + frame.file.len();
            self.room.take((size_of::<Frame>() + names) as u64)
        });
        let frames = frames.collect();
        // One entry a distinct stack, each of at least one address that was read.
        let id = self.stacks.len() as u32;
        self.stacks.push(frames);
        self.ids.insert(pcs.to_vec(), id);
        id
    }
}
