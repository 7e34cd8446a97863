//! Tables of the experiment AllocFree: types of objects, and the units of its events. Source:
//! runtime/traceallocfree.go and runtime/tracetype.go, alike in Go 1.23 to 1.27.

use model::Addr;
use model::trace::{HeapInfo, ObjectType, ObjectTypeId, Tables};

use super::error::GoTraceError;
use super::generation::number;
use super::wire::Place;

/// The number of the experiment.
pub(super) const EXPERIMENT: u8 = 1;

/// What a batch holds, in its first byte.
const TYPES: u8 = 0;
const INFO: u8 = 1;

/// Units that a runtime may have; damage would make addresses of them that are none.
const UNIT_BYTES_MAX: u64 = 1 << 20;

/// Reads a batch. What later runtimes may add to these is passed over.
pub(super) fn read<'a>(mut data: Place<'a>, tables: &mut Tables<'a>) -> Result<(), GoTraceError> {
    match data.byte() {
        Some(TYPES) => read_types(data, tables),
        Some(INFO) => {
            tables.set_heap(read_info(data)?);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn read_types<'a>(mut data: Place<'a>, tables: &mut Tables<'a>) -> Result<(), GoTraceError> {
    while !data.is_empty() {
        let offset = data.offset();
        let id = ObjectTypeId(number(&mut data)?);
        let address = Addr(number(&mut data)?);
        let bytes = number(&mut data)?;
        let pointer_bytes = number(&mut data)?;
        let len = number(&mut data)?;
        let name = usize::try_from(len).ok().and_then(|len| data.take(len));
        let Some(name) = name else {
            let what = "the name of a type is longer than its batch";
            return Err(GoTraceError::damaged(offset, what));
        };
        tables.add_type(id, ObjectType { address, bytes, pointer_bytes, name });
    }
    Ok(())
}

fn read_info(mut data: Place<'_>) -> Result<HeapInfo, GoTraceError> {
    let offset = data.offset();
    let base = Addr(number(&mut data)?);
    let page_bytes = number(&mut data)?;
    let align_bytes = number(&mut data)?;
    let stack_bytes = number(&mut data)?;
    let is_unit = |bytes: u64| bytes.is_power_of_two() && bytes <= UNIT_BYTES_MAX;
    if ![page_bytes, align_bytes, stack_bytes].into_iter().all(is_unit) {
        let what = format!(
            "pages of {page_bytes} bytes, objects aligned to {align_bytes}, stacks of {stack_bytes}"
        );
        return Err(GoTraceError::damaged(offset, what));
    }
    Ok(HeapInfo { base, page_bytes, align_bytes, stack_bytes })
}
