//! A back-end that fails, or holds requests back, as a test tells it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use guest_io::block::{Backend, Channel, Facts, RawChannel, RawImage};
use guest_io::{
    Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError, Submitted,
};
use rustix::event::{EventfdFlags, eventfd};
use vm_memory::bitmap::BitmapSlice;

/// What the back-end was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A read.
    Read,
    /// A write.
    Write {
        /// Whether it is durable when it is done.
        stable: bool,
    },
    /// Making data durable.
    Sync,
    /// Forgetting a range.
    Discard,
    /// Zeroing a range.
    WriteZeroes {
        /// Whether its storage may be given back.
        may_unmap: bool,
    },
    /// Writing zeroes over a range.
    Overwrite,
}

/// What becomes of a request in place of what would have.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Fails with this error number.
    Error(i32),
    /// Transfers so many bytes.
    Short(usize),
    /// Is not even started.
    Refused,
    /// Nothing happens to it.
    None,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    faults: VecDeque<Fault>,
    hold: bool,
    /// What is held back ends as soon as it is started.
    quick: bool,
    held: VecDeque<Completion>,
    ready: VecDeque<Completion>,
}

/// The test's hand on a [`Scripted`] back-end.
#[derive(Clone)]
pub struct Script {
    state: Arc<Mutex<State>>,
    event: Arc<OwnedFd>,
}

impl Script {
    /// A script by which nothing fails.
    ///
    /// # Panics
    /// Where the host has no event to give.
    #[expect(clippy::new_without_default, reason = "it takes a descriptor")]
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            event: Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap()),
        }
    }

    /// The faults of the next requests, in order.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Holds the completion of each request back from now on, or does not.
    pub fn hold(&self, on: bool) {
        self.state().hold = on;
    }

    /// Holds each request back until it is started, and no longer.
    pub fn end_when_started(&self) {
        let mut state = self.state();
        (state.hold, state.quick) = (true, true);
    }

    /// Requests held back.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Lets go of all requests, the last first.
    pub fn release(&self) {
        let mut state = self.state();
        while let Some(completion) = state.held.pop_back() {
            state.ready.push_back(completion);
        }
        drop(state);
        rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap();
    }

    /// What was asked for since this was last called.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn call(
        &self,
        token: u64,
        call: Call,
        does: impl FnOnce() -> Result<Submitted, SubmitError>,
    ) -> Result<Submitted, SubmitError> {
        let mut state = self.state();
        state.calls.push(call);
        let result = match state.faults.pop_front() {
            Some(Fault::Error(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Short(count)) => Ok(count),
            Some(Fault::Refused) => return Err(SubmitError::Full),
            Some(Fault::None) | None => match does()? {
                Submitted::Done(result) => result,
                Submitted::InFlight => panic!("the inner channel is synchronous"),
            },
        };
        if !state.hold {
            return Ok(Submitted::Done(result));
        }
        state.held.push_back(Completion { token, result });
        Ok(Submitted::InFlight)
    }
}

/// A [`RawImage`] under a [`Script`]. The image must do its requests at once.
pub struct Scripted {
    /// What is under it.
    pub image: RawImage,
    /// What becomes of requests.
    pub script: Script,
}

impl Backend for Scripted {
    type Channel<G: MemoryGuard + Send + Sync> = ScriptedChannel<G>;

    fn facts(&self) -> io::Result<Facts> {
        self.image.facts()
    }

    fn claim(&self, shared: bool) -> io::Result<()> {
        self.image.claim(shared)
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<Self::Channel<G>> {
        Ok(ScriptedChannel {
            inner: self.image.channel(depth)?,
            script: self.script.clone(),
        })
    }
}

/// A worker's way to a [`Scripted`] back-end.
pub struct ScriptedChannel<G: MemoryGuard> {
    inner: RawChannel<G>,
    script: Script,
}

impl<G: MemoryGuard + Send> Channel<G> for ScriptedChannel<G> {
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        self.script.call(deferred.token, Call::Read, || {
            self.inner.read(offset, iovecs, deferred)
        })
    }

    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let stable = flags.contains(Flags::DSYNC);
        self.script
            .call(deferred.token, Call::Write { stable }, || {
                self.inner.write(offset, flags, iovecs, deferred)
            })
    }

    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        self.script
            .call(token, Call::Sync, || self.inner.sync_data(token))
    }

    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        self.script
            .call(token, Call::Discard, || self.inner.discard(token, range))
    }

    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        self.script
            .call(token, Call::WriteZeroes { may_unmap }, || {
                self.inner.write_zeroes(token, range, may_unmap)
            })
    }

    fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        self.script.call(token, Call::Overwrite, || {
            self.inner.overwrite(token, range)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let start = self.script.state().quick && self.script.held() > 0;
        if start {
            self.script.release();
        }
        self.inner.flush()
    }

    fn poll(&mut self) -> Option<Completion> {
        let mut state = self.script.state();
        if state.ready.len() <= 1 {
            let _ = rustix::io::read(&self.script.event, &mut [0; 8]);
        }
        state.ready.pop_front()
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.script.event.as_fd())
    }
}
