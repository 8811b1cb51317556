//! A disk that takes its time, or fails, when it is told to.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use guest_io::{
    Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError, Submitted,
};
use rustix::event::{EventfdFlags, eventfd};
use testkit::clock::Clock;
use virtio_blk::{
    Backend, Channel, Facts, Limit, Rate, Rates, RawChannel, RawImage, ThrottleMember, Throttled,
};
use virtio_device::vm_memory::bitmap::BitmapSlice;

/// What becomes of the next request.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Fault {
    Error,
    Short,
    Refused,
}

/// What a target has of its disk: a valve, and limits, if the disk is to have any.
pub(crate) struct Reins {
    valve: Valve,
    limits: Limits,
}

impl Reins {
    pub(crate) fn new(limited: bool) -> Self {
        Self {
            valve: Valve::new().expect("an event descriptor"),
            limits: Limits::new(limited),
        }
    }

    /// The disk on `image`.
    pub(crate) fn disk(&self, image: RawImage) -> Throttled<Slow> {
        let valve = self.valve.clone();
        self.limits.above(Slow { image, valve })
    }

    /// From now on requests wait.
    pub(crate) fn hold(&self) {
        self.valve.close();
        self.limits.change();
    }

    /// Requests end again, and some that had to wait begin.
    pub(crate) fn let_go(&self) {
        self.valve.open();
        self.limits.pass_an_hour();
    }

    /// Requests that have begun end.
    pub(crate) fn release(&self) {
        self.valve.open();
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.valve.fail(fault);
    }

    /// Nothing waits or fails any more.
    pub(crate) fn repair(&self) {
        self.valve.repair();
        self.limits.lift();
    }
}

/// Holds completions back while it is closed. Clones are one valve.
#[derive(Clone)]
struct Valve(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    event: OwnedFd,
}

#[derive(Default)]
struct State {
    closed: bool,
    faults: VecDeque<Fault>,
    /// By channel.
    waiting: Vec<VecDeque<Completion>>,
}

impl Valve {
    fn new() -> io::Result<Self> {
        let (state, event) = (Mutex::default(), eventfd(0, EventfdFlags::NONBLOCK)?);
        Ok(Self(Arc::new(Inner { state, event })))
    }

    fn close(&self) {
        self.state().closed = true;
        self.signal();
    }

    fn open(&self) {
        self.state().closed = false;
        self.signal();
    }

    fn fail(&self, fault: Fault) {
        let faults = &mut self.state().faults;
        if faults.len() < 16 {
            faults.push_back(fault);
        }
    }

    /// Nothing fails any more.
    fn repair(&self) {
        self.state().faults.clear();
        self.open();
    }

    /// The descriptor is readable while there is something to poll.
    fn signal(&self) {
        let state = self.state();
        let ready = !state.closed && state.waiting.iter().any(|waiting| !waiting.is_empty());
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]);
        if ready {
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_channel(&self) -> usize {
        let waiting = &mut self.state().waiting;
        waiting.push(VecDeque::new());
        waiting.len() - 1
    }

    fn pass(
        &self,
        channel: usize,
        token: u64,
        work: impl FnOnce() -> Result<Submitted, SubmitError>,
    ) -> Result<Submitted, SubmitError> {
        let fault = self.state().faults.pop_front();
        let result = match fault {
            Some(Fault::Error) => Err(io::ErrorKind::Other.into()),
            Some(Fault::Short) => Ok(1),
            Some(Fault::Refused) => return Err(SubmitError::Full),
            None => match work()? {
                Submitted::Done(result) => result,
                Submitted::InFlight => unreachable!("the image does everything at once"),
            },
        };
        let mut state = self.state();
        if !state.closed {
            return Ok(Submitted::Done(result));
        }
        let waiting = &mut state.waiting[channel];
        assert!(
            waiting.iter().all(|other| other.token != token),
            "a token in flight twice"
        );
        // The last one first now and then, for completions out of order.
        match token & 1 {
            0 => waiting.push_back(Completion { token, result }),
            _ => waiting.push_front(Completion { token, result }),
        }
        Ok(Submitted::InFlight)
    }

    fn poll(&self, channel: usize) -> Option<Completion> {
        let mut state = self.state();
        let open = !state.closed;
        let waiting = state.waiting.get_mut(channel).filter(|_| open);
        let completion = waiting.and_then(VecDeque::pop_front);
        drop(state);
        self.signal();
        completion
    }
}

/// Limits of a disk, if it is to have any, under a clock that goes by the hour.
struct Limits {
    on: bool,
    clock: Clock,
    member: Arc<ThrottleMember>,
}

impl Limits {
    fn new(on: bool) -> Self {
        let (clock, member) = (Clock::default(), Arc::default());
        let this = Self { on, clock, member };
        this.change();
        this
    }

    fn above(&self, slow: Slow) -> Throttled<Slow> {
        Throttled::new(slow, self.member.clone())
    }

    /// Puts the disk into another group: a byte a second, and for each direction.
    fn change(&self) {
        let rate = Some(Rate::new(NonZeroU64::MIN));
        let rates = Rates {
            bytes: rate.map(Limit::Total),
            operations: Some(Limit::Each {
                read: rate,
                write: rate,
            }),
            operation_size: NonZeroU64::new(4096),
        };
        self.member.join(self.on.then(|| self.clock.group(rates)));
    }

    fn pass_an_hour(&self) {
        self.clock.advance(Duration::from_secs(3600));
    }

    fn lift(&self) {
        self.member.join(None);
    }
}

/// A [`RawImage`] behind a [`Valve`].
pub(crate) struct Slow {
    image: RawImage,
    valve: Valve,
}

impl Backend for Slow {
    type Channel<G: MemoryGuard + Send + Sync> = SlowChannel<G>;

    fn facts(&self) -> io::Result<Facts> {
        self.image.facts()
    }

    fn claim(&self, shared: bool) -> io::Result<()> {
        self.image.claim(shared)
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<SlowChannel<G>> {
        Ok(SlowChannel {
            inner: self.image.channel(depth)?,
            number: self.valve.add_channel(),
            valve: self.valve.clone(),
        })
    }
}

pub(crate) struct SlowChannel<G: MemoryGuard> {
    inner: RawChannel<G>,
    number: usize,
    valve: Valve,
}

impl<G: MemoryGuard> Drop for SlowChannel<G> {
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut self.valve.state().waiting[self.number]);
        assert!(
            waiting.is_empty() || std::thread::panicking(),
            "requests are abandoned"
        );
    }
}

impl<G: MemoryGuard + Send> Channel<G> for SlowChannel<G> {
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let (number, token) = (self.number, deferred.token);
        self.valve
            .pass(number, token, || self.inner.read(offset, iovecs, deferred))
    }

    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let (number, token) = (self.number, deferred.token);
        self.valve.pass(number, token, || {
            self.inner.write(offset, flags, iovecs, deferred)
        })
    }

    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        self.valve
            .pass(self.number, token, || self.inner.sync_data(token))
    }

    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        self.valve
            .pass(self.number, token, || self.inner.discard(token, range))
    }

    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        let work = || self.inner.write_zeroes(token, range, may_unmap);
        self.valve.pass(self.number, token, work)
    }

    fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        let work = || self.inner.overwrite(token, range);
        self.valve.pass(self.number, token, work)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn poll(&mut self) -> Option<Completion> {
        self.valve.poll(self.number)
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.valve.0.event.as_fd())
    }
}
