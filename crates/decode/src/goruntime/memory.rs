//! Reading another process's memory, as the decoders see it.

use model::Addr;

/// A read that did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Nothing is mapped there.
    #[error("no memory at {0}")]
    Unmapped(Addr),
    /// The process has ended.
    #[error("the process has ended")]
    Gone,
    /// The kernel refused.
    #[error("not permitted to read the process's memory")]
    Denied,
}

/// Memory of a (usually foreign) process.
pub trait Memory {
    /// Fills `buffer` from `addr`, or fails as a whole.
    ///
    /// # Errors
    /// When any byte of the range cannot be read.
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError>;

    /// Reads a 64-bit word.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u64(&self, addr: Addr) -> Result<u64, MemoryError> {
        let mut buffer = [0; 8];
        self.read(addr, &mut buffer)?;
        Ok(u64::from_le_bytes(buffer))
    }

    /// Reads a 32-bit word.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u32(&self, addr: Addr) -> Result<u32, MemoryError> {
        let mut buffer = [0; 4];
        self.read(addr, &mut buffer)?;
        Ok(u32::from_le_bytes(buffer))
    }

    /// Reads `len` bytes, which the caller has bounded.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_vec(&self, addr: Addr, len: usize) -> Result<Vec<u8>, MemoryError> {
        let mut buffer = vec![0; len];
        self.read(addr, &mut buffer)?;
        Ok(buffer)
    }
}

/// Reads through a small cache of blocks of at most 64 KiB.
///
/// The runtime's profiling buckets lie side by side in persistent memory, so a
/// walk over them costs one system call a block instead of one a bucket. Make a
/// new one for each walk: nothing is ever read twice.
pub struct BlockCache<'a, M: Memory + ?Sized> {
    memory: &'a M,
    block: u64,
    blocks: std::cell::RefCell<ahash::AHashMap<u64, Option<Box<[u8]>>>>,
}

const BLOCK_MIN: u64 = 4 << 10;
const BLOCK_MAX: u64 = 64 << 10;
/// 64 MiB of profiling buckets is beyond any real program; past it, reads go
/// through uncached.
const BLOCKS_MAX: usize = 1024;

impl<'a, M: Memory + ?Sized> BlockCache<'a, M> {
    /// Starts empty.
    pub fn new(memory: &'a M) -> Self {
        BlockCache::for_about(memory, BLOCK_MAX)
    }

    /// The same where about so many bytes are to be read: few bytes need no large blocks.
    pub fn for_about(memory: &'a M, bytes: u64) -> Self {
        let block = bytes.clamp(BLOCK_MIN, BLOCK_MAX).next_power_of_two();
        BlockCache { memory, block, blocks: std::cell::RefCell::default() }
    }

    /// Copies the part of `block` that `buffer` wants; false when not cacheable.
    fn copy_from_block(&self, block: u64, addr: Addr, buffer: &mut [u8]) -> bool {
        let mut blocks = self.blocks.borrow_mut();
        if !blocks.contains_key(&block) {
            if blocks.len() >= BLOCKS_MAX {
                return false;
            }
            let bytes = self.memory.read_vec(Addr(block), self.block as usize).ok();
            blocks.insert(block, bytes.map(Vec::into_boxed_slice));
        }
        let Some(Some(bytes)) = blocks.get(&block) else { return false };
        let start = (addr.0 - block) as usize;
        match bytes.get(start..start + buffer.len()) {
            Some(source) => {
                buffer.copy_from_slice(source);
                true
            }
            None => false,
        }
    }
}

impl<M: Memory + ?Sized> Memory for BlockCache<'_, M> {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let block = addr.0 & !(self.block - 1);
        let fits = buffer.len() as u64 <= self.block - (addr.0 - block);
        // What straddles two blocks is read in one go: halves that were cached at
        // different times would not belong together.
        if !(fits && self.copy_from_block(block, addr, buffer)) {
            self.memory.read(addr, buffer)?;
        }
        Ok(())
    }
}
