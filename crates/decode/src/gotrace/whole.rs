//! How much of a trace is whole, told while it comes in: one that is cut there can be read
//! to its end.

use super::batch;
use super::error::GoTraceError;
use super::wire::Place;
use super::{HEADER_LEN, MARKED_ENDS, VERSIONS_2, spec, version_of};

/// Follows a trace by its pieces. Holds a batch of it, 64 KiB, at most.
#[derive(Debug, Default)]
pub struct Whole {
    /// What came and is not looked at yet.
    rest: Vec<u8>,
    /// Where that begins.
    offset: u64,
    version: Option<u32>,
    generation: u64,
    generations: u64,
    end: u64,
    /// It is no trace, or one whose parts cannot be told.
    is_lost: bool,
    damage: Option<GoTraceError>,
}

impl Whole {
    /// Takes the next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_lost {
            return;
        }
        self.rest.extend_from_slice(bytes);
        if self.version.is_none() && !self.read_header() {
            return;
        }
        let mut place = Place::new(&self.rest, self.offset);
        let mut done = place;
        loop {
            match batch::read(&mut place) {
                Ok(Some(batch)) if batch.is(spec::END_OF_GENERATION) => {
                    (self.end, self.generations) = (place.offset(), self.generations + 1);
                }
                Ok(Some(batch)) => {
                    if self.generation != 0
                        && self.generation != batch.generation
                        && self.version < Some(MARKED_ENDS)
                    {
                        (self.end, self.generations) = (done.offset(), self.generations + 1);
                    }
                    self.generation = batch.generation;
                }
                Ok(None) | Err(GoTraceError::Truncated { .. }) => break,
                Err(damage) => {
                    self.is_lost = true;
                    self.damage = Some(damage);
                    break;
                }
            }
            done = place;
        }
        let used = self.rest.len() - done.len();
        self.offset = done.offset();
        self.rest.drain(..used);
    }

    /// How many bytes are the header and whole generations; 0 before the first.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether nothing is whole yet. Traces of Go 1.21 and earlier are only as a whole.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// How many generations are whole.
    pub fn generations(&self) -> u64 {
        self.generations
    }

    /// Where and how the structure of the trace is broken.
    pub fn damage(&self) -> Option<&GoTraceError> {
        self.damage.as_ref()
    }

    fn read_header(&mut self) -> bool {
        if self.rest.len() < HEADER_LEN {
            return false;
        }
        self.version = version_of(&self.rest).filter(|version| VERSIONS_2.contains(version));
        self.is_lost = self.version.is_none();
        self.rest.drain(..HEADER_LEN);
        self.offset = HEADER_LEN as u64;
        !self.is_lost
    }
}
