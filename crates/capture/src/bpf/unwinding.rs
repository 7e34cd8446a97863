//! The kernel's tables for unwinding the stacks of a process (programs/unwind.h): which code is
//! mapped where, and what .eh_frame says of it.
//!
//! 16 bytes of the kernel's memory for each row: 2 MB for a program with some libraries. The first
//! time a file is seen, its .eh_frame is read: some 20 ms for a C library.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use decode::elf::Elf;
use decode::unwind::{self, FrameEnd, SavedBp, UnwindRow};

use super::object::Object;
use crate::error::CaptureError;
use crate::names::{self, ProcessNames};

/// As in unwind.h.
const CODE_MAX: usize = 1 << 12;
/// Room for what is loaded later, in rows.
const ROWS_SPARE: usize = 1 << 16;
const ROWS_MAX: usize = 4 << 20;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Control {
    tgid: u32,
    half: u32,
    code: [u32; 2],
    has_rows: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Code {
    start: u64,
    end: u64,
    bias: u64,
    row: u32,
    rows: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Row {
    address: u32,
    cfa: i32,
    bp: i16,
    rule: u8,
    bp_rule: u8,
}

const _: () = assert!(size_of::<Row>() == 12 && size_of::<Code>() == 32);
const _: () = assert!(size_of::<Control>() == 24);

// SAFETY: integers without padding, any bytes are a value.
unsafe impl aya::Pod for Control {}
// SAFETY: as above.
unsafe impl aya::Pod for Code {}
// SAFETY: as above.
unsafe impl aya::Pod for Row {}

/// What of the rows is about a file: the first, and how many.
#[derive(Clone, Copy, Default)]
struct Part {
    row: u32,
    rows: u32,
}

/// Which files are in the kernel's tables.
pub(super) struct Unwinding {
    control: Control,
    parts: HashMap<*const names::Object, Part>,
    /// Held, so that none of the addresses above becomes another file's.
    objects: Vec<Arc<names::Object>>,
    /// Files that are new, with their rows.
    waiting: Vec<(Arc<names::Object>, Vec<UnwindRow>)>,
    rows_max: usize,
    rows_used: usize,
    /// Where the mappings that were written begin.
    starts: HashSet<u64>,
}

impl Unwinding {
    /// With room for what a process has now, and some more; nothing is written.
    pub(super) fn of(names: &ProcessNames) -> Unwinding {
        let mut unwinding = Unwinding {
            control: Control { tgid: names.pid(), ..Control::default() },
            parts: HashMap::new(),
            objects: Vec::new(),
            waiting: Vec::new(),
            rows_max: 0,
            rows_used: 0,
            starts: HashSet::new(),
        };
        unwinding.look_for_new(names);
        let rows: usize = unwinding.waiting.iter().map(|(_, rows)| rows.len()).sum();
        unwinding.rows_max = (rows + rows / 4 + ROWS_SPARE).min(ROWS_MAX);
        unwinding
    }

    /// How many entries the table `rows` must have.
    pub(super) fn rows_max(&self) -> u32 {
        self.rows_max as u32
    }

    /// Writes what is new since the last call, and has the programs use it: the mappings to the
    /// half that they do not look at.
    pub(super) fn write(
        &mut self,
        object: &mut Object,
        names: &ProcessNames,
    ) -> Result<(), CaptureError> {
        if self.are_of(names) {
            return Ok(());
        }
        self.look_for_new(names);
        for (file, rows) in std::mem::take(&mut self.waiting) {
            let part = self.write_rows(object, &rows)?;
            self.parts.insert(Arc::as_ptr(&file), part);
            self.objects.push(file);
        }
        let half = 1 - (self.control.half & 1);
        let mut table = object.array::<Code>("code");
        let mut count = 0;
        let written = names.regions().take(CODE_MAX).try_for_each(|region| {
            let index = half * CODE_MAX as u32 + count;
            count += 1;
            table.set(index, self.code(region), 0)
        });
        written.map_err(|error| object.explain(&error))?;
        self.control.half = half;
        self.control.code[half as usize] = count;
        self.control.has_rows = u32::from(self.rows_used > 0);
        let changed = object.array::<Control>("unwindings").set(0, self.control, 0);
        changed.map_err(|error| object.explain(&error))?;
        self.starts = names.regions().map(|region| region.start.0).collect();
        Ok(())
    }

    fn are_of(&self, names: &ProcessNames) -> bool {
        names.regions().count() == self.starts.len()
            && names.regions().all(|region| self.starts.contains(&region.start.0))
    }

    fn code(&self, region: &names::Region) -> Code {
        let part = region.object.as_ref().and_then(|of| self.parts.get(&Arc::as_ptr(of)));
        let bias = region.bias();
        let part = part.copied().filter(|_| bias.is_some()).unwrap_or_default();
        let (start, end) = (region.start.0, region.end.0);
        Code { start, end, bias: bias.unwrap_or(0), row: part.row, rows: part.rows }
    }

    fn look_for_new(&mut self, names: &ProcessNames) {
        for object in names.regions().filter_map(|region| region.object.as_ref()) {
            let is_known = self.parts.contains_key(&Arc::as_ptr(object))
                || self.waiting.iter().any(|(known, _)| Arc::ptr_eq(known, object));
            if !is_known {
                self.waiting.push((object.clone(), rows_of(object)));
            }
        }
    }

    /// Those of a file; none when there is no room, so that its code is unwound by frame pointers.
    fn write_rows(
        &mut self,
        object: &mut Object,
        rows: &[UnwindRow],
    ) -> Result<Part, CaptureError> {
        if self.rows_used + rows.len() > self.rows_max {
            return Ok(Part::default());
        }
        let first = self.rows_used;
        let mut table = object.array::<Row>("rows");
        let mut indexed = rows.iter().enumerate();
        let written =
            indexed.try_for_each(|(index, row)| table.set((first + index) as u32, record(row), 0));
        written.map_err(|error| object.explain(&error))?;
        self.rows_used += rows.len();
        Ok(Part { row: first as u32, rows: rows.len() as u32 })
    }
}

fn rows_of(file: &names::Object) -> Vec<UnwindRow> {
    let rows = |elf: Elf<'_>| unwind::rows_with_go(&elf, file.bytes());
    Elf::parse(file.bytes()).map(rows).unwrap_or_default()
}

fn record(row: &UnwindRow) -> Row {
    let (rule, cfa) = match row.end {
        FrameEnd::Untold => (0, 0),
        FrameEnd::AboveSp(cfa) => (1, cfa),
        FrameEnd::AboveBp(cfa) => (2, cfa),
        FrameEnd::Stub => (3, 0),
        FrameEnd::PointedToAboveBp(cfa) => (4, cfa),
        FrameEnd::Outermost => (5, 0),
        FrameEnd::Other => (6, 0),
    };
    let (bp_rule, bp) = match row.bp {
        SavedBp::Same => (0, 0),
        SavedBp::AboveEnd(bp) => (1, bp),
        SavedBp::AboveBp(bp) => (2, bp),
    };
    Row { address: row.address, cfa, bp, rule, bp_rule }
}
