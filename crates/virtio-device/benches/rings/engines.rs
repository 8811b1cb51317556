//! The device's side: ours, and virtio-queue's as its users write it.

use std::hint::black_box;
use std::io;

use virtio_device::{Chain, Interrupt, IrqSource, Ring, Virtqueue};
use virtio_queue::{Queue, QueueT};
use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestMemory, GuestMemoryMmap, Permissions};
use vmm_sys_util::eventfd::EventFd;

use crate::driver::Shape;

/// One wake-up: takes up to `batch` chains, gets a host slice for each descriptor, gives the
/// chains back, publishes, re-arms. Returns the number of chains.
pub(crate) trait Engine<B: Bitmap> {
    fn wake(&mut self, memory: &GuestMemoryMmap<B>, batch: u16) -> u16;
}

/// Our engines, split or packed.
pub(crate) struct Ours {
    ring: Ring,
    chain: Chain,
}

impl Ours {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            ring: Ring::new(shape.config()).expect("a good ring"),
            chain: Chain::new(),
        }
    }
}

impl<B: Bitmap + 'static> Engine<B> for Ours {
    #[inline(never)]
    fn wake(&mut self, memory: &GuestMemoryMmap<B>, batch: u16) -> u16 {
        let mut queue =
            Virtqueue::attach(0, &mut self.ring, memory, &NoInterrupt).expect("a good ring");
        let mut count = 0;
        while count < batch && queue.pop(&mut self.chain).expect("a good chain") {
            for buffer in self.chain.buffers() {
                let slice = queue
                    .view()
                    .slice(buffer.address, buffer.len)
                    .expect("in memory");
                black_box(slice.ptr_guard().as_ptr());
            }
            queue.push(&mut self.chain, 0);
            count += 1;
        }
        queue.arm();
        count
    }
}

/// virtio-queue 0.18.
pub(crate) struct Upstream(Queue);

impl Upstream {
    pub(crate) fn new(shape: Shape) -> Self {
        let config = shape.config();
        let mut queue = Queue::new(config.size.get()).expect("a good size");
        queue.set_size(config.size.get());
        queue.set_desc_table_address(Some(config.descriptor as u32), Some(0));
        queue.set_avail_ring_address(Some(config.driver as u32), Some(0));
        queue.set_used_ring_address(Some(config.device as u32), Some(0));
        queue.set_event_idx(true);
        queue.set_ready(true);
        Self(queue)
    }
}

impl<B: Bitmap + 'static> Engine<B> for Upstream {
    #[inline(never)]
    fn wake(&mut self, memory: &GuestMemoryMmap<B>, batch: u16) -> u16 {
        let mut count = 0;
        while count < batch {
            let Some(chain) = self.0.pop_descriptor_chain(memory) else {
                break;
            };
            let head = chain.head_index();
            for descriptor in chain {
                let len = descriptor.len() as usize;
                let mut slices =
                    GuestMemory::get_slices(memory, descriptor.addr(), len, Permissions::ReadWrite)
                        .expect("in memory");
                let slice = slices.next().expect("a slice").expect("in memory");
                black_box(slice.ptr_guard().as_ptr());
            }
            self.0.add_used(memory, head, 0).expect("in memory");
            count += 1;
        }
        black_box(self.0.needs_notification(memory).expect("in memory"));
        black_box(self.0.enable_notification(memory).expect("in memory"));
        count
    }
}

struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        black_box(source);
        Ok(())
    }

    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}
