//! Requests that wait because the disk has had its share of the second.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use guest_io::block::Throttle;
use virtio_device::Timer;

/// One worker's share in the throttle of its disk. What has to wait stays in the ring, and the
/// worker goes on with other things until a timer calls it.
#[derive(Debug)]
pub(crate) struct Pace {
    throttle: Arc<Throttle>,
    timer: Timer,
}

impl Pace {
    pub(crate) fn new(throttle: Arc<Throttle>) -> io::Result<Self> {
        let timer = Timer::new()?;
        Ok(Self { throttle, timer })
    }

    /// Whether a request may begin now. If not, the timer fires when one may.
    pub(crate) fn may_begin(&mut self) -> bool {
        let delay = self.throttle.delay();
        if let Some(delay) = delay {
            self.timer.fire_in(delay);
        }
        delay.is_none()
    }

    /// Counts a request that transfers so many bytes.
    pub(crate) fn charge(&self, bytes: u32) {
        self.throttle.charge(bytes.into());
    }

    /// The timer has been heard.
    pub(crate) fn awake(&mut self) {
        self.timer.disarm();
    }
}

impl AsFd for Pace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
