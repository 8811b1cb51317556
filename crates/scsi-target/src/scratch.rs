//! Memory of our own that a medium is read into and written from.

use std::io;
use std::sync::Arc;

use guest_io::block::Channel;
use guest_io::{Deferred, Flags, Iovecs, Storage, SubmitError, Submitted};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// What keeps it mapped, while a request is in flight.
pub(crate) type Own = Arc<GuestMemoryMmap<()>>;

/// A buffer of [`CHUNK`] bytes, for commands that look at data instead of moving it.
#[derive(Debug)]
pub(crate) struct Scratch {
    memory: Own,
    storage: Storage,
    _permit: Permit,
}

/// Leave to have one. A unit is shared by all of them.
#[derive(Debug)]
pub(crate) struct Permit(#[expect(dead_code, reason = "counted, not read")] Arc<()>);

impl Permit {
    /// `None` where a unit has [`MOST`] scratches: an initiator decides how many commands wait.
    pub(crate) fn take(unit: &Arc<()>) -> Option<Self> {
        let permit = Self(unit.clone());
        // The unit itself has one.
        (Arc::strong_count(unit) <= 1 + MOST).then_some(permit)
    }
}

impl Scratch {
    pub(crate) fn new(permit: Permit) -> io::Result<Self> {
        let memory = GuestMemoryMmap::from_ranges(&[(START, CHUNK as usize)]);
        Ok(Self {
            memory: Arc::new(memory.map_err(io::Error::other)?),
            storage: Storage::new(),
            _permit: permit,
        })
    }

    /// Fills it with repetitions of `pattern`.
    pub(crate) fn fill(&mut self, pattern: &[u8]) {
        let bytes: Vec<u8> = pattern
            .iter()
            .copied()
            .cycle()
            .take(CHUNK as usize)
            .collect();
        // The memory is as long as that.
        let _ = self.memory.write_slice(&bytes, START);
    }

    /// Its first `len` bytes.
    pub(crate) fn bytes(&self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len.min(CHUNK) as usize];
        let _ = self.memory.read_slice(&mut bytes, START);
        bytes
    }

    /// Reads `len` bytes from byte `at` on.
    pub(crate) fn read<C: Channel<Own>>(
        &mut self,
        channel: &mut C,
        token: u64,
        at: u64,
        len: u32,
    ) -> Result<Submitted, SubmitError> {
        let slice = self.memory.get_slice(START, len as usize)?;
        let mut iovecs = Iovecs::new(&mut self.storage);
        iovecs.push(slice);
        channel.read(at, &mut iovecs, deferred(token, &self.memory, len))
    }

    /// Writes `len` bytes to byte `at` on.
    pub(crate) fn write<C: Channel<Own>>(
        &mut self,
        channel: &mut C,
        token: u64,
        (at, flags): (u64, Flags),
        len: u32,
    ) -> Result<Submitted, SubmitError> {
        let slice = self.memory.get_slice(START, len as usize)?;
        let mut iovecs = Iovecs::new(&mut self.storage);
        iovecs.push(slice);
        channel.write(at, flags, &mut iovecs, deferred(token, &self.memory, len))
    }
}

fn deferred(token: u64, memory: &Own, len: u32) -> Deferred<'_, Own, [guest_io::Segment; 1]> {
    Deferred {
        token,
        memory,
        segments: [(START, len as usize)],
    }
}

/// Bytes of a [`Scratch`]: whole blocks of any size.
pub(crate) const CHUNK: u32 = 2 << 20;
/// Scratches that a unit has at a time.
const MOST: usize = 16;
const START: GuestAddress = GuestAddress(0);
