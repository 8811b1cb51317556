//! A back-end that keeps to the limits of a group.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use vm_memory::bitmap::BitmapSlice;

use super::alarm::Alarm;
use super::group::DIRECTIONS;
use super::line::Place;
use super::waiting::{Data, Waiting, Work};
use super::{ThrottleGroup, ThrottleMember};
use crate::block::{Backend, Cancelled, Channel, Direction, Facts};
use crate::{
    Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, Storage, SubmitError,
    Submitted,
};

/// A back-end that keeps to the limits of the group that its member is in.
///
/// A stop does not wait for what waits: while a channel is [drained](Channel::drain) its requests
/// begin at once, and are counted, as QEMU has it. Where it is the guest who has them stop, by a reset,
/// a device [cancels](Channel::cancel) them first, or resets would be a way around the limits.
#[derive(Debug)]
pub struct Throttled<B> {
    backend: B,
    member: Arc<ThrottleMember>,
}

impl<B> Throttled<B> {
    /// Has `backend` keep to the limits of `member`'s group.
    pub fn new(backend: B, member: Arc<ThrottleMember>) -> Self {
        Self { backend, member }
    }
}

impl<B: Backend> Backend for Throttled<B> {
    type Channel<G: MemoryGuard + Send + Sync> = ThrottledChannel<B::Channel<G>, G>;

    fn facts(&self) -> io::Result<Facts> {
        self.backend.facts()
    }

    fn claim(&self, shared: bool) -> io::Result<()> {
        self.backend.claim(shared)
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<Self::Channel<G>> {
        Ok(ThrottledChannel {
            inner: self.backend.channel(depth)?,
            place: Place {
                member: self.member.clone(),
                alarm: Arc::new(Alarm::new()?),
            },
            generation: self.member.generation(),
            group: self.member.group(),
            waiting: Default::default(),
            cancelled: VecDeque::new(),
            depth: depth.into(),
            draining: false,
            storage: Storage::new(),
        })
    }
}

/// A worker's way to a [`Throttled`] back-end.
#[derive(Debug)]
pub struct ThrottledChannel<C, G> {
    inner: C,
    place: Place,
    /// Of the membership, when `group` was.
    generation: u32,
    group: Option<Arc<ThrottleGroup>>,
    /// Reads, and all else, as lines of a group.
    waiting: [VecDeque<Waiting<G>>; 2],
    /// Tokens of what was to wait and has ended instead.
    cancelled: VecDeque<u64>,
    depth: usize,
    draining: bool,
    storage: Storage,
}

impl<C, G> ThrottledChannel<C, G> {
    /// Whether a request that comes now may begin at once.
    #[inline(always)]
    fn admits(&mut self, direction: Direction, bytes: u64) -> bool {
        self.place.member.generation() == self.generation && self.group.is_none()
            || self.asks(direction, bytes)
    }

    #[inline(never)]
    fn asks(&mut self, direction: Direction, bytes: u64) -> bool {
        self.move_over();
        self.waiting[direction as usize].is_empty() && self.may_begin(direction, bytes, false)
    }

    /// Whether the first request of those in this direction may begin.
    fn may_begin(&mut self, direction: Direction, bytes: u64, more: bool) -> bool {
        loop {
            let Some(group) = &self.group else {
                return true;
            };
            if self.draining {
                group.charge(direction, bytes);
                return true;
            }
            if group.admit(&self.place, direction, bytes, more) {
                return true;
            }
            // Else the member has moved on in between, and nobody has woken this channel.
            if !self.move_over() {
                return false;
            }
        }
    }

    /// Follows the member to the group that it is in. False where that is the same as before.
    fn move_over(&mut self) -> bool {
        let generation = self.place.member.generation();
        if generation == self.generation {
            return false;
        }
        self.leave();
        self.generation = generation;
        self.group = self.place.member.group();
        true
    }

    fn leave(&self) {
        if let Some(group) = &self.group {
            for direction in DIRECTIONS {
                group.leave(&self.place, direction);
            }
        }
    }

    /// Keeps a request until its turn.
    #[cold]
    fn wait(&mut self, token: u64, bytes: u64, work: Work<G>) -> Result<Submitted, SubmitError> {
        if self.waiting.iter().map(VecDeque::len).sum::<usize>() >= self.depth {
            return Err(SubmitError::Full);
        }
        let line = &mut self.waiting[work.direction() as usize];
        line.push_back(Waiting { token, bytes, work });
        Ok(Submitted::InFlight)
    }

    /// The next request that has waited and may begin.
    fn next(&mut self) -> Option<Waiting<G>> {
        self.move_over();
        DIRECTIONS.into_iter().find_map(|direction| {
            let line = &self.waiting[direction as usize];
            let (bytes, more) = (line.front()?.bytes, line.len() > 1);
            let may_begin = self.may_begin(direction, bytes, more);
            may_begin.then(|| self.waiting[direction as usize].pop_front())?
        })
    }

    fn waits(&self) -> bool {
        self.waiting.iter().any(|line| !line.is_empty())
    }
}

impl<C: Channel<G>, G: MemoryGuard> ThrottledChannel<C, G> {
    /// Begins what may begin, until a request is done with that.
    fn begin_waiting(&mut self) -> Option<Completion> {
        while let Some(request) = self.next() {
            let token = request.token;
            match request.begin(&mut self.inner, &mut self.storage) {
                Ok(Submitted::InFlight) => {}
                Ok(Submitted::Done(result)) => return Some(Completion { token, result }),
                Err(_) => return Some(failed(token, io::Error::from_raw_os_error(libc::EIO))),
            }
        }
        None
    }
}

impl<C, G> Drop for ThrottledChannel<C, G> {
    fn drop(&mut self) {
        if self.waits() {
            self.leave();
        }
    }
}

impl<C: Channel<G>, G: MemoryGuard + Send + Sync> Channel<G> for ThrottledChannel<C, G> {
    #[inline(always)]
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let bytes = iovecs.remaining() as u64;
        if self.admits(Direction::Read, bytes) {
            return self.inner.read(offset, iovecs, deferred);
        }
        let (token, data) = (deferred.token, Data::new(deferred));
        self.wait(token, bytes, Work::Read { offset, data })
    }

    #[inline(always)]
    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let bytes = iovecs.remaining() as u64;
        if self.admits(Direction::Write, bytes) {
            return self.inner.write(offset, flags, iovecs, deferred);
        }
        let (token, data) = (deferred.token, Data::new(deferred));
        self.wait(
            token,
            bytes,
            Work::Write {
                offset,
                flags,
                data,
            },
        )
    }

    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        self.inner.sync_data(token)
    }

    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        match self.admits(Direction::Write, range.len()) {
            true => self.inner.discard(token, range),
            false => self.wait(token, range.len(), Work::Discard(range)),
        }
    }

    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        match self.admits(Direction::Write, range.len()) {
            true => self.inner.write_zeroes(token, range, may_unmap),
            false => self.wait(token, range.len(), Work::WriteZeroes { range, may_unmap }),
        }
    }

    fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        match self.admits(Direction::Write, range.len()) {
            true => self.inner.overwrite(token, range),
            false => self.wait(token, range.len(), Work::Overwrite(range)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn poll(&mut self) -> Option<Completion> {
        let ended = self.inner.poll();
        if ended.is_some() || self.cancelled.is_empty() && !self.waits() {
            return ended;
        }
        match self.cancelled.pop_front() {
            Some(token) => Some(failed(token, Cancelled.into())),
            None => self.begin_waiting(),
        }
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.completion_fd()
    }

    fn timer_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.place.alarm.as_fd())
    }

    fn drain(&mut self, on: bool) {
        self.draining = on;
        if on && self.waits() {
            self.leave();
        }
        self.inner.drain(on);
    }

    fn cancel(&mut self, token: u64) {
        for (direction, line) in DIRECTIONS.into_iter().zip(&mut self.waiting) {
            let Some(at) = line.iter().position(|request| request.token == token) else {
                continue;
            };
            line.remove(at);
            if let Some(group) = self.group.as_ref().filter(|_| line.is_empty()) {
                group.leave(&self.place, direction);
            }
            return self.cancelled.push_back(token);
        }
        self.inner.cancel(token);
    }
}

/// The end of a request that waited and does not begin.
#[cold]
fn failed(token: u64, error: io::Error) -> Completion {
    Completion {
        token,
        result: Err(error),
    }
}
