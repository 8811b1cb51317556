//! The gate in front of the vCPUs: they run, wait, or end, all together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vm_memory::GuestAddress;

/// What vCPU threads are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Reset, and start at this address.
    Start(GuestAddress),
    /// Go on where the gate closed.
    Continue,
    /// End the thread.
    Quit,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    order: Order,
    /// Counts orders, so that a thread takes each one once.
    number: u64,
    /// Threads that have come back since the last order.
    arrived: usize,
}

impl Default for Gate {
    fn default() -> Self {
        let state = State {
            order: Order::Quit,
            number: 0,
            arrived: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            closed: AtomicBool::new(true),
        }
    }
}

impl Gate {
    /// Whether the vCPUs are to come back to the gate. Asked before each entry to the guest.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits, as a vCPU, for an order later than `last`, which is updated and starts at 0.
    pub fn wait(&self, last: &mut u64) -> Order {
        let mut state = self.state();
        state.arrived += 1;
        self.changed.notify_all();
        while state.number == *last {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *last = state.number;
        state.order
    }

    /// Opens the gate with `order`, all threads being at it.
    pub fn open(&self, order: Order) {
        let mut state = self.state();
        state.order = order;
        state.number += 1;
        state.arrived = 0;
        self.closed.store(order == Order::Quit, Ordering::Release);
        self.changed.notify_all();
    }

    /// Closes the gate and waits until all `threads` are at it. `kick` drives vCPUs out of the
    /// guest; one that comes between a vCPU's look at the gate and its entry is lost, so it is
    /// repeated.
    pub fn close(&self, threads: usize, mut kick: impl FnMut()) {
        let mut state = self.state();
        self.closed.store(true, Ordering::Release);
        while state.arrived < threads {
            kick();
            let waited = self.changed.wait_timeout(state, KICK_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const KICK_INTERVAL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn every_thread_takes_each_order_once() {
        const THREADS: usize = 3;
        let (gate, starts) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (gate, starts) = (Arc::clone(&gate), Arc::clone(&starts));
                std::thread::spawn(move || {
                    let mut last = 0;
                    while gate.wait(&mut last) != Order::Quit {
                        starts.fetch_add(1, Ordering::SeqCst);
                        while !gate.is_closed() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for round in 1..=10 {
            gate.close(THREADS, || {});
            gate.open(Order::Start(GuestAddress(0)));
            gate.close(THREADS, || {});
            assert_eq!(starts.load(Ordering::SeqCst), round * THREADS);
        }
        gate.open(Order::Quit);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}
