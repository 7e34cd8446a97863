//! Go's function table (pclntab): names, files, lines, inlined calls and stack
//! frame sizes for any code address, also in stripped binaries.
//!
//! Reads the table of Go 1.20 and later (magic 0xfffffff1) in place: nothing is
//! indexed or copied, a look-up is a binary search. Source of the layout:
//! runtime/symtab.go, runtime/symtabinl.go and cmd/link/internal/ld/pcln.go.

use model::{Addr, Frame};

use crate::bytes::Bytes;

/// Why a function table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PclntabError {
    /// Another table version: a Go before 1.20, or one from the future.
    #[error("unknown Go function table version (magic {0:#x}); memsight reads Go 1.20 and later")]
    Version(u32),
    /// The header's offsets lie outside the table.
    #[error("damaged Go function table: {0} lies outside it")]
    Truncated(&'static str),
}

const MAGIC: u32 = 0xffff_fff1;
const NAME_MAX: usize = 1 << 16;
const INLINE_DEPTH_MAX: usize = 256;
const PCDATA_INL_TREE_INDEX: u32 = 2;
const FUNCDATA_INL_TREE: u8 = 3;
const FUNC_FIXED_SIZE: usize = 44;

/// A function table. Addresses are link-time ones: subtract the load bias first.
#[derive(Clone, Copy, Debug)]
pub struct Pclntab<'a> {
    names: Bytes<'a>,
    cutab: Bytes<'a>,
    filetab: Bytes<'a>,
    pctab: Bytes<'a>,
    funcs: Bytes<'a>,
    /// `go:func.*`: the inline trees and stack maps.
    gofunc: Bytes<'a>,
    count: usize,
    text: Addr,
    min_lc: u32,
}

/// A function found in the table.
#[derive(Clone, Copy, Debug)]
pub struct Func<'a> {
    table: Pclntab<'a>,
    /// First address.
    pub entry: Addr,
    /// First address past it.
    pub end: Addr,
    record: Bytes<'a>,
}

/// One logical frame of a code address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalFrame {
    /// Function, file and line.
    pub frame: Frame,
    /// Line of the `func` keyword.
    pub start_line: u32,
    /// The call was inlined into the next frame.
    pub is_inlined: bool,
    /// `abi.FuncID` of the function: see [`Func::id`].
    pub id: u8,
}

impl<'a> Pclntab<'a> {
    /// Reads the header of `table`. `text` is the address of `runtime.text` and
    /// `gofunc` the bytes of `go:func.*` (empty when unknown: inlined calls are
    /// then not told apart).
    ///
    /// # Errors
    /// On an unknown version or offsets outside the table.
    pub fn parse(
        table: &'a [u8],
        text: Addr,
        gofunc: &'a [u8],
    ) -> Result<Pclntab<'a>, PclntabError> {
        let table = Bytes(table);
        let magic = table.u32(0).ok_or(PclntabError::Truncated("the header"))?;
        if magic != MAGIC {
            return Err(PclntabError::Version(magic));
        }
        let min_lc = u32::from(table.u8(6).unwrap_or(1)).max(1);
        let part = |offset: usize, what| {
            let start = table.index(offset).ok_or(PclntabError::Truncated(what))?;
            table.from(start).ok_or(PclntabError::Truncated(what))
        };
        let count = table.index(8).ok_or(PclntabError::Truncated("the function count"))?;
        let funcs = part(64, "the function list")?;
        // A function needs eight bytes of the list; a larger count is damage.
        if count > funcs.0.len() / 8 {
            return Err(PclntabError::Truncated("the function list"));
        }
        Ok(Pclntab {
            names: part(32, "the name table")?,
            cutab: part(40, "the unit table")?,
            filetab: part(48, "the file table")?,
            pctab: part(56, "the pc table")?,
            funcs,
            gofunc: Bytes(gofunc),
            count,
            text,
            min_lc,
        })
    }

    /// Number of functions.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Reports whether the table lists no function.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The function with this index.
    pub fn func(&self, index: usize) -> Option<Func<'a>> {
        if index >= self.count {
            return None;
        }
        let entry = self.funcs.u32(index * 8)?;
        let record = self.funcs.from(self.funcs.u32(index * 8 + 4)? as usize)?;
        let end = self.funcs.u32(index * 8 + 8)?;
        Some(Func {
            table: *self,
            entry: self.text.checked_add(entry.into())?,
            end: self.text.checked_add(end.into())?,
            record,
        })
    }

    /// The function that contains `pc`.
    pub fn func_at(&self, pc: Addr) -> Option<Func<'a>> {
        let offset = u32::try_from(pc.0.checked_sub(self.text.0)?).ok()?;
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.funcs.u32(middle * 8)? <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.func(low.checked_sub(1)?).filter(|func| pc < func.end)
    }

    /// The first functions with these names, in the order asked. One pass.
    pub fn funcs_named(&self, wanted: &[&str]) -> Vec<Option<Func<'a>>> {
        let mut found: Vec<Option<Func<'a>>> = vec![None; wanted.len()];
        let mut left = wanted.len();
        for func in (0..self.count).filter_map(|index| self.func(index)) {
            let Some(name) = func.raw_name() else { continue };
            let Some(position) = wanted.iter().position(|wanted| *wanted == name) else { continue };
            if let Some(slot) = found.get_mut(position).filter(|slot| slot.is_none()) {
                *slot = Some(func);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        found
    }

    /// The logical frames of a code address, innermost inlined call first; empty
    /// when no function contains it. For a return address pass `pc - 1`.
    pub fn frames(&self, pc: Addr) -> Vec<LogicalFrame> {
        self.frames_named(pc, display_name)
    }

    /// The same with the names that the linker wrote, type arguments included.
    pub fn raw_frames(&self, pc: Addr) -> Vec<LogicalFrame> {
        self.frames_named(pc, str::to_owned)
    }

    fn frames_named(&self, pc: Addr, shown: impl Fn(&str) -> String) -> Vec<LogicalFrame> {
        let Some(func) = self.func_at(pc) else { return Vec::new() };
        let mut frames = Vec::new();
        let mut pc = pc;
        while frames.len() < INLINE_DEPTH_MAX {
            let call = func.inlined_call(pc);
            let (name, start_line, id) = match &call {
                Some(call) => (self.name(call.name), call.start_line, call.id),
                None => (func.raw_name(), func.start_line(), func.id()),
            };
            let frame = Frame {
                function: name.map(&shown).unwrap_or_default(),
                file: func.file(pc).unwrap_or_default().to_owned(),
                line: func.line(pc).unwrap_or(0),
            };
            frames.push(LogicalFrame { frame, start_line, is_inlined: call.is_some(), id });
            let Some(parent) = call.and_then(|call| func.entry.checked_add(call.parent_pc.into()))
            else {
                break;
            };
            pc = parent;
        }
        frames
    }

    fn name(&self, offset: i32) -> Option<&'a str> {
        self.names.c_str(usize::try_from(offset).ok()?, NAME_MAX)
    }

    /// Value of a pc-value table at `pc` (runtime.pcvalue).
    fn value_at(&self, table: u32, entry: Addr, pc: Addr) -> Option<i32> {
        if table == 0 {
            return None;
        }
        let mut offset = table as usize;
        let mut value = -1_i32;
        let mut end = entry.0;
        let mut is_first = true;
        loop {
            let (delta, len) = self.pctab.uvarint32(offset)?;
            if delta == 0 && !is_first {
                return None;
            }
            is_first = false;
            offset += len;
            let zigzag = ((delta >> 1) as i32) ^ -((delta & 1) as i32);
            value = value.wrapping_add(zigzag);
            let (step, len) = self.pctab.uvarint32(offset)?;
            offset += len;
            end = end.checked_add(u64::from(step) * u64::from(self.min_lc))?;
            if pc.0 < end {
                return Some(value);
            }
        }
    }
}

struct InlinedCall {
    id: u8,
    name: i32,
    parent_pc: u32,
    start_line: u32,
}

impl<'a> Func<'a> {
    /// The name as the linker wrote it, type arguments included.
    pub fn raw_name(&self) -> Option<&'a str> {
        self.table.name(self.record.i32(4)?)
    }

    /// Line of the `func` keyword.
    pub fn start_line(&self) -> u32 {
        self.record.u32(36).unwrap_or(0)
    }

    /// `abi.FuncID`: which of the runtime's special functions this is; 0 for most.
    pub fn id(&self) -> u8 {
        self.record.u8(40).unwrap_or(0)
    }

    /// Size of the frame at `pc`: distance from the stack pointer to the return address.
    pub fn frame_size(&self, pc: Addr) -> Option<u32> {
        let delta = self.table.value_at(self.record.u32(16)?, self.entry, pc)?;
        u32::try_from(delta).ok()
    }

    /// Reports whether the function keeps nothing on the stack: the return address lies on top of it
    /// from its first instruction to its last.
    pub fn is_frameless(&self) -> bool {
        let run = || {
            let table = self.record.u32(16).filter(|table| *table != 0)? as usize;
            let (delta, len) = self.table.pctab.uvarint32(table)?;
            let (_, more) = self.table.pctab.uvarint32(table + len)?;
            let (next, _) = self.table.pctab.uvarint32(table + len + more)?;
            // From -1 to 0, and nothing after it.
            Some(delta == 2 && next == 0)
        };
        run().unwrap_or(false)
    }

    /// Source file at `pc`.
    pub fn file(&self, pc: Addr) -> Option<&'a str> {
        let file = self.table.value_at(self.record.u32(20)?, self.entry, pc)?;
        let index = self.record.u32(32)?.checked_add(u32::try_from(file).ok()?)?;
        let offset = self.table.cutab.u32((index as usize).checked_mul(4)?)?;
        if offset == u32::MAX {
            return None;
        }
        self.table.filetab.c_str(offset as usize, NAME_MAX)
    }

    /// Source line at `pc`.
    pub fn line(&self, pc: Addr) -> Option<u32> {
        let line = self.table.value_at(self.record.u32(24)?, self.entry, pc)?;
        u32::try_from(line).ok()
    }

    /// Bytes of the arguments and results on the caller's stack; `None` for the few
    /// functions of reflect that take any.
    pub(crate) fn args_size(&self) -> Option<u32> {
        self.record.i32(8).and_then(|size| u32::try_from(size).ok())
    }

    /// Offset from the entry of the code that runs deferred calls; 0 = none.
    pub(crate) fn deferreturn(&self) -> u32 {
        self.record.u32(12).unwrap_or(0)
    }

    /// Reports whether stacks end here (`abi.FuncFlagTopFrame`).
    pub(crate) fn is_top_frame(&self) -> bool {
        self.record.u8(41).is_some_and(|flags| flags & 1 != 0)
    }

    /// Value of a PCDATA table at `pc`; -1 where the function has none.
    pub(crate) fn pcdata(&self, index: u32, pc: Addr) -> i32 {
        let table = self.pcdata_table(index);
        table.and_then(|table| self.table.value_at(table, self.entry, pc)).unwrap_or(-1)
    }

    /// The bytes of a FUNCDATA table, to the end of all of them.
    pub(crate) fn funcdata_bytes(&self, index: u8) -> Option<&'a [u8]> {
        self.table.gofunc.0.get(self.funcdata(index)?..)
    }

    fn inlined_call(&self, pc: Addr) -> Option<InlinedCall> {
        let tree = self.funcdata(FUNCDATA_INL_TREE)?;
        let table = self.pcdata_table(PCDATA_INL_TREE_INDEX)?;
        let index = usize::try_from(self.table.value_at(table, self.entry, pc)?).ok()?;
        let entry = self.table.gofunc.from(tree.checked_add(index.checked_mul(16)?)?)?;
        Some(InlinedCall {
            id: entry.u8(0)?,
            name: entry.i32(4)?,
            parent_pc: entry.u32(8)?,
            start_line: entry.u32(12)?,
        })
    }

    fn pcdata_table(&self, index: u32) -> Option<u32> {
        if index >= self.record.u32(28)? {
            return None;
        }
        self.record.u32(FUNC_FIXED_SIZE.checked_add(index as usize * 4)?)
    }

    fn funcdata(&self, index: u8) -> Option<usize> {
        if index >= self.record.u8(43)? {
            return None;
        }
        let pcdata = (self.record.u32(28)? as usize).checked_mul(4)?;
        let offset = FUNC_FIXED_SIZE.checked_add(pcdata)?.checked_add(usize::from(index) * 4)?;
        self.record.u32(offset).filter(|&offset| offset != u32::MAX).map(|offset| offset as usize)
    }
}

/// The name as `runtime.Frame` prints it: type arguments become `[...]`.
fn display_name(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(open), Some(close)) if open < close => {
            let (head, tail) = (name.get(..open), name.get(close + 1..));
            format!("{}[...]{}", head.unwrap_or(name), tail.unwrap_or(""))
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Pclntab, PclntabError, display_name};
    use model::Addr;

    #[test]
    fn type_arguments_are_folded() {
        assert_eq!(display_name("main.(*List[go.shape.int]).Push"), "main.(*List[...]).Push");
        assert_eq!(display_name("main.F[a[b]].func1"), "main.F[...].func1");
        assert_eq!(display_name("main.main"), "main.main");
    }

    #[test]
    fn damaged_headers_are_refused() {
        let parse = |bytes: &[u8]| Pclntab::parse(bytes, Addr(0), &[]).map(|table| table.len());
        assert_eq!(parse(&[]), Err(PclntabError::Truncated("the header")));
        assert_eq!(parse(&[0; 80]), Err(PclntabError::Version(0)));
        let mut huge = vec![0_u8; 80];
        huge[..4].copy_from_slice(&0xffff_fff1_u32.to_le_bytes());
        huge[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(parse(&huge), Err(PclntabError::Truncated("the function list")));
    }
}
