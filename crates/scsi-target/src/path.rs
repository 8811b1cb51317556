//! One worker's way to a medium.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_io::block::{Backend, Channel};
use guest_io::{Completion, FileRange, Flags, MemoryGuard};

use crate::attempt::Attempt;
use crate::command::{Extent, Operation};
use crate::medium::Medium;
use crate::scratch::Own;
use crate::task::{Plan, Step, Transfer, step};
use crate::{Access, Buffers, Ending, LogicalUnit, Sense, Task};

/// One worker's way to the medium that is in a unit at the moment.
///
/// What cannot be done at once is in flight under its token, until [`poll`](Self::poll) has
/// something for it, which goes to [`resume`](Self::resume).
pub struct Path<B: Backend, G: MemoryGuard + Send + Sync> {
    pub(crate) unit: Arc<LogicalUnit<B>>,
    pub(crate) medium: Arc<Medium<B>>,
    generation: u32,
    pub(crate) depth: u16,
    pub(crate) channel: B::Channel<G>,
    /// For data that is looked at here.
    pub(crate) own: Option<B::Channel<Own>>,
}

impl<B: Backend> LogicalUnit<B> {
    /// A way to the medium for at most `depth` commands in flight. It is good until it is not
    /// [`current`](Path::is_current) any more.
    ///
    /// # Errors
    /// NOT READY, or HARDWARE ERROR where the host is out of resources.
    pub fn path<G: MemoryGuard + Send + Sync>(
        self: &Arc<Self>,
        depth: u16,
    ) -> Result<Path<B, G>, Sense> {
        // Before the medium: a change in between is seen as one.
        let generation = self.generation.load(Ordering::Acquire);
        let medium = self.ready()?;
        let channel = medium.channel(depth).map_err(|error| {
            self.failures.report(&error);
            Sense::TARGET_FAILURE
        })?;
        Ok(Path {
            unit: self.clone(),
            medium,
            generation,
            depth,
            channel,
            own: None,
        })
    }
}

impl<B: Backend, G: MemoryGuard + Send + Sync> Path<B, G> {
    /// The unit whose medium it leads to.
    pub fn unit(&self) -> &Arc<LogicalUnit<B>> {
        &self.unit
    }

    /// Whether the medium is still there. Commands are started on a current path only; those that
    /// are in flight end on the one that they were started on.
    #[inline]
    pub fn is_current(&self) -> bool {
        self.unit.generation.load(Ordering::Acquire) == self.generation
    }

    /// Starts `access`. `None` if it stays in flight.
    #[inline(always)]
    pub fn start(
        &mut self,
        access: Access,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        task.begin();
        let begun = self.begin(access.0, task, token, buffers);
        settled(begun.unwrap_or_else(Some), task)
    }

    /// Goes on after `completion`, which is of the request in flight. `None` if another is now.
    pub fn resume(
        &mut self,
        task: &mut Task,
        completion: Completion,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        let (unit, token) = (&self.unit, completion.token);
        if task.is_aborted() {
            task.plan = Plan::Nothing;
            return Some(Ending::Aborted);
        }
        let step = unit.judge(task.plan.attempt(), completion.result);
        let ending = self.advance(step, task, token, buffers);
        settled(ending, task)
    }

    /// Starts what was deferred since the last call.
    ///
    /// # Errors
    /// Where the host is short of something: to be called again.
    pub fn flush(&mut self) -> io::Result<()> {
        let own = self.own.as_mut().map_or(Ok(()), Channel::flush);
        self.channel.flush().and(own)
    }

    /// The next request that was in flight and has ended, without waiting.
    pub fn poll(&mut self) -> Option<Completion> {
        let completion = self.channel.poll();
        completion.or_else(|| self.own.as_mut().and_then(Channel::poll))
    }

    /// Descriptors that are readable while there is something to poll. Some may come later than the
    /// others.
    pub fn completion_fds(&self) -> [Option<BorrowedFd<'_>>; PATH_FDS] {
        let first = self.channel.completion_fd();
        let own = self.own.as_ref().and_then(Channel::completion_fd);
        // An event loop takes a descriptor that both have only once.
        let raw = first.map(|fd| fd.as_raw_fd());
        let own = own.filter(|fd| Some(fd.as_raw_fd()) != raw);
        let timer = self.own.as_ref().and_then(Channel::timer_fd);
        [first, own, self.channel.timer_fd(), timer]
    }

    /// While `on`, nothing on it waits for the time when it may begin: [`Channel::drain`].
    pub fn drain(&mut self, on: bool) {
        self.channel.drain(on);
        self.own.iter_mut().for_each(|own| own.drain(on));
    }

    /// Has what is in flight under `token` end if it has not begun: [`Channel::cancel`].
    pub fn cancel(&mut self, token: u64) {
        self.channel.cancel(token);
        self.own.iter_mut().for_each(|own| own.cancel(token));
    }

    #[inline(always)]
    fn begin(
        &mut self,
        operation: Operation,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Option<Ending>, Ending> {
        match operation {
            Operation::Read(extent) => self.read(extent, task, token, buffers),
            Operation::Write { extent, stable } => self.write(extent, stable, task, token, buffers),
            Operation::Synchronize(extent) => {
                self.medium.range(extent)?;
                Ok(self.synchronize(task, token))
            }
            operation => {
                task.plan = self.plan(operation, buffers)?;
                Ok(self.go_on(task, token, buffers))
            }
        }
    }

    #[inline(always)]
    fn read(
        &mut self,
        extent: Extent,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Option<Ending>, Ending> {
        let range = self.medium.range(extent)?;
        let len = fitting(range, buffers.in_len())?;
        let transfer = Transfer {
            lba: extent.lba,
            len,
            writes: false,
        };
        let submitted = buffers.read(&mut self.channel, token, range.offset(), len);
        let step = step(submitted, |result| {
            self.unit.judge(transfer.attempt(), result)
        });
        Ok(self.moving(transfer, task, step))
    }

    #[inline(always)]
    fn write(
        &mut self,
        extent: Extent,
        stable: bool,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Option<Ending>, Ending> {
        self.medium.writable()?;
        let range = self.medium.range(extent)?;
        let len = fitting(range, buffers.out_len())?;
        let transfer = Transfer {
            lba: extent.lba,
            len,
            writes: true,
        };
        let to = (range.offset(), self.flags(stable));
        let submitted = buffers.write(&mut self.channel, token, to, 0, len);
        let step = step(submitted, |result| {
            self.unit.judge(transfer.attempt(), result)
        });
        Ok(self.moving(transfer, task, step))
    }

    fn moving(&self, transfer: Transfer, task: &mut Task, step: Step) -> Option<Ending> {
        match step {
            Step::Pending => {
                task.plan = Plan::Transfer(transfer);
                None
            }
            Step::Ended(ending) => Some(ending),
            Step::Done => Some(Ending::good(transfer.len)),
        }
    }

    /// SYNCHRONIZE CACHE: all of it, whichever blocks were asked for.
    fn synchronize(&mut self, task: &mut Task, token: u64) -> Option<Ending> {
        if self.medium.read_only {
            return Some(Ending::good(0));
        }
        let submitted = self.channel.sync_data(token);
        match step(submitted, |result| {
            self.unit.judge(Attempt::write(0), result)
        }) {
            Step::Pending => {
                task.plan = Plan::Synchronize;
                None
            }
            Step::Ended(ending) => Some(ending),
            Step::Done => Some(Ending::good(0)),
        }
    }

    pub(crate) fn flags(&self, stable: bool) -> Flags {
        match stable || self.unit.writes_through() {
            true => Flags::DSYNC,
            false => Flags::NONE,
        }
    }
}

/// Descriptors of a path.
pub const PATH_FDS: usize = 4;

/// Lets go of what a command has taken, if that was its end.
fn settled(ending: Option<Ending>, task: &mut Task) -> Option<Ending> {
    if ending.is_some() {
        task.plan = Plan::Nothing;
    }
    ending
}

/// The length of `range`, if the buffer is as long.
pub(crate) fn fitting(range: FileRange, room: u32) -> Result<u32, Ending> {
    let len = u32::try_from(range.len()).map_err(|_| Ending::Overrun)?;
    if len <= room {
        Ok(len)
    } else {
        Err(Ending::Overrun)
    }
}
