//! How long a request may take.

use std::sync::{Condvar, Mutex, PoisonError};

/// Whether a request that has to wait may do so.
#[derive(Clone, Copy, Debug)]
pub enum Patience<'a> {
    /// It may not: it is to be served again, with more patience, where waiting does no harm.
    None,
    /// Until the host is done with it. What would wait for the client itself ends with
    /// [`Errno::INTR`](crate::Errno::INTR).
    Host,
    /// Until the host is done with it, or the client gives it up.
    Until(&'a Cancel),
}

/// Word from the client that it no longer waits for an answer (Tflush).
#[derive(Debug, Default)]
pub struct Cancel {
    cancelled: Mutex<bool>,
    changed: Condvar,
}

impl Patience<'_> {
    /// Whether waiting for the host is all right.
    pub fn waits(self) -> bool {
        !matches!(self, Self::None)
    }
}

impl Cancel {
    /// Gives the request up.
    pub fn cancel(&self) {
        *self
            .cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was given up.
    pub fn is_cancelled(&self) -> bool {
        *self
            .cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is given up.
    pub fn wait(&self) {
        let guard = self
            .cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        drop(
            self.changed
                .wait_while(guard, |cancelled| !*cancelled)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}
