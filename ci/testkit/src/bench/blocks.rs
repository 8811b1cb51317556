//! A guest that reads blocks of a disk.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_device::{Features, VirtioDevice, Worker};
use vm_memory::{Bytes, GuestAddress, VolatileSlice};

use super::guest::area;
use super::{Areas, Guest, Memory, RING};
use crate::Segment;

/// Bytes of a block.
pub const BLOCK: usize = 4096;

/// How a kind of disk is asked for a block.
pub trait Protocol {
    /// A request, but for its block; at most 64 bytes.
    const REQUEST: &'static [u8];
    /// Length of an answer in bytes, at most 128.
    const ANSWER: usize;
    /// Whether the answer comes before the block.
    const ANSWER_FIRST: bool;

    /// Fills in which `block` is asked for, in the request at `at`.
    fn ask(requests: &VolatileSlice<'_>, at: usize, block: u64);

    /// Whether the answer at `at` says that all went well.
    fn is_good(answers: &VolatileSlice<'_>, at: usize) -> bool;
}

/// `struct virtio_blk_req`, VIRTIO_BLK_T_IN (section 5.2.6).
pub struct VirtioBlk;

impl Protocol for VirtioBlk {
    const REQUEST: &'static [u8] = &[0; 16];
    const ANSWER: usize = 1;
    const ANSWER_FIRST: bool = false;

    fn ask(requests: &VolatileSlice<'_>, at: usize, block: u64) {
        let sector = block * (BLOCK as u64 / 512);
        let stored = requests.store(sector, at + 8, Ordering::Relaxed);
        stored.expect("in area");
    }

    fn is_good(answers: &VolatileSlice<'_>, at: usize) -> bool {
        answers.load::<u8>(at, Ordering::Relaxed).ok() == Some(0)
    }
}

/// A guest that keeps a number of requests in flight, at most 128.
pub struct BlockReader<P, W> {
    guest: Guest<W>,
    depth: u16,
    protocol: PhantomData<P>,
}

impl<P: Protocol, W: Worker<Arc<Memory>>> BlockReader<P, W> {
    /// One that reads by `queue` of `device`, with `depth` requests at a time.
    pub fn new<D>(device: &mut D, queue: u16, features: Features, depth: u16) -> Self
    where
        D: VirtioDevice<Worker<Arc<Memory>> = W>,
    {
        let guest = Guest::new(device, queue, features, 4 << 20);
        for chain in 0..depth {
            let at = u64::from(chain);
            let part = |address, len: usize, writable| Segment {
                address,
                len: len as u32,
                writable,
            };
            let request = part(REQUESTS + REQUEST_SIZE as u64 * at, P::REQUEST.len(), false);
            let answer = part(ANSWERS + ANSWER_SIZE as u64 * at, P::ANSWER, true);
            let block = part(BLOCKS + BLOCK as u64 * at, BLOCK, true);
            let parts = match P::ANSWER_FIRST {
                true => [request, answer, block],
                false => [request, block, answer],
            };
            guest.describe(PARTS * chain, &parts);
            let written = guest
                .memory()
                .write_slice(P::REQUEST, GuestAddress(request.address));
            written.expect("in memory");
        }
        Self {
            guest,
            depth,
            protocol: PhantomData,
        }
    }

    /// Reads `blocks`. Panics where one cannot be read.
    pub fn read(&mut self, blocks: &[u64]) {
        assert!(self.try_read(blocks), "read");
    }

    /// Reads `blocks`, and waits for all of them. Whether all could be read.
    pub fn try_read(&mut self, blocks: &[u64]) -> bool {
        let memory = Arc::clone(self.guest.memory());
        let areas = Areas::new(&memory);
        let (requests, answers) = (area(&memory, REQUESTS), area(&memory, ANSWERS));
        let mut good = true;
        for batch in blocks.chunks(self.depth.into()) {
            for (chain, &block) in batch.iter().enumerate() {
                P::ask(&requests, REQUEST_SIZE * chain, block);
            }
            let heads = (0..batch.len() as u16).map(|chain| PARTS * chain);
            self.guest.exchange(&areas, heads);
            good &= (0..batch.len()).all(|chain| P::is_good(&answers, ANSWER_SIZE * chain));
        }
        good
    }
}

const PARTS: u16 = 3;
const REQUEST_SIZE: usize = 64;
const ANSWER_SIZE: usize = 128;
const REQUESTS: u64 = 0x10000;
const ANSWERS: u64 = 0x14000;
const BLOCKS: u64 = 0x100000;
const _: () = assert!(RING <= REQUESTS);
