//! How stacks of compiled code are unwound: .eh_frame as a table of rows, each of which tells how
//! the caller's registers are found from an address on.
//!
//! Of the registers only the stack pointer and rbp are followed, which is what compilers put the
//! frame's end in terms of; the other rules are told apart, not followed. A row takes 12 bytes; a
//! C library has some 20,000.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EndianSlice, LittleEndian, Operation, Register,
    RegisterRule, UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow, X86_64,
};

use crate::elf::Elf;
use crate::goruntime::static_table;
use crate::pclntab::Func;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// How the end of a frame is found (the CFA, in DWARF's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameEnd {
    /// Nothing is told of this code.
    Untold,
    /// So far above the stack pointer.
    AboveSp(i32),
    /// So far above rbp.
    AboveBp(i32),
    /// Of a stub of the linker: 8 above the stack pointer, 16 behind its push.
    Stub,
    /// Where the word this far above rbp points to.
    PointedToAboveBp(i32),
    /// There is no caller.
    Outermost,
    /// In a way that is not followed.
    Other,
}

/// Where the caller's rbp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SavedBp {
    /// Still in the register.
    Same,
    /// Saved so far above the frame's end.
    AboveEnd(i16),
    /// Saved so far above rbp.
    AboveBp(i16),
}

/// What holds from an address on, up to the next row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnwindRow {
    /// As linked.
    pub address: u32,
    /// How the frame's end is found; the return address lies 8 below.
    pub end: FrameEnd,
    /// Where the caller's rbp is.
    pub bp: SavedBp,
}

/// Rows of one file at most.
const ROWS_MAX: usize = 4 << 20;

/// The rows of an x86-64 file by address; empty without .eh_frame. What is damaged is left out.
pub fn rows(elf: &Elf<'_>) -> Vec<UnwindRow> {
    const X86_64_MACHINE: u16 = 62;
    let mut rows = Vec::new();
    let Some(section) = elf.section(".eh_frame").filter(|_| elf.machine == X86_64_MACHINE) else {
        return rows;
    };
    let Some(bytes) = elf.section_bytes(&section) else { return rows };
    let frames = EhFrame::new(bytes, LittleEndian);
    let mut bases = BaseAddresses::default().set_eh_frame(section.addr.0);
    if let Some(text) = elf.section(".text") {
        bases = bases.set_text(text.addr.0);
    }
    let mut context = UnwindContext::new();
    let mut entries = frames.entries(&bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let Ok(fde) = partial.parse(EhFrame::cie_from_offset) else { continue };
        let Ok(mut table) = fde.rows(&frames, &bases, &mut context) else { continue };
        while let Ok(Some(row)) = table.next_row() {
            rows.extend(decoded(row, &frames, fde.cie().encoding()));
        }
        if let Ok(address) = u32::try_from(fde.end_address()) {
            rows.push(UnwindRow { address, end: FrameEnd::Untold, bp: SavedBp::Same });
        }
        if rows.len() >= ROWS_MAX {
            break;
        }
    }
    in_order(rows)
}

/// The same with rows for those functions of a Go program that have no frame. All others have a
/// frame pointer, and no row. `file` are the bytes of the whole file.
pub fn rows_with_go(elf: &Elf<'_>, file: &[u8]) -> Vec<UnwindRow> {
    let mut rows = rows(elf);
    let Some(table) = static_table(elf, file) else { return rows };
    let functions = (0..table.len()).filter_map(|index| table.func(index));
    for function in functions.filter(Func::is_frameless).take(ROWS_MAX) {
        let row = |address: u64, end| {
            let address = u32::try_from(address).ok()?;
            Some(UnwindRow { address, end, bp: SavedBp::Same })
        };
        rows.extend(row(function.entry.0, FrameEnd::AboveSp(8)));
        rows.extend(row(function.end.0, FrameEnd::Untold));
    }
    in_order(rows)
}

/// By address. Where a function ends and the next begins, that which tells something counts; rows
/// that differ in nothing that is followed are one.
fn in_order(mut rows: Vec<UnwindRow>) -> Vec<UnwindRow> {
    rows.sort_unstable();
    // Of one address the last one stays: `Untold` is the first in order.
    rows.reverse();
    rows.dedup_by_key(|row| row.address);
    rows.reverse();
    rows.dedup_by_key(|row| (row.end, row.bp));
    rows
}

fn decoded<'a>(
    row: &UnwindTableRow<usize>,
    frames: &EhFrame<Slice<'a>>,
    encoding: gimli::Encoding,
) -> Option<UnwindRow> {
    let address = u32::try_from(row.start_address()).ok()?;
    let small = |offset: i64| i32::try_from(offset).ok();
    let end = match row.cfa() {
        _ if row.register(X86_64::RA) == RegisterRule::Undefined => Some(FrameEnd::Outermost),
        CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RSP => {
            small(*offset).map(FrameEnd::AboveSp)
        }
        CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RBP => {
            small(*offset).map(FrameEnd::AboveBp)
        }
        CfaRule::RegisterAndOffset { .. } => None,
        CfaRule::Expression(expression) => end_by_expression(expression, frames, encoding),
    };
    let tiny = |offset: i64| i16::try_from(offset).ok();
    let bp = match row.register(X86_64::RBP) {
        RegisterRule::Undefined | RegisterRule::SameValue => Some(SavedBp::Same),
        RegisterRule::Offset(offset) => tiny(offset).map(SavedBp::AboveEnd),
        RegisterRule::Expression(expression) => {
            match operations(&expression, frames, encoding).as_slice() {
                [Operation::RegisterOffset { register, offset, .. }]
                    if *register == X86_64::RBP =>
                {
                    tiny(*offset).map(SavedBp::AboveBp)
                }
                _ => None,
            }
        }
        _ => None,
    };
    let bp_or_same = bp.unwrap_or(SavedBp::Same);
    let end = end.filter(|_| bp.is_some()).unwrap_or(FrameEnd::Other);
    Some(UnwindRow { address, end, bp: bp_or_same })
}

/// The two expressions that linkers and compilers write.
fn end_by_expression<'a>(
    expression: &UnwindExpression<usize>,
    frames: &EhFrame<Slice<'a>>,
    encoding: gimli::Encoding,
) -> Option<FrameEnd> {
    let is = |register: Register, wanted: Register| register == wanted;
    match operations(expression, frames, encoding).as_slice() {
        // ((rip & 15) >= 11) << 3) + rsp + 8: .plt, of which each stub has 16 bytes.
        [
            Operation::RegisterOffset { register: sp, offset: 8, .. },
            Operation::RegisterOffset { register: ip, offset: 0, .. },
            Operation::UnsignedConstant { value: 15 },
            Operation::And,
            Operation::UnsignedConstant { value: 10 | 11 },
            Operation::Ge,
            Operation::UnsignedConstant { value: 3 },
            Operation::Shl,
            Operation::Plus,
        ] if is(*sp, X86_64::RSP) && is(*ip, X86_64::RA) => Some(FrameEnd::Stub),
        [Operation::RegisterOffset { register, offset, .. }, Operation::Deref { .. }]
            if is(*register, X86_64::RBP) =>
        {
            i32::try_from(*offset).ok().map(FrameEnd::PointedToAboveBp)
        }
        _ => None,
    }
}

fn operations<'a>(
    expression: &UnwindExpression<usize>,
    frames: &EhFrame<Slice<'a>>,
    encoding: gimli::Encoding,
) -> Vec<Operation<Slice<'a>>> {
    /// Those that are known have nine.
    const OPERATIONS_MAX: usize = 16;
    let Ok(expression) = expression.get(frames) else { return Vec::new() };
    let mut operations = expression.operations(encoding);
    let mut found = Vec::new();
    while let Ok(Some(operation)) = operations.next() {
        if found.len() >= OPERATIONS_MAX {
            break;
        }
        found.push(operation);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{FrameEnd, SavedBp, UnwindRow, in_order, rows};
    use crate::elf::Elf;

    fn row(address: u32, end: FrameEnd) -> UnwindRow {
        UnwindRow { address, end, bp: SavedBp::Same }
    }

    #[test]
    fn what_tells_something_counts_where_functions_touch() {
        let (eight, sixteen) = (FrameEnd::AboveSp(8), FrameEnd::AboveSp(16));
        let found = in_order(vec![
            row(0x20, eight),
            row(0x10, eight),
            row(0x11, sixteen),
            row(0x20, FrameEnd::Untold),
            row(0x12, sixteen),
            row(0x30, FrameEnd::Untold),
        ]);
        let expected =
            [row(0x10, eight), row(0x11, sixteen), row(0x20, eight), row(0x30, FrameEnd::Untold)];
        assert_eq!(found, expected);
    }

    #[test]
    fn this_program_has_rows_for_its_functions() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::parse(&file).unwrap();
        let rows = rows(&elf);
        assert!(rows.len() > 1000 && rows.is_sorted_by_key(|row| row.address), "{}", rows.len());
        let untold = rows.iter().filter(|row| row.end == FrameEnd::Other).count();
        assert!(untold * 100 < rows.len(), "{untold} of {}", rows.len());
        // _start has no caller, and says so.
        assert!(rows.iter().any(|row| row.end == FrameEnd::Outermost));
    }

    /// Whatever a byte of it is changed to, rows are rows.
    #[test]
    fn damaged_tables_are_read_as_far_as_they_go() {
        let whole = std::fs::read("/bin/true").unwrap();
        let section = Elf::parse(&whole).unwrap().section(".eh_frame").unwrap();
        let (start, len) = (section.offset as usize, section.size as usize);
        for step in 0..3000_usize {
            let mut file = whole.clone();
            file[start + step * 7919 % len] ^= (step % 255 + 1) as u8;
            let rows = rows(&Elf::parse(&file).unwrap());
            assert!(rows.is_sorted_by_key(|row| row.address));
        }
    }
}
