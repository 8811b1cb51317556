//! How a run ends: the guest's wish, carried from a vCPU to the main thread, and the exit status.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// What somebody wants to happen to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The guest powered itself off, or the user ended the VMM.
    PowerOff,
    /// The guest reset itself.
    Reset,
    /// The guest reported a panic (pvpanic).
    GuestPanic,
    /// The guest wrote this to isa-debug-exit.
    DebugExit(u8),
    /// The VMM cannot go on; why, on one line.
    Failure(String),
}

impl Wish {
    /// The exit status of a run that ends with this wish.
    pub fn status(&self) -> u8 {
        match self {
            Self::PowerOff => 0,
            Self::Failure(_) => FAILURE,
            Self::Reset => 3,
            Self::GuestPanic => 4,
            Self::DebugExit(value) => value.wrapping_shl(1) | 1,
        }
    }
}

/// Exit status of a VMM that failed.
pub const FAILURE: u8 = 1;
/// Exit status of a bad option.
pub const BAD_OPTION: u8 = 2;

/// Carries the first wish to the main thread, which waits for [`Wishes::event`].
#[derive(Clone, Debug)]
pub struct Wishes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    first: Mutex<Option<Wish>>,
    event: EventFd,
}

impl Wishes {
    /// No wish yet.
    ///
    /// # Errors
    /// Where the host has no event to give.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Inner {
            first: Mutex::new(None),
            event,
        })))
    }

    /// Makes a wish. Later ones are dropped until the first one is taken: a guest that asks again
    /// and again costs nothing.
    pub fn make(&self, wish: Wish) {
        let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            *first = Some(wish);
            // The counter cannot overflow: it is read before the next wish can be made.
            let _ = self.0.event.write(1);
        }
    }

    /// Takes the wish, where there is one.
    pub fn take(&self) -> Option<Wish> {
        let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.0.event.read();
        first.take()
    }

    /// Becomes readable when a wish is made.
    pub fn event(&self) -> &EventFd {
        &self.0.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wish_counts() {
        let wishes = Wishes::new().unwrap();
        assert_eq!(wishes.take(), None);
        wishes.make(Wish::PowerOff);
        wishes.make(Wish::Reset);
        assert_eq!(wishes.take(), Some(Wish::PowerOff));
        assert_eq!(wishes.take(), None);
        wishes.make(Wish::Reset);
        assert_eq!(wishes.take(), Some(Wish::Reset));
    }

    #[test]
    fn statuses_are_distinct() {
        let statuses = [
            Wish::PowerOff,
            Wish::Failure(String::new()),
            Wish::Reset,
            Wish::GuestPanic,
        ]
        .map(|wish| wish.status());
        assert_eq!(statuses, [0, 1, 3, 4]);
        assert_eq!(Wish::DebugExit(5).status(), 11);
    }
}
