//! The ring in which programs of the kernel tell what they saw.
//!
//! Each page of its data that is mapped counts as memory of this process, and twice, as the kernel
//! shows a ring two times in a row: a probe that waits for weeks would look tens of megabytes bigger
//! than it is. So only the two pages that say how far it is written and read stay mapped.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, MapError, RingBuf};

use crate::mapping::{Access, Mapping};

/// Its data stays mapped so long after something came.
const KEPT: Duration = Duration::from_secs(1);

/// A ring buffer of the kernel and how to read it.
pub(super) struct Ring {
    map: MapData,
    /// The reader's page, then the writer's; each begins with a position.
    positions: Mapping,
    /// While something comes: its data, and when something came.
    data: Option<(RingBuf<MapData>, Instant)>,
}

impl Ring {
    pub(super) fn new(map: MapData) -> io::Result<Ring> {
        let pages = 2 * rustix::param::page_size();
        let positions = Mapping::new(map.fd().as_fd(), pages, Access::ReadShared)?;
        Ok(Ring { map, positions, data: None })
    }

    /// Hands over all that is there; whether there was something.
    pub(super) fn drain(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool, MapError> {
        if self.is_empty() {
            self.data.take_if(|(_, at)| at.elapsed() > KEPT);
            return Ok(false);
        }
        let (data, at) = match &mut self.data {
            Some(open) => open,
            none => none.insert((mapped(&self.map)?, Instant::now())),
        };
        let mut is_empty = true;
        while let Some(record) = data.next() {
            is_empty = false;
            take(&record);
        }
        *at = Instant::now();
        Ok(!is_empty)
    }

    fn is_empty(&self) -> bool {
        self.position(0) == self.position(rustix::param::page_size())
    }

    fn position(&self, offset: usize) -> usize {
        // SAFETY: the beginning of one of the two pages, which live as long as `self`; whoever
        // writes there, the kernel and `RingBuf`, writes atomic integers.
        let position = unsafe { self.positions.start().add(offset).cast::<AtomicUsize>().as_ref() };
        position.load(Ordering::Acquire)
    }
}

fn mapped(map: &MapData) -> Result<RingBuf<MapData>, MapError> {
    let descriptor = map.fd().as_fd().try_clone_to_owned()?;
    RingBuf::try_from(Map::from_map_data(MapData::from_fd(descriptor)?)?)
}
