//! The ways of one worker to the media of its units.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use guest_io::MemoryGuard;
use guest_io::block::Backend;
use scsi_target::{Access, Buffers, Ending, LogicalUnit, PATH_FDS, Path, Sense, Status, Task};
use virtio_device::{AddressSpace, Cx, Interest, Source};

use crate::Address;
use crate::roster::Units;

/// All paths, by number and by unit.
pub(crate) struct Paths<B: Backend, G: MemoryGuard + Send + Sync> {
    slots: Vec<Option<Slot<B, G>>>,
    by_unit: BTreeMap<Address, usize>,
    /// Numbers of those with commands in flight.
    busy: Vec<usize>,
    /// Some may be outdated, or have descriptors that are not watched.
    changed: bool,
    depth: u16,
}

struct Slot<B: Backend, G: MemoryGuard + Send + Sync> {
    path: Path<B, G>,
    in_flight: usize,
    /// No command is started on it any more.
    retired: bool,
    watched: [Option<RawFd>; PATH_FDS],
}

impl<B: Backend, G: MemoryGuard + Send + Sync> Paths<B, G> {
    pub(crate) fn new(depth: u16) -> Self {
        Self {
            slots: Vec::new(),
            by_unit: BTreeMap::new(),
            busy: Vec::new(),
            changed: false,
            depth,
        }
    }

    /// Starts `access` on a path to the medium of a unit. Returns the number of the path that it is in
    /// flight on.
    ///
    /// # Errors
    /// How it has ended, if it has.
    #[inline(always)]
    pub(crate) fn start(
        &mut self,
        (address, unit): (Address, &Arc<LogicalUnit<B>>),
        access: Access,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Result<usize, Ending> {
        let number = self.to(address, unit)?;
        let path = self.path(number).ok_or(Sense::TARGET_FAILURE)?;
        match path.start(access, task, token, buffers) {
            Some(ending) => Err(ending),
            None => {
                self.took_off(number);
                Ok(number)
            }
        }
    }

    pub(crate) fn path(&mut self, number: usize) -> Option<&mut Path<B, G>> {
        let slot = self.slots.get_mut(number)?.as_mut();
        slot.map(|slot| &mut slot.path)
    }

    /// A command has been started on `number` and is in flight.
    fn took_off(&mut self, number: usize) {
        let Some(Some(slot)) = self.slots.get_mut(number) else {
            return;
        };
        slot.in_flight += 1;
        if slot.in_flight == 1 {
            self.busy.push(number);
        }
        // Some of its descriptors may be new.
        self.changed |= slot.is_unwatched();
    }

    /// A command in flight on `number` has ended.
    pub(crate) fn landed(&mut self, number: usize) {
        let Some(Some(slot)) = self.slots.get_mut(number) else {
            return;
        };
        slot.in_flight = slot.in_flight.saturating_sub(1);
        if slot.in_flight == 0 {
            self.busy.retain(|&busy| busy != number);
            self.changed |= slot.retired;
        }
    }

    /// How many have commands in flight.
    pub(crate) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// The number of one of them.
    pub(crate) fn busy_at(&self, at: usize) -> Option<usize> {
        self.busy.get(at).copied()
    }

    /// Starts what was deferred.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut flushed = Ok(());
        for &number in &self.busy {
            if let Some(Some(slot)) = self.slots.get_mut(number) {
                flushed = flushed.and(slot.path.flush());
            }
        }
        flushed
    }

    /// While `on`, commands in flight end as soon as they can.
    pub(crate) fn drain(&mut self, on: bool) {
        for slot in self.slots.iter_mut().flatten() {
            slot.path.drain(on || slot.retired);
        }
    }

    /// Gives up paths to units that are not on the roster, or to media that are not there any
    /// more.
    pub(crate) fn review(&mut self, units: &Units<B>) {
        let slots = &mut self.slots;
        self.by_unit.retain(|address, &mut number| {
            let Some(Some(slot)) = slots.get_mut(number) else {
                return false;
            };
            let unit = units.get(address);
            let same = unit.is_some_and(|unit| Arc::ptr_eq(unit, slot.path.unit()));
            let good = same && slot.path.is_current();
            if !good {
                slot.retire();
            }
            good
        });
        self.changed = true;
    }

    /// Closes paths that nobody needs, and watches what is new.
    pub(crate) fn settle<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> io::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        for (number, place) in self.slots.iter_mut().enumerate() {
            if place
                .as_ref()
                .is_some_and(|slot| slot.retired && slot.in_flight == 0)
            {
                let watched = place.as_ref().map(|slot| slot.watched).unwrap_or_default();
                for (token, _) in tokens(number).zip(watched).filter(|(_, fd)| fd.is_some()) {
                    cx.unwatch(token);
                }
                *place = None;
            }
            let Some(slot) = place else { continue };
            for source in slot.unwatched(number) {
                cx.watch(source)?;
            }
            slot.watched = slot.descriptors();
        }
        Ok(())
    }

    /// All descriptors, for whoever begins to run the worker.
    pub(crate) fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        for (number, slot) in self.slots.iter().enumerate() {
            let fds = slot.as_ref().map(|slot| slot.path.completion_fds());
            let fds = fds.into_iter().flatten();
            for (token, fd) in tokens(number).zip(fds) {
                if let Some(fd) = fd {
                    add(source(token, fd));
                }
            }
        }
    }

    /// The number of a current path to the medium of `unit`, made if need be.
    #[inline]
    fn to(&mut self, address: Address, unit: &Arc<LogicalUnit<B>>) -> Result<usize, Ending> {
        if let Some(&number) = self.by_unit.get(&address)
            && let Some(Some(slot)) = self.slots.get(number)
            && slot.path.is_current()
        {
            return Ok(number);
        }
        self.open(address, unit)
    }

    #[cold]
    fn open(&mut self, address: Address, unit: &Arc<LogicalUnit<B>>) -> Result<usize, Ending> {
        if let Some(old) = self.by_unit.remove(&address)
            && let Some(Some(slot)) = self.slots.get_mut(old)
        {
            slot.retire();
            self.changed = true;
        }
        if self.retired() >= MOST_RETIRED {
            return Err(Ending::status(Status::Busy));
        }
        let number = self.slots.iter().position(Option::is_none);
        let number = number.unwrap_or(self.slots.len());
        if number >= MOST {
            return Err(Sense::TARGET_FAILURE.into());
        }
        let path = unit.path(self.depth)?;
        if number == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[number] = Some(Slot {
            path,
            in_flight: 0,
            retired: false,
            watched: [None; PATH_FDS],
        });
        self.by_unit.insert(address, number);
        self.changed = true;
        Ok(number)
    }

    /// How many there are that no command is started on any more.
    fn retired(&self) -> usize {
        self.slots.iter().flatten().count() - self.by_unit.len()
    }
}

impl<B: Backend, G: MemoryGuard + Send + Sync> Slot<B, G> {
    /// What is on it ends as soon as it can.
    fn retire(&mut self) {
        self.retired = true;
        self.path.drain(true);
    }

    fn descriptors(&self) -> [Option<RawFd>; PATH_FDS] {
        let fds = self.path.completion_fds();
        fds.map(|fd| fd.map(|fd| fd.as_raw_fd()))
    }

    fn is_unwatched(&self) -> bool {
        self.descriptors() != self.watched
    }

    fn unwatched(&self, number: usize) -> impl Iterator<Item = Source<'_>> {
        let fds = self.path.completion_fds().into_iter().zip(self.watched);
        tokens(number)
            .zip(fds)
            .filter_map(|(token, (fd, watched))| {
                let fd = fd.filter(|fd| Some(fd.as_raw_fd()) != watched)?;
                Some(source(token, fd))
            })
    }
}

fn source(token: u16, fd: std::os::fd::BorrowedFd<'_>) -> Source<'_> {
    Source {
        token,
        fd,
        interest: Interest::Read,
    }
}

/// One for each descriptor of a path. The first is the inbox's.
fn tokens(number: usize) -> impl Iterator<Item = u16> {
    let first = number * PATH_FDS + 1;
    (first..first + PATH_FDS).map(|token| token as u16)
}

/// Paths that there are tokens for.
const MOST: usize = u16::MAX as usize / PATH_FDS;
/// Those that are on their way out. An initiator that stops and starts a unit while its commands are
/// in flight makes one each time, with descriptors of the host.
const MOST_RETIRED: usize = 16;
