//! The data buffers of a request, as a unit sees them.

use guest_io::block::Channel;
use guest_io::{Deferred, Flags, Iovecs, MemoryGuard, Segment, Storage, SubmitError, Submitted};
use scsi_target::{BadBuffer, Buffers};
use virtio_device::vm_memory::{GuestAddress, GuestMemory};
use virtio_device::{Buffer, Chain, GuestView};

use crate::request::Frame;

/// What is left of a chain when the request and its answer are taken away. `'m` is the life of
/// guest memory.
pub(crate) struct Data<'t, 'm, M: GuestMemory, G> {
    pub(crate) chain: &'t Chain,
    pub(crate) frame: Frame,
    pub(crate) view: &'t mut GuestView<'m, M>,
    /// Keeps guest memory mapped.
    pub(crate) memory: &'t G,
    pub(crate) storage: &'t mut Storage,
}

impl<M: GuestMemory, G: MemoryGuard> Buffers<G> for Data<'_, '_, M, G> {
    fn in_len(&self) -> u32 {
        self.chain.writable_len().saturating_sub(self.frame.in_at)
    }

    fn out_len(&self) -> u32 {
        self.chain.readable_len().saturating_sub(self.frame.out_at)
    }

    fn fetch(&mut self, offset: u32, to: &mut [u8]) -> Result<(), BadBuffer> {
        let at = self.frame.out_at.checked_add(offset).ok_or(BadBuffer)?;
        self.chain.read_at(self.view, at, to).map_err(|_| BadBuffer)
    }

    fn store(&mut self, from: &[u8]) -> Result<(), BadBuffer> {
        let at = self.frame.in_at;
        self.chain
            .write_at(self.view, at, from)
            .map_err(|_| BadBuffer)
    }

    #[inline(always)]
    fn read<C: Channel<G>>(
        &mut self,
        channel: &mut C,
        token: u64,
        at: u64,
        len: u32,
    ) -> Result<Submitted, SubmitError> {
        let from = self.frame.in_at;
        let mut iovecs = Iovecs::new(self.storage);
        let slices = self
            .chain
            .writable_slices(self.view, from, len, |slice| iovecs.push(slice));
        if slices.is_err() {
            return Err(no_memory());
        }
        let deferred = Deferred {
            token,
            memory: self.memory,
            segments: self.chain.writable_range(from, len).map(segment),
        };
        channel.read(at, &mut iovecs, deferred)
    }

    #[inline(always)]
    fn write<C: Channel<G>>(
        &mut self,
        channel: &mut C,
        token: u64,
        (at, flags): (u64, Flags),
        offset: u32,
        len: u32,
    ) -> Result<Submitted, SubmitError> {
        let from = self.frame.out_at.saturating_add(offset);
        let mut iovecs = Iovecs::new(self.storage);
        let slices = self
            .chain
            .readable_slices(self.view, from, len, |slice| iovecs.push(slice));
        if slices.is_err() {
            return Err(no_memory());
        }
        let deferred = Deferred {
            token,
            memory: self.memory,
            segments: self.chain.readable_range(from, len).map(segment),
        };
        channel.write(at, flags, &mut iovecs, deferred)
    }
}

fn no_memory() -> SubmitError {
    virtio_device::vm_memory::GuestMemoryError::InvalidBackendAddress.into()
}

fn segment(Buffer { address, len }: Buffer) -> Segment {
    (GuestAddress(address), len as usize)
}
