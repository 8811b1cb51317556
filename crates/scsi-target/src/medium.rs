//! What is in a drive.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use guest_io::block::{Backend, Facts};
use guest_io::{BlockSize, FileRange, MemoryGuard};

use crate::command::Extent;
use crate::{Sense, Setup, UnitError};

/// A back-end as a sequence of logical blocks.
#[derive(Debug)]
pub(crate) struct Medium<B> {
    /// Workers take channels from it, on their own threads.
    backend: Mutex<B>,
    /// In bytes, whole blocks.
    size: AtomicU64,
    pub(crate) block: BlockSize,
    pub(crate) read_only: bool,
    pub(crate) write_back: bool,
}

impl<B: Backend> Medium<B> {
    /// Claims `backend` for a drive that is set up like this.
    pub(crate) fn new(setup: &Setup, backend: B) -> Result<Self, UnitError> {
        let facts = backend.facts()?;
        let block = block_size(setup, &facts);
        if block.logical < facts.alignment {
            return Err(io::Error::new(ErrorKind::InvalidInput, DIRECT).into());
        }
        let size = whole_blocks(setup, facts.size, block.logical)?;
        backend.claim(setup.shared).map_err(UnitError::claim)?;
        Ok(Self {
            backend: Mutex::new(backend),
            size: AtomicU64::new(size),
            block,
            read_only: facts.read_only || setup.kind.is_cdrom(),
            write_back: facts.write_back,
        })
    }

    /// A channel for at most `depth` requests in flight.
    pub(crate) fn channel<G: MemoryGuard + Send + Sync>(
        &self,
        depth: u16,
    ) -> io::Result<B::Channel<G>> {
        let backend = self.backend.lock().unwrap_or_else(PoisonError::into_inner);
        backend.channel(depth)
    }
}

impl<B> Medium<B> {
    /// Number of logical blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.size.load(Ordering::Relaxed) / u64::from(self.block.logical)
    }

    pub(crate) fn resize(&self, size: u64) -> Result<(), UnitError> {
        let multiple = self.block.logical;
        if !size.is_multiple_of(multiple.into()) {
            return Err(UnitError::Length { size, multiple });
        }
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    /// The bytes of `extent`, if all of it is there.
    #[inline]
    pub(crate) fn range(&self, extent: Extent) -> Result<FileRange, Sense> {
        let Extent { lba, blocks } = extent;
        let out = Sense::OUT_OF_RANGE.at(lba);
        let block = u64::from(self.block.logical);
        let offset = lba.checked_mul(block).ok_or(out)?;
        let len = u64::from(blocks) * block;
        let end = offset.checked_add(len).ok_or(out)?;
        if end > self.size.load(Ordering::Relaxed) {
            return Err(out);
        }
        FileRange::new(offset, len).map_err(|_| out)
    }

    pub(crate) fn writable(&self) -> Result<(), Sense> {
        match self.read_only {
            true => Err(Sense::WRITE_PROTECTED),
            false => Ok(()),
        }
    }
}

fn block_size(setup: &Setup, facts: &Facts) -> BlockSize {
    let given = |size: u32| (size != 0).then_some(size);
    let logical = match setup.kind.is_cdrom() {
        true => CD_BLOCK,
        false => given(setup.logical_block).unwrap_or(facts.block_size.logical.max(512)),
    };
    let physical = given(setup.physical_block).unwrap_or(facts.block_size.physical);
    BlockSize {
        logical,
        physical: physical.max(logical),
    }
}

const DIRECT: &str = "its blocks are smaller than those of the host's direct I/O";

/// What a CD image has behind its last whole block is not part of the CD.
fn whole_blocks(setup: &Setup, size: u64, multiple: u32) -> Result<u64, UnitError> {
    let rest = size % u64::from(multiple);
    match rest == 0 || setup.kind.is_cdrom() {
        true => Ok(size - rest),
        false => Err(UnitError::Length { size, multiple }),
    }
}

const CD_BLOCK: u32 = 2048;
