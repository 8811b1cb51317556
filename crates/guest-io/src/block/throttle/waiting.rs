//! A request that waits for its turn.

use vm_memory::bitmap::BS;
use vm_memory::{GuestMemory, GuestMemoryError, Permissions};

use crate::block::{Channel, Direction};
use crate::slot::resolve;
use crate::{Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, Storage};
use crate::{SubmitError, Submitted};

/// All that it takes to begin it later.
#[derive(Debug)]
pub(super) struct Waiting<G> {
    pub(super) token: u64,
    pub(super) bytes: u64,
    pub(super) work: Work<G>,
}

#[derive(Debug)]
pub(super) enum Work<G> {
    Read {
        offset: u64,
        data: Data<G>,
    },
    Write {
        offset: u64,
        flags: Flags,
        data: Data<G>,
    },
    Discard(FileRange),
    WriteZeroes {
        range: FileRange,
        may_unmap: bool,
    },
    Overwrite(FileRange),
}

/// Guest memory, which stays mapped.
#[derive(Debug)]
pub(super) struct Data<G> {
    memory: G,
    segments: Vec<Segment>,
}

impl<G> Work<G> {
    pub(super) fn direction(&self) -> Direction {
        match self {
            Self::Read { .. } => Direction::Read,
            _ => Direction::Write,
        }
    }
}

impl<G: MemoryGuard> Waiting<G> {
    /// Begins it on `channel`.
    pub(super) fn begin<C: Channel<G>>(
        &self,
        channel: &mut C,
        storage: &mut Storage,
    ) -> Result<Submitted, SubmitError> {
        let token = self.token;
        match &self.work {
            Work::Read { offset, data } => {
                let mut iovecs = data.iovecs(Permissions::Write, storage)?;
                channel.read(*offset, &mut iovecs, data.deferred(token))
            }
            Work::Write {
                offset,
                flags,
                data,
            } => {
                let mut iovecs = data.iovecs(Permissions::Read, storage)?;
                channel.write(*offset, *flags, &mut iovecs, data.deferred(token))
            }
            Work::Discard(range) => channel.discard(token, *range),
            Work::WriteZeroes { range, may_unmap } => {
                channel.write_zeroes(token, *range, *may_unmap)
            }
            Work::Overwrite(range) => channel.overwrite(token, *range),
        }
    }
}

impl<G: MemoryGuard> Data<G> {
    pub(super) fn new<S: IntoIterator<Item = Segment>>(deferred: Deferred<'_, G, S>) -> Self {
        Self {
            memory: deferred.memory.clone(),
            segments: deferred.segments.into_iter().collect(),
        }
    }

    fn iovecs<'m>(
        &'m self,
        access: Permissions,
        storage: &'m mut Storage,
    ) -> Result<Iovecs<'m, BS<'m, <G::Memory as GuestMemory>::Bitmap>>, GuestMemoryError> {
        let mut iovecs = Iovecs::new(storage);
        let memory: &G::Memory = &self.memory;
        for segment in self.segments.iter().filter(|(_, len)| *len > 0) {
            resolve(memory, *segment, access, |slice| iovecs.push(slice))?;
        }
        Ok(iovecs)
    }

    fn deferred(&self, token: u64) -> Deferred<'_, G, impl IntoIterator<Item = Segment>> {
        Deferred {
            token,
            memory: &self.memory,
            segments: self.segments.iter().copied(),
        }
    }
}
