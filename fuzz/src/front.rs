//! What a driver does to registers, whatever the transport: from reset to a request.

use std::sync::Arc;

use testkit::{BOUNDARY, DriverQueue, Heap, Ram, Segment, Space, memory};
use virtio_bus::{InlineRunner, VirtioProps};
use virtio_device::{DynDevice, Features, RingConfig};

use crate::blk::{Disk, Look};
use crate::device::Subject;
use crate::rng::Fickle;

/// The registers of one device, as a modern driver sees them.
pub(crate) trait Front {
    fn status(&self) -> u8;
    fn set_status(&self, status: u8);
    fn offered(&self, page: u32) -> u32;
    fn accept(&self, page: u32, features: u32);
    /// Size of a queue before it was set up.
    fn queue_size(&self, queue: u16) -> u16;
    fn set_up(&self, queue: u16, config: &RingConfig);
    fn notify(&self, queue: u16);
}

/// Guest memory and the host around a device.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) space: Space,
    pub(crate) heap: Heap,
    pub(crate) runner: InlineRunner<Space>,
}

/// Which device.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Blk,
    Rng,
}

/// A request of zeroes that a device serves whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    queue: u16,
    /// Lengths, and whether they are writable.
    parts: &'static [(u32, bool)],
}

impl Kind {
    pub(crate) fn device(self) -> Box<dyn DynDevice<Space>> {
        match self {
            Self::Blk => Box::new(Disk::new(Look::default()).device()),
            Self::Rng => Box::new(Fickle::default().device()),
        }
    }

    /// A request that is served.
    pub(crate) fn request(self) -> Request {
        match self {
            Self::Blk => BLK,
            Self::Rng => RNG,
        }
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self {
            space: memory(),
            heap: Heap::new(0x1000, BOUNDARY),
            runner: InlineRunner::new(),
        }
    }

    pub(crate) fn features() -> Features {
        VirtioProps::default()
            .packed(true)
            .in_order(true)
            .features()
    }

    pub(crate) fn runner(&self) -> Arc<InlineRunner<Space>> {
        Arc::new(self.runner.clone())
    }

    pub(crate) fn ram(&self) -> Ram<Space> {
        Ram(self.space.clone())
    }

    /// A guest that does nothing more leaves a device with nothing to do.
    pub(crate) fn settle(&self) {
        let busy = (0..16).all(|_| self.runner.run());
        assert!(!busy, "the device does not come to rest");
    }

    /// From reset to DRIVER_OK with those of `features` that are on offer. `None` where the device
    /// does not agree to them.
    pub(crate) fn boot(
        &self,
        front: &impl Front,
        features: Features,
    ) -> Option<Vec<DriverQueue<Space>>> {
        front.set_status(0);
        assert_eq!(front.status(), 0, "the reset does not end");
        front.set_status(1);
        front.set_status(3);
        let page = |n| front.offered(n);
        let offered = (0..4).fold(Features::NONE, |all, n| all.with_page(n, page(n)));
        assert!(offered.contains(Features::VERSION_1));
        let features = offered & features | Features::VERSION_1;
        (0..4).for_each(|n| front.accept(n, features.page(n)));
        front.set_status(11);
        if front.status() != 11 {
            return None;
        }
        let queues = (0..)
            .map_while(|queue| self.lay_out(front, queue, features))
            .collect();
        front.set_status(15);
        self.settle();
        Some(queues)
    }

    fn lay_out(
        &self,
        front: &impl Front,
        queue: u16,
        features: Features,
    ) -> Option<DriverQueue<Space>> {
        let size = front.queue_size(queue);
        let (space, heap) = (self.space.clone(), self.heap.clone());
        let driver = (size > 0).then(|| DriverQueue::new(space, heap, size, features))?;
        front.set_up(queue, driver.config());
        Some(driver)
    }

    /// A reset device starts and serves a request.
    pub(crate) fn probe(&self, front: &impl Front, request: Request) {
        let features = Features::VERSION_1 | Features::INDIRECT_DESC | Features::EVENT_IDX;
        let queues = self.boot(front, features);
        let mut queues = queues.expect("what is offered can be had");
        assert_eq!(front.status(), 15, "the device does not start");
        let Request { queue, parts } = request;
        let segments: Vec<_> = parts.iter().map(|&part| self.segment(part)).collect();
        let driver = queues.get_mut(usize::from(queue)).expect("a queue");
        driver.add(&segments).expect("room");
        driver.publish();
        front.notify(queue);
        self.settle();
        let used = driver.collect().expect("a request is served");
        let writable: u32 = parts.iter().filter(|part| part.1).map(|part| part.0).sum();
        assert_eq!(used.len, writable, "all of it");
        assert_eq!(front.status(), 15);
    }

    fn segment(&self, (len, writable): (u32, bool)) -> Segment {
        let address = self.heap.alloc(len.into(), 16);
        self.ram().write(address, &vec![0; len as usize]);
        Segment {
            address,
            len,
            writable,
        }
    }
}

/// A chain for a queue that was once set up, if there is one.
pub(crate) fn offer(
    front: &impl Front,
    queues: &mut [DriverQueue<Space>],
    queue: u8,
    chain: &[Segment],
) {
    if let Some(driver) = queues.get_mut(usize::from(queue))
        && chain.len() <= usize::from(driver.config().size.get())
        && driver.add(chain).is_some()
    {
        driver.publish();
        front.notify(queue.into());
    }
}

pub(crate) const BLK: Request = Request {
    queue: 0,
    parts: &[(16, false), (512, true), (1, true)],
};
pub(crate) const RNG: Request = Request {
    queue: 0,
    parts: &[(16, true)],
};
/// Characters to the console.
pub(crate) const SERIAL: Request = Request {
    queue: 1,
    parts: &[(5, false)],
};
