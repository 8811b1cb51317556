//! VERIFY with data, and COMPARE AND WRITE (SBC-3 sections 5.2 and 5.36).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guest_io::{FileRange, Flags, MemoryGuard};

use crate::scratch::{CHUNK, Scratch};
use crate::{Buffers, Ending, Sense};

/// A range that is being compared with the data of the initiator, and how far that has got.
#[derive(Debug)]
pub(crate) struct Compare {
    pub(crate) range: FileRange,
    pub(crate) done: u32,
    pub(crate) scratch: Scratch,
    /// What is to follow if nothing differs.
    pub(crate) then_write: Option<Write>,
    /// The comparison is done, and the write is in flight.
    pub(crate) writing: bool,
}

/// The second half of COMPARE AND WRITE.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) flags: Flags,
    /// Nobody else compares and writes meanwhile.
    pub(crate) _exclusive: Exclusive,
}

/// The right to compare and write, until it is dropped.
#[derive(Debug)]
pub(crate) struct Exclusive(Arc<AtomicBool>);

impl Exclusive {
    /// `None` if somebody has it.
    pub(crate) fn take(flag: &Arc<AtomicBool>) -> Option<Self> {
        let taken = flag.swap(true, Ordering::AcqRel);
        (!taken).then(|| Self(flag.clone()))
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Compare {
    /// Bytes that are read and compared next.
    pub(crate) fn piece(&self) -> u32 {
        let left = self.range.len().saturating_sub(self.done.into());
        left.min(CHUNK.into()) as u32
    }

    /// Compares what was read. INFORMATION is the first byte that differs.
    pub(crate) fn check<G: MemoryGuard>(
        &mut self,
        buffers: &mut impl Buffers<G>,
    ) -> Result<(), Ending> {
        let len = self.piece();
        let mut wanted = vec![0; len as usize];
        let fetched = buffers.fetch(self.done, &mut wanted);
        fetched.map_err(|_| Ending::BadBuffer)?;
        let found = self.scratch.bytes(len);
        let differs = wanted.iter().zip(&found).position(|(a, b)| a != b);
        if let Some(at) = differs {
            let offset = u64::from(self.done) + at as u64;
            return Err(Sense::MISCOMPARE.at(offset).into());
        }
        self.done += len;
        Ok(())
    }
}
