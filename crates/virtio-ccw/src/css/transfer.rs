//! One command and its data.

use std::marker::PhantomData;

use super::Completion;

/// A command code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Command(pub u8);

impl Command {
    /// NO-OPERATION.
    pub const NO_OPERATION: Self = Self(0x03);
    /// SENSE, for the sense bytes of the last unit check.
    pub const SENSE: Self = Self(0x04);
    /// TRANSFER IN CHANNEL.
    pub const TRANSFER_IN_CHANNEL: Self = Self(0x08);
    /// SENSE ID.
    pub const SENSE_ID: Self = Self(0xe4);
}

/// The data of one command: a stream over all that its CCW names, and the CCWs chained to it by
/// data chaining, directly or through (modified) indirect-data-address words.
///
/// There is one position for reading and writing, as virtio's READ_FEAT and READ_VQ_CONF, which
/// are read commands, first look at a selector in the area. What counts as transferred is the
/// farthest position reached.
///
/// What the program names is found and checked as far as it is used, one piece after the other;
/// after an address that may not be used nothing more is transferred.
pub struct Transfer<'a> {
    _todo: PhantomData<&'a ()>,
}

impl Transfer<'_> {
    /// From guest to device: fills `data` from the front. Returns how many bytes there were.
    pub fn read(&mut self, data: &mut [u8]) -> usize {
        let _ = data;
        todo!()
    }

    /// Reads exactly `N` bytes, or `None` where there are not so many.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut data = [0; N];
        (self.read(&mut data) == N).then_some(data)
    }

    /// From device to guest. Returns how many bytes there was room for. Where the program says so
    /// (the skip flag), they count but are not stored.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let _ = data;
        todo!()
    }

    /// Moves on by up to `count` bytes, without looking at them. Returns by how many.
    pub fn advance(&mut self, count: usize) -> usize {
        let _ = count;
        todo!()
    }

    /// Back to the first byte.
    pub fn rewind(&mut self) {
        todo!()
    }

    /// For a command that ends later: see [`Outcome::Pending`](super::Outcome::Pending).
    pub fn defer(&mut self) -> Completion {
        todo!()
    }
}
