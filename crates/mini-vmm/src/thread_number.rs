//! The number that the host gave a thread, for those who ask when it runs: monitors, who place threads on processors.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{Pid, gettid};

/// The number of a thread, once that has told it.
pub struct ThreadNumber(Mutex<State>);

struct State {
    told: Receiver<Pid>,
    known: Option<Pid>,
}

/// What a thread tells its number by.
pub struct Teller(Sender<Pid>);

impl ThreadNumber {
    /// That of a thread to come, and what to give to it.
    pub fn new() -> (Self, Teller) {
        let (tell, told) = mpsc::channel();
        let state = State { told, known: None };
        (Self(Mutex::new(state)), Teller(tell))
    }

    /// The number. Waits until the thread has told it.
    ///
    /// # Errors
    /// A thread that there never was.
    pub fn ask(&self) -> io::Result<Pid> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.known.is_none() {
            // Where there will be no thread its teller is dropped, and this ends as well.
            state.known = state.told.recv().ok();
        }
        let known = state.known;
        known.ok_or_else(|| io::Error::other("it has no thread"))
    }
}

impl Teller {
    /// Tells the number of this thread.
    pub fn tell(self) {
        let _ = self.0.send(gettid());
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_is_asked_as_often_as_one_likes() {
        let (number, teller) = ThreadNumber::new();
        let thread = thread::spawn(move || {
            teller.tell();
            gettid()
        });
        let expected = thread.join().unwrap();
        assert_eq!([(); 2].map(|()| number.ask().unwrap()), [expected; 2]);
        let (none, teller) = ThreadNumber::new();
        drop(teller);
        assert!(none.ask().is_err());
    }
}
