//! Memory for the columns of large graphs that is no burden: maps of files without a name,
//! whose pages the kernel writes out when it wants the memory for something else.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use decode::goheap::Lender;

use crate::mapping::{Access, Mapping};
use crate::scratch;

/// Lends memory that lies in scratch files of one directory. They are gone when this is, and
/// with it every graph whose columns lie in them.
#[derive(Debug)]
pub struct ScratchColumns {
    dir: PathBuf,
    maps: RefCell<Vec<Mapping>>,
}

impl ScratchColumns {
    /// Nothing is lent yet, and no file made.
    pub fn new(dir: impl Into<PathBuf>) -> ScratchColumns {
        ScratchColumns { dir: dir.into(), maps: RefCell::default() }
    }
}

impl<'s> Lender<'s> for &'s ScratchColumns {
    fn lend(&self, words: usize) -> Option<&'s mut [u64]> {
        // Where there is no room the graph lies in plain memory.
        let map = mapped(&self.dir, words).ok()?;
        let start = map.start();
        self.maps.borrow_mut().push(map);
        // SAFETY: the map holds `words` words, all zero, and is 8-aligned. It is lent this
        // once, and unmapped when `self` is dropped, which `'s` ends before.
        Some(unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), words) })
    }
}

/// A shared map of a file without a name.
fn mapped(dir: &Path, words: usize) -> io::Result<Mapping> {
    let file = scratch::file(dir)?;
    let len = words.checked_mul(8).filter(|len| *len > 0);
    let len = len.ok_or(io::ErrorKind::InvalidInput)?;
    // A page of a file that the disk has no room for would kill us when it is written.
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len as u64)?;
    Mapping::new(file.as_fd(), len, Access::WriteShared)
}

#[cfg(test)]
mod tests {
    use decode::goheap::Lender;

    use super::ScratchColumns;

    #[test]
    fn what_is_lent_is_zero_and_apart() {
        let dir = tempfile::tempdir().unwrap();
        let columns = ScratchColumns::new(dir.path());
        let lender = &columns;
        let (first, second) = (lender.lend(100_000).unwrap(), lender.lend(3).unwrap());
        assert!(first.iter().chain(&*second).all(|word| *word == 0));
        first.fill(1);
        second.fill(2);
        assert_eq!((first.iter().sum::<u64>(), second.iter().sum::<u64>()), (100_000, 6));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no names are left");
    }

    #[test]
    fn where_there_is_no_room_nothing_is_lent() {
        let columns = ScratchColumns::new("/nowhere/at/all");
        assert!((&columns).lend(10).is_none());
        let dir = tempfile::tempdir().unwrap();
        let columns = ScratchColumns::new(dir.path());
        assert!((&columns).lend(usize::MAX / 16).is_none() && (&columns).lend(0).is_none());
    }
}
