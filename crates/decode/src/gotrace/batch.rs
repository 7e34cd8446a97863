//! Batches: what the file of format 2 consists of. Each is one thread's events of some time,
//! or a table.

use model::trace::ThreadId;

use super::error::GoTraceError;
use super::spec;
use super::wire::{Place, Unread};

/// The runtime's limit.
const BATCH_BYTES_MAX: u64 = 64 << 10;

/// A batch whose contents are not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) generation: u64,
    pub(super) thread: ThreadId,
    /// The time that the first event counts from, in units of the clock.
    pub(super) time: u64,
    pub(super) data: Place<'a>,
    /// 0 when it is of no experiment.
    pub(super) experiment: u8,
    /// The first byte of its contents; 0 when there is none.
    first: u8,
}

impl Batch<'_> {
    /// Whether it holds nothing but entries of a kind.
    pub(super) fn is(&self, kind: u8) -> bool {
        self.experiment == 0 && self.first == kind
    }
}

/// The next batch; `None` at the end of the bytes. The end of a generation looks like a
/// batch of generation 0.
pub(super) fn read<'a>(place: &mut Place<'a>) -> Result<Option<Batch<'a>>, GoTraceError> {
    let start = place.offset();
    let whole = *place;
    let experiment = match place.byte() {
        None => return Ok(None),
        Some(spec::END_OF_GENERATION) => {
            let mut data = whole;
            let data = Place::new(data.take(1).unwrap_or_default(), start);
            let (thread, first) = (ThreadId::NONE, spec::END_OF_GENERATION);
            return Ok(Some(Batch { generation: 0, thread, time: 0, data, experiment: 0, first }));
        }
        Some(spec::EVENT_BATCH) => 0,
        Some(spec::EXPERIMENTAL_BATCH) => match place.byte() {
            Some(experiment) => experiment,
            None => return Ok(None),
        },
        Some(kind) => {
            let what = format!("expected a batch of events, found kind {kind}");
            return Err(GoTraceError::damaged(start, what));
        }
    };
    let generation = header(place, "the generation of a batch")?;
    let thread = ThreadId(header(place, "the thread of a batch")? as i64);
    let time = header(place, "the time of a batch")?;
    let size = header(place, "the size of a batch")?;
    if size > BATCH_BYTES_MAX {
        let what = format!("invalid batch size {size}, maximum is {BATCH_BYTES_MAX}");
        return Err(GoTraceError::damaged(start, what));
    }
    let offset = place.offset();
    let Some(bytes) = place.take(size as usize) else {
        let what = "a batch is longer than what is left";
        return Err(GoTraceError::Truncated { offset: offset + place.len() as u64, what });
    };
    let first = bytes.first().copied().unwrap_or(0);
    let data = Place::new(bytes, offset);
    Ok(Some(Batch { generation, thread, time, data, experiment, first }))
}

fn header(place: &mut Place<'_>, what: &'static str) -> Result<u64, GoTraceError> {
    let offset = place.offset();
    place.number().map_err(|unread| match unread {
        Unread::Ended => GoTraceError::Truncated { offset, what },
        Unread::TooLarge => GoTraceError::damaged(offset, format!("{what} has more than 64 bits")),
    })
}
