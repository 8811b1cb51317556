//! When which notifications are handled without leaving the kernel (ioeventfd).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bus::{Doorbell, DoorbellSet, IoEventFds};
use vm_pci::IoAddr;
use vmm_sys_util::eventfd::EventFd;

use crate::layout::Layout;

/// Which interface a driver enabled a queue by, so that only its doorbells take room in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Modern,
    Legacy,
}

/// The doorbells of a device: wanted while the driver is ready, its queue enabled and the BAR
/// reachable; all three come and go in any order.
pub(crate) struct Doorbells {
    layout: Layout,
    state: Mutex<State>,
}

struct State {
    bars: [Option<IoAddr>; 6],
    queues: Vec<Option<Via>>,
    /// By queue; empty while the driver is not ready.
    kicks: Vec<Arc<EventFd>>,
    assigned: DoorbellSet,
}

impl Doorbells {
    pub(crate) fn new(host: Option<Arc<dyn IoEventFds>>, layout: Layout, queues: usize) -> Self {
        let state = State {
            bars: [None; 6],
            queues: vec![None; queues],
            kicks: Vec::new(),
            assigned: DoorbellSet::new(host),
        };
        Self {
            layout,
            state: Mutex::new(state),
        }
    }

    /// The driver is ready, or with no kicks it is no more.
    pub(crate) fn set_kicks(&self, kicks: Vec<Arc<EventFd>>) -> io::Result<()> {
        let mut state = self.lock();
        state.kicks = kicks;
        self.update(&mut state)
    }

    /// The driver enabled a queue, or with `None` reset it.
    pub(crate) fn set_queue(&self, queue: u16, via: Option<Via>) {
        let mut state = self.lock();
        if let Some(slot) = state.queues.get_mut(usize::from(queue)) {
            *slot = via;
        }
        self.update_or_log(&mut state);
    }

    /// The device was reset: no queue is enabled.
    pub(crate) fn reset(&self) {
        let mut state = self.lock();
        let State {
            bars: _,
            queues,
            kicks,
            assigned: _,
        } = &mut *state;
        queues.fill(None);
        kicks.clear();
        self.update_or_log(&mut state);
    }

    /// Whether the driver enabled its queues by the legacy interface.
    pub(crate) fn is_legacy(&self) -> bool {
        self.lock().queues.contains(&Some(Via::Legacy))
    }

    /// A BAR became reachable, or no longer is.
    pub(crate) fn set_bar(&self, bar: u8, at: Option<IoAddr>) {
        let mut state = self.lock();
        if let Some(slot) = state.bars.get_mut(usize::from(bar)) {
            *slot = at;
        }
        self.update_or_log(&mut state);
    }

    fn update_or_log(&self, state: &mut State) {
        if let Err(error) = self.update(state) {
            log::debug!("no ioeventfd: {error}");
        }
    }

    fn update(&self, state: &mut State) -> io::Result<()> {
        let wanted = self.wanted(state);
        state.assigned.set(wanted)
    }

    fn wanted(&self, state: &State) -> Vec<(Doorbell, Arc<EventFd>)> {
        let mut wanted = Vec::new();
        for ((queue, via), fd) in (0..).zip(&state.queues).zip(&state.kicks) {
            let doorbells = via.map(|via| self.layout.doorbells(via, queue, &state.bars));
            wanted.extend(
                doorbells
                    .into_iter()
                    .flatten()
                    .map(|bell| (bell, fd.clone())),
            );
        }
        wanted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
