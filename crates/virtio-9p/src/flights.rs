//! Requests that are served elsewhere, and what waits for their end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use p9_server::Cancel;
use rustix::event::{EventfdFlags, eventfd};
use virtio_device::Chain;

use crate::message::Head;

/// The requests that are in flight, and those that wait for them.
pub(crate) struct Flights {
    flying: Vec<Flight>,
    waiting: Vec<Waiting>,
    landed: Arc<Landed>,
    next: u64,
}

struct Flight {
    number: u64,
    tag: u16,
    cancel: Arc<Cancel>,
}

/// A Tflush that waits for one request, or a Tversion that waits for all.
pub(crate) struct Waiting {
    pub(crate) chain: Chain,
    pub(crate) head: Head,
    number: Option<u64>,
}

/// A request that has been served: the reply is in its chain.
pub(crate) struct Landing {
    pub(crate) chain: Chain,
    pub(crate) written: u32,
    pub(crate) broken_off: bool,
    number: u64,
}

/// What a request in flight has with it. If it is lost on the way, its chain comes back with it.
pub(crate) struct Ticket {
    pub(crate) cancel: Arc<Cancel>,
    number: u64,
    chain: Option<Chain>,
    landed: Arc<Landed>,
}

struct Landed {
    landings: Mutex<Vec<Landing>>,
    bell: OwnedFd,
}

impl Flights {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let landed = Landed {
            landings: Mutex::default(),
            bell,
        };
        Ok(Self {
            flying: Vec::new(),
            waiting: Vec::new(),
            landed: Arc::new(landed),
            next: 0,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// The request in `chain` takes off.
    pub(crate) fn add(&mut self, tag: u16, chain: Chain) -> Ticket {
        let (number, cancel) = (self.next, Arc::new(Cancel::default()));
        self.next += 1;
        self.flying.push(Flight {
            number,
            tag,
            cancel: Arc::clone(&cancel),
        });
        Ticket {
            cancel,
            number,
            chain: Some(chain),
            landed: Arc::clone(&self.landed),
        }
    }

    /// Gives up the request `tag`, for which `head` in `chain` then waits; which is given back if
    /// no such request is in flight.
    pub(crate) fn flush(&mut self, tag: u16, chain: Chain, head: &Head) -> Result<(), Chain> {
        let Some(flight) = self.flying.iter().rfind(|flight| flight.tag == tag) else {
            return Err(chain);
        };
        flight.cancel.cancel();
        self.waiting.push(Waiting {
            chain,
            head: head.clone(),
            number: Some(flight.number),
        });
        Ok(())
    }

    /// Gives up all requests, for which `head` in `chain` then waits.
    pub(crate) fn wait_for_all(&mut self, chain: Chain, head: &Head) {
        self.cancel_all();
        self.waiting.push(Waiting {
            chain,
            head: head.clone(),
            number: None,
        });
    }

    /// Nobody waits for the client any more.
    pub(crate) fn cancel_all(&self) {
        self.flying.iter().for_each(|flight| flight.cancel.cancel());
    }

    /// Takes what has landed.
    pub(crate) fn land(&mut self) -> Vec<Landing> {
        if self.flying.is_empty() {
            return Vec::new();
        }
        let landings = std::mem::take(&mut *self.landed.landings());
        let gone = |flight: &Flight| {
            landings
                .iter()
                .any(|landing| landing.number == flight.number)
        };
        self.flying.retain(|flight| !gone(flight));
        landings
    }

    /// Whether the client has given this request up.
    pub(crate) fn is_flushed(&self, landing: &Landing) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| waiting.number == Some(landing.number))
    }

    /// The next of those whose wait is over.
    pub(crate) fn next_due(&mut self) -> Option<Waiting> {
        let flying = &self.flying;
        let due = |waiting: &Waiting| match waiting.number {
            Some(number) => !flying.iter().any(|flight| flight.number == number),
            None => flying.is_empty(),
        };
        let at = self.waiting.iter().position(due)?;
        Some(self.waiting.remove(at))
    }

    /// The bell has been heard, and is silent until something lands again. To be called before
    /// [`land`](Self::land): what lands in between rings anew.
    pub(crate) fn heard(&self) {
        let _ = rustix::io::read(&self.landed.bell, &mut [0; 8]);
    }

    /// Readable when something has landed.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.landed.bell.as_fd()
    }
}

impl Ticket {
    /// The chain of the request.
    pub(crate) fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// The request is done.
    pub(crate) fn land(mut self, written: u32, broken_off: bool) {
        self.put(written, broken_off);
    }

    fn put(&mut self, written: u32, broken_off: bool) {
        let Some(chain) = self.chain.take() else {
            return;
        };
        self.landed.landings().push(Landing {
            chain,
            written,
            broken_off,
            number: self.number,
        });
        // A counter that is full rings as well.
        let _ = rustix::io::write(&self.landed.bell, &1u64.to_ne_bytes());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.put(0, true);
    }
}

impl Landed {
    fn landings(&self) -> std::sync::MutexGuard<'_, Vec<Landing>> {
        self.landings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
