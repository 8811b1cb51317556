//! Buffers of the driver that frames are read into.

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, GuestView, Virtqueue};

/// Chains that were popped before it was known whether there is a frame, in their order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Those in the window, and after them some to pop into.
    chains: Vec<Chain>,
    len: usize,
    /// Bytes of those in the window.
    room: u64,
}

impl Window {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of its chains.
    #[inline]
    pub(crate) fn room(&self) -> u64 {
        self.room
    }

    /// Its chains, in the order in which they were popped.
    #[inline]
    pub(crate) fn chains(&self) -> &[Chain] {
        &self.chains[..self.len]
    }

    /// A chain to pop into.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut Chain {
        if self.chains.len() == self.len {
            self.chains.push(Chain::new());
        }
        &mut self.chains[self.len]
    }

    /// Takes the [`spare`](Self::spare) chain in, now that it was popped into.
    #[inline]
    pub(crate) fn grow(&mut self) {
        if let Some(chain) = self.chains.get(self.len) {
            self.room += u64::from(chain.writable_len());
            self.len += 1;
        }
    }

    /// How many of its chains the first `bytes` take.
    #[inline]
    pub(crate) fn count(&self, bytes: u64) -> usize {
        let mut rest = bytes;
        let taken = self.chains().iter().take_while(|chain| {
            let taken = rest > 0;
            rest = rest.saturating_sub(chain.writable_len().into());
            taken
        });
        taken.count()
    }

    /// Copies what was written from byte `offset` on, which is in the first chain, to `to`.
    pub(crate) fn read<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        offset: u32,
        to: &mut [u8],
    ) {
        let (mut rest, mut skip) = (to, offset);
        for chain in self.chains() {
            let len = rest.len().min((chain.writable_len() - skip) as usize);
            let (now, later) = rest.split_at_mut(len);
            copy_written(chain, view, skip, now);
            (rest, skip) = (later, 0);
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Copies `from` to where byte `offset` is, which is in the first chain, and on.
    pub(crate) fn write<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        offset: u32,
        from: &[u8],
    ) {
        let (mut rest, mut skip) = (from, offset);
        for chain in self.chains() {
            let len = rest.len().min((chain.writable_len() - skip) as usize);
            let (now, later) = rest.split_at(len);
            // All of it was found to be guest memory when it was popped.
            let _ = chain.write_at(view, skip, now);
            (rest, skip) = (later, 0);
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Gives the driver the first `count` chains, all at once, with the first `bytes` of the window
    /// written.
    pub(crate) fn push<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        count: usize,
        bytes: u64,
    ) {
        let (count, mut rest) = (count.min(self.len), bytes);
        let chains = self.chains.iter_mut().take(count).map(|chain| {
            let room = u64::from(chain.writable_len());
            let written = room.min(rest);
            (self.room, rest) = (self.room - room, rest - written);
            (chain, written as u32)
        });
        queue.push_together(chains);
        if count < self.chains.len() {
            self.chains.rotate_left(count);
        }
        self.len -= count;
    }

    /// Makes all of them available again. Those of a queue that is no more, or broken, are nobody's.
    pub(crate) fn put_back<M: GuestMemory>(&mut self, queue: Option<&mut Virtqueue<'_, M>>) {
        match queue {
            Some(queue) => {
                let chains = self.chains.iter_mut().take(self.len);
                chains.rev().for_each(|chain| queue.unpop(chain));
            }
            None => self.chains.clear(),
        }
        (self.len, self.room) = (0, 0);
    }
}

/// Copies what was written to the buffers of `chain`, from byte `offset` on.
fn copy_written<M: GuestMemory>(
    chain: &Chain,
    view: &mut GuestView<'_, M>,
    offset: u32,
    to: &mut [u8],
) {
    let len = to.len() as u32;
    let mut rest = to;
    // All of it was found to be guest memory when it was popped.
    let _ = chain.writable_slices(view, offset, len, |slice| {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(slice.len());
        slice.copy_to(now);
        rest = later;
    });
}
