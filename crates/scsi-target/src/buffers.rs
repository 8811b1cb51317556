//! The data of a command, as whoever carries commands has it.

use guest_io::block::Channel;
use guest_io::{Flags, MemoryGuard, SubmitError, Submitted};

/// The data buffers of one command. `G` keeps the memory mapped that they lie in.
///
/// A command moves data in one direction only: into the data-in buffer or out of the data-out
/// buffer. Offsets and lengths are bytes.
pub trait Buffers<G: MemoryGuard> {
    /// Length of the data-in buffer, which the initiator reads.
    fn in_len(&self) -> u32;

    /// Length of the data-out buffer, which the initiator has filled.
    fn out_len(&self) -> u32;

    /// Copies out of the data-out buffer, from byte `offset` on.
    ///
    /// # Errors
    /// Where it is shorter, or no memory.
    fn fetch(&mut self, offset: u32, to: &mut [u8]) -> Result<(), BadBuffer>;

    /// Copies to the start of the data-in buffer.
    ///
    /// # Errors
    /// Where it is shorter, or no memory.
    fn store(&mut self, from: &[u8]) -> Result<(), BadBuffer>;

    /// Reads `len` bytes from byte `at` of a medium straight into the start of the data-in buffer.
    ///
    /// # Errors
    /// As [`Channel::read`].
    fn read<C: Channel<G>>(
        &mut self,
        channel: &mut C,
        token: u64,
        at: u64,
        len: u32,
    ) -> Result<Submitted, SubmitError>;

    /// Writes `len` bytes of the data-out buffer, from byte `offset` on, straight `to` a
    /// byte of a medium.
    ///
    /// # Errors
    /// As [`Channel::write`].
    fn write<C: Channel<G>>(
        &mut self,
        channel: &mut C,
        token: u64,
        to: (u64, Flags),
        offset: u32,
        len: u32,
    ) -> Result<Submitted, SubmitError>;
}

/// A buffer that is too short, or is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a data buffer cannot be accessed")]
pub struct BadBuffer;
