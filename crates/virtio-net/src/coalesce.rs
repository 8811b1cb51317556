//! Coalescing of interrupts (section 5.1.6.5.9).

use std::time::Duration;

/// When the driver of a queue hears of used buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coalesce {
    /// Microseconds after the first, at the latest.
    pub(crate) max_usecs: u32,
    /// When there are so many; 0 and 1: at once.
    pub(crate) max_packets: u32,
}

/// The parameters of all queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coalescing {
    /// For receive queues and transmit queues, as set for all of them.
    pub(crate) for_all: [Coalesce; 2],
    /// By index of the queue: those of even index receive.
    pub(crate) queues: Vec<Coalesce>,
}

impl Coalesce {
    /// How long interrupts wait, if they do.
    pub(crate) fn delay(self) -> Option<Duration> {
        let waits = self.max_usecs > 0 && self.max_packets > 1;
        let micros = self.max_usecs.min(LONGEST);
        waits.then(|| Duration::from_micros(micros.into()))
    }
}

impl Coalescing {
    /// None for any of `queues` queues.
    pub(crate) fn new(queues: u16) -> Self {
        Self {
            for_all: [Coalesce::default(); 2],
            queues: vec![Coalesce::default(); queues.into()],
        }
    }

    /// Sets the parameters of all receive queues (0) or transmit queues (1).
    pub(crate) fn set_all(&mut self, direction: usize, to: Coalesce) {
        if let Some(for_all) = self.for_all.get_mut(direction) {
            *for_all = to;
        }
        let queues = self.queues.iter_mut().skip(direction).step_by(2);
        queues.for_each(|queue| *queue = to);
    }

    /// The queue has been disabled and enabled again.
    pub(crate) fn renew(&mut self, queue: u16) {
        let to = self.for_all[usize::from(queue % 2)];
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            *queue = to;
        }
    }

    /// The parameters of a queue.
    pub(crate) fn of(&self, queue: u16) -> Coalesce {
        let queue = self.queues.get(usize::from(queue));
        queue.copied().unwrap_or_default()
    }
}

/// Microseconds: no driver wants to wait for longer than a second.
const LONGEST: u32 = 1_000_000;
