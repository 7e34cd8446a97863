//! Where a variable is: the few DWARF expressions that Go writes.
//!
//! Go's compiler knows registers, offsets from the call frame address (CFA), pieces of
//! both, and a pointer behind such an offset (variables that were moved to the heap, since
//! 1.27 without optimisation). Anything else is [`Place::Unknown`], never a wrong place.

use gimli::{Encoding, Expression, Operation, RawLocListEntry, RawRngListEntry};
use model::Addr;

use super::sections::Reader;
use super::units::is_sane;

/// A variable has so many pieces at most; Go splits at most four words, and small arrays.
const PIECES_MAX: usize = 256;
const STACK_MAX: usize = 8;
const OPERATIONS_MAX: usize = 1024;

/// Where a variable, or a piece of one, is while the code at an address runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is not live here, or was optimised away.
    #[default]
    Nowhere,
    /// On the stack, so many bytes above the frame's CFA (below it when negative).
    ///
    /// The CFA is the caller's stack pointer after the function has returned: on amd64 the
    /// address behind the return address. Arguments and their spill slots are at 0 and
    /// above, locals below.
    ///
    /// Of a string, slice, interface or small structure of which the optimiser has kept one
    /// word only, Go tells this word's place as if it was that of the whole. So what lies
    /// here should be believed only where the stack map agrees.
    Frame(i64),
    /// In a register, by DWARF's number (amd64: 0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi,
    /// 6 rbp, 7 rsp, 8 to 15 r8 to r15, 17 to 32 xmm0 to xmm15).
    Register(u16),
    /// At a fixed link-time address.
    Address(Addr),
    /// A constant that is in no memory.
    Constant(u64),
    /// In several places.
    Pieces(Vec<Piece>),
    /// Somewhere, as told by an expression that Go does not write.
    Unknown,
}

/// A part of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes into the variable.
    pub offset: u64,
    /// Size of the piece.
    pub bytes: u64,
    /// Where it is; never [`Place::Pieces`].
    pub place: Place,
}

impl Place {
    /// The place while a call runs. Go has no registers that calls preserve, yet lists a
    /// register as the place up to the end of the call; where the variable lies right behind
    /// it, it must lie meanwhile.
    pub(super) fn during_call(self, behind: &Place) -> Place {
        match (self, behind) {
            (Place::Register(_), Place::Register(_) | Place::Pieces(_)) => Place::Nowhere,
            (Place::Register(_), _) => behind.clone(),
            (Place::Pieces(pieces), Place::Pieces(others)) => {
                let other = |piece: &Piece| {
                    let same =
                        |other: &&Piece| (other.offset, other.bytes) == (piece.offset, piece.bytes);
                    others.iter().find(same).map(|other| &other.place).unwrap_or(&Place::Nowhere)
                };
                pieces_or_nowhere(pieces, |piece| piece.place.clone().during_call(other(piece)))
            }
            (Place::Pieces(pieces), _) => {
                pieces_or_nowhere(pieces, |piece| piece.place.clone().during_call(&Place::Nowhere))
            }
            (place, _) => place,
        }
    }
}

/// The pieces with their places changed.
fn pieces_or_nowhere(mut pieces: Vec<Piece>, change: impl Fn(&Piece) -> Place) -> Place {
    for piece in &mut pieces {
        piece.place = change(piece);
    }
    let is_nowhere = pieces.iter().all(|piece| piece.place == Place::Nowhere);
    if is_nowhere { Place::Nowhere } else { Place::Pieces(pieces) }
}

/// A place, and whether it only holds the pointer to the variable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) is_pointer: bool,
}

/// The place that an expression tells. `is_frame_cfa` says that the function's frame base
/// is its CFA, as Go's always is.
pub(super) fn place(
    expression: Expression<Reader<'_>>,
    encoding: Encoding,
    is_frame_cfa: bool,
) -> Found {
    let mut machine = Machine { is_frame_cfa, ..Machine::default() };
    let mut operations = expression.operations(encoding);
    for _ in 0..OPERATIONS_MAX {
        match operations.next() {
            Ok(Some(operation)) if machine.step(&operation) => {}
            Ok(None) => return machine.found(),
            Ok(Some(_)) | Err(_) => break,
        }
    }
    Found { place: Place::Unknown, is_pointer: false }
}

/// Reports whether an expression is the CFA and nothing else.
pub(super) fn is_cfa(expression: Expression<Reader<'_>>, encoding: Encoding) -> bool {
    let mut operations = expression.operations(encoding);
    matches!(operations.next(), Ok(Some(Operation::CallFrameCFA)))
        && matches!(operations.next(), Ok(None))
}

#[derive(Default)]
struct Machine {
    is_frame_cfa: bool,
    stack: Vec<Place>,
    /// `DW_OP_deref` was the last operation.
    is_pointer: bool,
    pieces: Vec<Piece>,
    /// Where the next piece begins.
    offset: u64,
}

impl Machine {
    /// Takes one operation; `false` when it, or what it leads to, has no name here.
    fn step(&mut self, operation: &Operation<Reader<'_>>) -> bool {
        if self.is_pointer {
            return false;
        }
        match *operation {
            Operation::CallFrameCFA => self.push(Place::Frame(0)),
            Operation::FrameOffset { offset } if self.is_frame_cfa => {
                self.push(Place::Frame(offset))
            }
            Operation::Register { register } => self.push(Place::Register(register.0)),
            Operation::Address { address } => self.push(Place::Address(Addr(address))),
            Operation::UnsignedConstant { value } => self.push(Place::Constant(value)),
            Operation::SignedConstant { value } => self.push(Place::Constant(value as u64)),
            Operation::PlusConstant { value } => self.push(Place::Constant(value)) && self.add(),
            Operation::Plus => self.add(),
            Operation::Deref { space: false, size: 8, .. } => {
                self.is_pointer = true;
                self.pieces.is_empty() && matches!(self.stack.last(), Some(Place::Frame(_)))
            }
            Operation::StackValue => matches!(self.stack.last(), Some(Place::Constant(_))),
            Operation::Nop => true,
            Operation::Piece { size_in_bits, bit_offset: None } => self.piece(size_in_bits),
            _ => false,
        }
    }

    fn push(&mut self, place: Place) -> bool {
        self.stack.push(place);
        self.stack.len() <= STACK_MAX
    }

    fn add(&mut self) -> bool {
        let (Some(Place::Constant(number)), Some(base)) = (self.stack.pop(), self.stack.pop())
        else {
            return false;
        };
        let sum = match base {
            Place::Frame(offset) => offset.checked_add(number as i64).map(Place::Frame),
            Place::Address(addr) => Some(Place::Address(Addr(addr.0.wrapping_add(number)))),
            Place::Constant(value) => Some(Place::Constant(value.wrapping_add(number))),
            _ => None,
        };
        sum.is_some_and(|sum| self.push(sum))
    }

    fn piece(&mut self, size_in_bits: u64) -> bool {
        let bytes = size_in_bits / 8;
        let place = self.stack.pop().unwrap_or_default();
        let end = self.offset.checked_add(bytes);
        self.pieces.push(Piece { offset: self.offset, bytes, place });
        self.offset = end.unwrap_or(0);
        let is_whole = size_in_bits.is_multiple_of(8) && self.stack.is_empty();
        end.is_some() && is_whole && self.pieces.len() <= PIECES_MAX
    }

    fn found(mut self) -> Found {
        let last = self.stack.pop();
        let place = match (self.pieces.is_empty(), last) {
            (true, place) => place.unwrap_or_default(),
            (false, Some(_)) => Place::Unknown,
            (false, None) => pieces_or_nowhere(self.pieces, |piece| piece.place.clone()),
        };
        Found { place, is_pointer: self.is_pointer }
    }
}

/// Reports whether converting the entry cannot overflow; see [`is_sane`].
pub(super) fn is_sane_range(entry: &RawRngListEntry<usize>) -> bool {
    match *entry {
        RawRngListEntry::BaseAddressx { addr } => is_sane(addr),
        RawRngListEntry::StartxEndx { begin, end } => is_sane(begin) && is_sane(end),
        RawRngListEntry::StartxLength { begin, .. } => is_sane(begin),
        _ => true,
    }
}

/// The same for a list of places.
pub(super) fn is_sane_location(entry: &RawLocListEntry<Reader<'_>>) -> bool {
    match *entry {
        RawLocListEntry::BaseAddressx { addr } => is_sane(addr),
        RawLocListEntry::StartxEndx { begin, end, .. } => is_sane(begin) && is_sane(end),
        RawLocListEntry::StartxLength { begin, .. } => is_sane(begin),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use gimli::{EndianSlice, Expression, Format, LittleEndian};

    use super::{Encoding, Found, Piece, Place, is_cfa, place};

    const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 5 };

    fn found(bytes: &[u8], is_frame_cfa: bool) -> Found {
        place(Expression(EndianSlice::new(bytes, LittleEndian)), ENCODING, is_frame_cfa)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Place) {
        assert_eq!(found(bytes, true), Found { place: expected, is_pointer: false });
    }

    fn pieces(places: &[Place]) -> Place {
        let piece = |(index, place): (usize, &Place)| Piece {
            offset: 8 * index as u64,
            bytes: 8,
            place: place.clone(),
        };
        Place::Pieces(places.iter().enumerate().map(piece).collect())
    }

    #[test]
    fn what_go_writes_is_understood() {
        check(&[], Place::Nowhere);
        // DW_OP_call_frame_cfa
        check(&[0x9c], Place::Frame(0));
        // DW_OP_fbreg -24
        check(&[0x91, 0x68], Place::Frame(-24));
        // DW_OP_reg3
        check(&[0x53], Place::Register(3));
        // DW_OP_addr 0x1000
        check(&[0x03, 0, 0x10, 0, 0, 0, 0, 0, 0], Place::Address(model::Addr(0x1000)));
        // DW_OP_call_frame_cfa, DW_OP_consts -16, DW_OP_plus
        check(&[0x9c, 0x11, 0x70, 0x22], Place::Frame(-16));
        // DW_OP_reg0, DW_OP_piece 8, DW_OP_fbreg 8, DW_OP_piece 8, DW_OP_piece 8
        let expected = pieces(&[Place::Register(0), Place::Frame(8), Place::Nowhere]);
        check(&[0x50, 0x93, 8, 0x91, 8, 0x93, 8, 0x93, 8], expected);
        // DW_OP_piece 8, DW_OP_piece 8
        check(&[0x93, 8, 0x93, 8], Place::Nowhere);
        // DW_OP_fbreg -32, DW_OP_deref
        let moved = Found { place: Place::Frame(-32), is_pointer: true };
        assert_eq!(found(&[0x91, 0x60, 0x06], true), moved);
    }

    #[test]
    fn anything_else_is_unknown() {
        // DW_OP_fbreg without a frame base that is the CFA.
        assert_eq!(found(&[0x91, 0x68], false).place, Place::Unknown);
        // DW_OP_breg7 8
        check(&[0x77, 8], Place::Unknown);
        // DW_OP_fbreg -32, DW_OP_deref, DW_OP_deref; DW_OP_reg0, DW_OP_deref
        check(&[0x91, 0x60, 0x06, 0x06], Place::Unknown);
        check(&[0x50, 0x06], Place::Unknown);
        // DW_OP_plus of nothing; a cut operand; DW_OP_piece without end behind a place.
        check(&[0x22], Place::Unknown);
        check(&[0x03, 1], Place::Unknown);
        check(&[0x93, 8, 0x50], Place::Unknown);
        // DW_OP_skip to itself.
        check(&[0x2f, 0xfd, 0xff], Place::Unknown);
        let many = [0x93, 8].repeat(300);
        check(&many, Place::Unknown);
        let expression = |bytes| Expression(EndianSlice::new(bytes, LittleEndian));
        assert!(is_cfa(expression(&[0x9c]), ENCODING));
        assert!(!is_cfa(expression(&[0x9c, 0x9c]), ENCODING));
        assert!(!is_cfa(expression(&[0x56]), ENCODING));
    }

    #[test]
    fn no_place_during_a_call_is_a_register() {
        let check = |place: &Place, behind: &Place, expected: &Place| {
            assert_eq!(place.clone().during_call(behind), *expected, "{place:?} {behind:?}");
        };
        let (register, frame, nowhere) = (Place::Register(0), Place::Frame(-8), Place::Nowhere);
        check(&frame, &register, &frame);
        check(&frame, &nowhere, &frame);
        check(&register, &frame, &frame);
        check(&register, &Place::Register(1), &nowhere);
        check(&register, &nowhere, &nowhere);
        let mixed = pieces(&[register.clone(), frame.clone()]);
        let spilled = pieces(&[Place::Frame(-16), Place::Register(2)]);
        check(&mixed, &spilled, &pieces(&[Place::Frame(-16), frame.clone()]));
        check(&mixed, &nowhere, &pieces(&[nowhere.clone(), frame.clone()]));
        check(&pieces(&[register.clone(), register.clone()]), &nowhere, &nowhere);
        check(&register, &mixed, &nowhere);
    }
}
