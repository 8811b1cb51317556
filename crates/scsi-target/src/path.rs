//! One worker's way to a medium.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_io::block::{Backend, Channel};
use guest_io::{Completion, FileRange, Flags, MemoryGuard};

use crate::command::{Extent, Operation};
use crate::compare::{Compare, Exclusive, Write};
use crate::fill::Fill;
use crate::medium::Medium;
use crate::ranges::{self, RangeKind, Ranges};
use crate::reply::parameters;
use crate::scratch::{Own, Scratch};
use crate::task::{Plan, Step, Transfer, resumed, sense_of, step};
use crate::vital::max_compare;
use crate::{Access, Buffers, Ending, LogicalUnit, Sense, Status, Task};

/// One worker's way to the medium that is in a unit at the moment.
///
/// What cannot be done at once is in flight under its token, until [`poll`](Self::poll) has
/// something for it, which goes to [`resume`](Self::resume).
pub struct Path<B: Backend, G: MemoryGuard + Send + Sync> {
    unit: Arc<LogicalUnit<B>>,
    medium: Arc<Medium<B>>,
    generation: u32,
    depth: u16,
    channel: B::Channel<G>,
    /// For data that is looked at here.
    own: Option<B::Channel<Own>>,
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

    fn failed(&self, error: &io::Error, writes: bool) -> Sense {
        self.failures.report(error);
        sense_of(error, writes)
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
    pub fn start(
        &mut self,
        access: Access,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        task.begin();
        self.begin(access.0, task, token, buffers)
            .unwrap_or_else(Some)
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
        let writes = task.plan.writes();
        let step = resumed(completion, |error| unit.failed(error, writes));
        let ending = self.advance(step, task, token, buffers);
        if ending.is_some() {
            task.plan = Plan::Nothing;
        }
        ending
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

    /// Descriptors that are readable while a completion waits to be polled. The second may come
    /// later than the first.
    pub fn completion_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let first = self.channel.completion_fd();
        let own = self.own.as_ref().and_then(Channel::completion_fd);
        // An event loop takes a descriptor that both have only once.
        let raw = first.map(|fd| fd.as_raw_fd());
        [first, own.filter(|fd| Some(fd.as_raw_fd()) != raw)]
    }

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
        let step = step(submitted, |error| {
            self.unit.failed(error, false).at(transfer.lba)
        });
        Ok(self.moving(transfer, task, step))
    }

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
        let step = step(submitted, |error| {
            self.unit.failed(error, true).at(transfer.lba)
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
            Step::Done(count) => Some(self.moved(transfer, count)),
        }
    }

    fn moved(&self, transfer: Transfer, count: usize) -> Ending {
        let failed = |error: io::Error| self.unit.failed(&error, transfer.writes).at(transfer.lba);
        transfer
            .end(count)
            .unwrap_or_else(|error| failed(error).into())
    }

    /// SYNCHRONIZE CACHE: all of it, whichever blocks were asked for.
    fn synchronize(&mut self, task: &mut Task, token: u64) -> Option<Ending> {
        if self.medium.read_only {
            return Some(Ending::good(0));
        }
        let submitted = self.channel.sync_data(token);
        match step(submitted, |error| self.unit.failed(error, true)) {
            Step::Pending => {
                task.plan = Plan::Synchronize;
                None
            }
            Step::Ended(ending) => Some(ending),
            Step::Done(_) => Some(Ending::good(0)),
        }
    }

    /// What is to be done step by step, checked as a whole.
    fn plan(
        &mut self,
        operation: Operation,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        match operation {
            Operation::Verify { extent, compare } => self.verify(extent, compare, buffers),
            Operation::Unmap { len } => self.unmap(len, buffers),
            Operation::WriteSame {
                extent,
                unmap,
                data,
            } => self.write_same(extent, unmap, data, buffers),
            Operation::CompareAndWrite { extent, stable } => {
                self.compare_and_write(extent, stable, buffers)
            }
            _ => Ok(Plan::Nothing),
        }
    }

    fn verify(
        &mut self,
        extent: Extent,
        compare: bool,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        let range = self.medium.range(extent)?;
        if !compare || range.is_empty() {
            return Ok(Plan::Nothing);
        }
        fitting(range, buffers.out_len())?;
        self.compare(range, None)
    }

    fn compare_and_write(
        &mut self,
        extent: Extent,
        stable: bool,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        self.medium.writable()?;
        let range = self.medium.range(extent)?;
        if extent.blocks > max_compare(self.medium.block.logical).into() {
            return Err(Sense::INVALID_CDB.into());
        }
        if range.is_empty() {
            return Ok(Plan::Nothing);
        }
        if range.len() * 2 > buffers.out_len().into() {
            return Err(Ending::Overrun);
        }
        let exclusive = Exclusive::take(&self.unit.exclusive);
        let write = Write {
            flags: self.flags(stable),
            _exclusive: exclusive.ok_or(Ending::status(Status::Busy))?,
        };
        self.compare(range, Some(write))
    }

    fn compare(&mut self, range: FileRange, then_write: Option<Write>) -> Result<Plan, Ending> {
        Ok(Plan::Compare(Compare {
            range,
            done: 0,
            scratch: self.scratch()?,
            then_write,
            writing: false,
        }))
    }

    fn unmap(&mut self, len: u32, buffers: &mut impl Buffers<G>) -> Result<Plan, Ending> {
        self.medium.writable()?;
        let list = parameters(buffers, len)?;
        let ranges = ranges::parse(&list, &self.unit.setup, &self.medium)?;
        Ok(Plan::Ranges(Ranges::new(ranges, RangeKind::Discard, false)))
    }

    /// WRITE SAME: zeroes have a short way.
    fn write_same(
        &mut self,
        extent: Extent,
        may_unmap: bool,
        data: bool,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        self.medium.writable()?;
        let range = self.medium.range(extent)?;
        if range.len() > self.unit.setup.max_write_same() {
            return Err(Sense::INVALID_CDB.into());
        }
        let len = if data { self.medium.block.logical } else { 0 };
        let pattern = pattern(len, buffers)?;
        if pattern.iter().all(|&byte| byte == 0) {
            let kind = RangeKind::Zero { may_unmap };
            let sync = self.unit.writes_through();
            return Ok(Plan::Ranges(Ranges::new(vec![range], kind, sync)));
        }
        let mut scratch = self.scratch()?;
        scratch.fill(&pattern);
        Ok(Plan::Fill(Fill::new(range, self.flags(false), scratch)))
    }

    /// What has become of a step, and what comes next.
    fn advance(
        &mut self,
        step: Step,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        let count = match step {
            Step::Pending => return None,
            Step::Ended(ending) => return Some(ending),
            Step::Done(count) => count,
        };
        match self.take_in(count, &mut task.plan, buffers) {
            Some(ending) => Some(ending),
            None => self.go_on(task, token, buffers),
        }
    }

    /// Does what is next, as far as it can be done at once. `None` if it is in flight.
    fn go_on(
        &mut self,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        loop {
            let count = match self.next_step(&mut task.plan, token, buffers) {
                Step::Pending => return None,
                Step::Ended(ending) => return Some(ending),
                Step::Done(count) => count,
            };
            if let Some(ending) = self.take_in(count, &mut task.plan, buffers) {
                return Some(ending);
            }
        }
    }

    /// Takes note of a request that has transferred `count` bytes. `None` if there may be more to
    /// do.
    fn take_in(
        &mut self,
        count: usize,
        plan: &mut Plan,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        let short = |writes| {
            self.unit
                .failed(&io::ErrorKind::UnexpectedEof.into(), writes)
        };
        match plan {
            Plan::Nothing | Plan::Synchronize => Some(Ending::good(0)),
            Plan::Transfer(transfer) => Some(self.moved(*transfer, count)),
            Plan::Ranges(_) => None,
            Plan::Fill(fill) => (!fill.advance(count)).then(|| short(true).into()),
            Plan::Compare(compare) if compare.writing => {
                let whole = count as u64 == compare.range.len();
                let both = 2 * compare.range.len() as u32;
                Some(if whole {
                    Ending::good(both)
                } else {
                    short(true).into()
                })
            }
            Plan::Compare(compare) => match count == compare.piece() as usize {
                true => compare.check(buffers).err(),
                false => Some(short(false).into()),
            },
        }
    }

    fn next_step(&mut self, plan: &mut Plan, token: u64, buffers: &mut impl Buffers<G>) -> Step {
        let writes = plan.writes();
        let submitted = match plan {
            Plan::Ranges(ranges) => ranges.next(token, &mut self.channel),
            Plan::Fill(fill) => self.own.as_mut().and_then(|own| fill.next(token, own)),
            Plan::Compare(compare) => match (compare.piece(), &compare.then_write) {
                (0, None) => None,
                (0, Some(write)) => {
                    let (at, len) = (compare.range.offset(), compare.done);
                    let to = (at, write.flags);
                    compare.writing = true;
                    Some(buffers.write(&mut self.channel, token, to, len, len))
                }
                (len, _) => {
                    let at = compare.range.offset() + u64::from(compare.done);
                    let own = self.own.as_mut();
                    own.map(|own| compare.scratch.read(own, token, at, len))
                }
            },
            _ => None,
        };
        match submitted {
            Some(submitted) => step(submitted, |error| self.unit.failed(error, writes)),
            None => Step::Ended(Ending::good(plan.transferred())),
        }
    }

    fn flags(&self, stable: bool) -> Flags {
        match stable || self.unit.writes_through() {
            true => Flags::DSYNC,
            false => Flags::NONE,
        }
    }

    /// Memory to look at data in, and the channel for it.
    fn scratch(&mut self) -> Result<Scratch, Sense> {
        let failed = |error: io::Error| {
            self.unit.failures.report(&error);
            Sense::TARGET_FAILURE
        };
        if self.own.is_none() {
            self.own = Some(self.medium.channel(self.depth).map_err(failed)?);
        }
        Scratch::new().map_err(failed)
    }
}

impl Plan {
    /// Whether the request that is in flight or next writes.
    fn writes(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Transfer(transfer) => transfer.writes,
            Self::Synchronize | Self::Ranges(_) | Self::Fill(_) => true,
            Self::Compare(compare) => compare.piece() == 0,
        }
    }

    /// Bytes of the data-out buffer that a plan has used when everything is done.
    fn transferred(&self) -> u32 {
        match self {
            Self::Compare(compare) => compare.done,
            _ => 0,
        }
    }
}

/// The length of `range`, if the buffer is as long.
fn fitting(range: FileRange, room: u32) -> Result<u32, Ending> {
    let len = u32::try_from(range.len()).map_err(|_| Ending::Overrun)?;
    if len <= room {
        Ok(len)
    } else {
        Err(Ending::Overrun)
    }
}

/// The block that is to be written over and over.
fn pattern<G: MemoryGuard>(len: u32, buffers: &mut impl Buffers<G>) -> Result<Vec<u8>, Ending> {
    if len > buffers.out_len() {
        return Err(Ending::Overrun);
    }
    let mut block = vec![0; len as usize];
    let fetched = buffers.fetch(0, &mut block);
    fetched.map_err(|_| Ending::BadBuffer).map(|()| block)
}
