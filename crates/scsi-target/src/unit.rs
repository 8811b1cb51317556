//! A logical unit: the device server.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guest_io::block::{Backend, ErrorPolicy, Failure, Failures};
use guest_io::{BlockSize, MemoryGuard};

use crate::absent::report_luns;
use crate::attention::Attentions;
use crate::command::{Command, Extent, Motion};
use crate::medium::Medium;
use crate::mode::{self, Modes};
use crate::reply::{parameters, reply};
use crate::reservation::Reservation;
use crate::tray::{Tray, Watcher};
use crate::{
    Access, Attention, Buffers, Cdb, Ending, Lun, Sense, SenseBytes, Setup, UnitError, inquiry,
    mode_select, supported, vital,
};

/// A disk or a CD-ROM drive with one initiator. Shared by all who bring it commands.
pub struct LogicalUnit<B> {
    pub(crate) setup: Setup,
    pub(crate) attentions: Attentions,
    /// Changes whenever a medium that was there may not be any more.
    pub(crate) generation: AtomicU32,
    state: Mutex<State<B>>,
    default: Modes,
    write_back: AtomicBool,
    descriptor_sense: AtomicBool,
    /// Set while a COMPARE AND WRITE is in progress.
    pub(crate) exclusive: Arc<AtomicBool>,
    pub(crate) failures: Failures,
}

/// What changes seldom.
pub(crate) struct State<B> {
    pub(crate) medium: Option<Arc<Medium<B>>>,
    pub(crate) tray: Tray,
    /// START STOP UNIT.
    pub(crate) stopped: bool,
    pub(crate) reservation: Reservation,
    pub(crate) watcher: Option<Watcher>,
}

/// What has become of a command that was begun.
#[derive(Debug)]
pub enum Begun {
    /// It has ended.
    Ended(Ending),
    /// It is for the medium: see [`LogicalUnit::path`].
    Medium(Access),
}

impl<B: Backend> LogicalUnit<B> {
    /// A unit with `backend` in it, which it claims. Only a CD-ROM drive can be empty.
    ///
    /// # Errors
    /// Where the back-end is in use, fails, or does not fit.
    pub fn new(setup: Setup, backend: impl Into<Option<B>>) -> Result<Self, UnitError> {
        let medium = backend.into().map(|backend| Medium::new(&setup, backend));
        let medium = medium.transpose()?;
        let cached = medium.as_ref().is_none_or(|medium| medium.write_back);
        let default = Modes {
            write_back: setup.write_cache.unwrap_or(cached),
            descriptor_sense: false,
        };
        Ok(Self {
            setup,
            attentions: Attentions::new(),
            generation: AtomicU32::new(0),
            state: Mutex::new(State {
                medium: medium.map(Arc::new),
                tray: Tray::default(),
                stopped: false,
                reservation: Reservation::default(),
                watcher: None,
            }),
            default,
            write_back: AtomicBool::new(default.write_back),
            descriptor_sense: AtomicBool::new(default.descriptor_sense),
            exclusive: Arc::default(),
            failures: Failures::default(),
        })
    }

    /// The same unit, whose failed commands are judged by `policy`; see [`Failures::appoint`].
    #[must_use]
    pub fn judged(
        self,
        policy: ErrorPolicy,
        witness: impl Fn(&Failure<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.failures.appoint(policy, witness);
        self
    }

    /// Begins `cdb`, and ends it if it does not concern the medium. `luns` are those of its target.
    pub fn start<G: MemoryGuard>(
        &self,
        cdb: &Cdb,
        buffers: &mut impl Buffers<G>,
        luns: &mut dyn FnMut() -> Vec<Lun>,
    ) -> Begun {
        let command = match Command::parse(cdb, self.setup.kind.is_cdrom()) {
            Ok(command) => command,
            Err(sense) => return Begun::Ended(sense.into()),
        };
        if !command.ignores_attention()
            && let Some(attention) = self.attentions.take()
        {
            return Begun::Ended(attention.into());
        }
        match command {
            Command::Medium(operation) => Begun::Medium(Access(operation)),
            command => {
                let ending = self.execute(command, buffers, luns);
                Begun::Ended(ending.unwrap_or_else(Ending::from))
            }
        }
    }

    /// The disk has `size` bytes from now on. The back-end must have at least as many: one that
    /// grows does so before, one that shrinks afterwards.
    ///
    /// # Errors
    /// [`UnitError::Length`] where that is no number of whole blocks.
    pub fn resize(&self, size: u64) -> Result<(), UnitError> {
        if let Some(medium) = &self.state().medium {
            medium.resize(size)?;
        }
        self.attentions.raise(Attention::CapacityChanged);
        Ok(())
    }
}

impl<B> LogicalUnit<B> {
    /// How it was set up.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Has the initiator hear of `attention` with its next command.
    pub fn raise(&self, attention: Attention) {
        self.attentions.raise(attention);
    }

    /// LOGICAL UNIT RESET (SAM-5 section 6.3.3), once its tasks have been aborted: modes are the
    /// default ones, the tray is not locked, and the initiator hears of it by `attention`.
    pub fn reset(&self, attention: Attention) {
        let mut state = self.state();
        let started = std::mem::take(&mut state.stopped);
        state.tray.locked = false;
        if started {
            self.generation.fetch_add(1, Ordering::Release);
        }
        drop(state);
        self.set_modes(self.default);
        self.attentions.replace(attention);
    }

    /// Back to what it was when it was switched on: a reset that reservations do not outlive.
    pub fn power_on(&self) {
        self.reset(Attention::PowerOn);
        self.state().reservation = Reservation::default();
    }

    /// Sense data in the format that the initiator has chosen (D_SENSE).
    pub fn encode(&self, sense: Sense) -> SenseBytes {
        match self.descriptor_sense.load(Ordering::Relaxed) {
            true => sense.descriptor(),
            false => sense.fixed(),
        }
    }

    /// Whether a write that begins now must be stable when it ends.
    #[inline]
    pub(crate) fn writes_through(&self) -> bool {
        !self.write_back.load(Ordering::Relaxed)
    }

    pub(crate) fn modes(&self) -> Modes {
        Modes {
            write_back: self.write_back.load(Ordering::Relaxed),
            descriptor_sense: self.descriptor_sense.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn set_modes(&self, modes: Modes) {
        let Modes {
            write_back,
            descriptor_sense,
        } = modes;
        self.write_back.store(write_back, Ordering::Relaxed);
        self.descriptor_sense
            .store(descriptor_sense, Ordering::Relaxed);
    }

    /// Whoever panicked with the lock has left something whole.
    pub(crate) fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The medium, if it can be accessed.
    pub(crate) fn ready(&self) -> Result<Arc<Medium<B>>, Sense> {
        self.state().ready()
    }
}

impl<B: Backend> LogicalUnit<B> {
    fn execute<G: MemoryGuard>(
        &self,
        command: Command,
        buffers: &mut impl Buffers<G>,
        luns: &mut dyn FnMut() -> Vec<Lun>,
    ) -> Result<Ending, Sense> {
        let (bytes, room) = match command {
            Command::TestUnitReady => return self.ready().map(|_| Ending::good(0)),
            Command::RequestSense { descriptor, room } => (self.request_sense(descriptor), room),
            Command::Inquiry { page, room } => (self.inquiry(page)?, room),
            Command::ReportLuns { select, room } => {
                self.attentions.clear(Attention::LunsChanged);
                return Ok(report_luns(select, room, buffers, &luns()));
            }
            Command::ModeSense(wanted) => {
                let bytes = mode::sense(wanted, self.modes(), self.default, self.facts())?;
                (bytes, wanted.room)
            }
            Command::ModeSelect { long, len } => return self.mode_select(long, len, buffers),
            Command::StartStop(motion) => return self.start_stop(motion),
            Command::PreventAllow { prevent } => {
                self.lock_tray(prevent);
                return Ok(Ending::good(0));
            }
            Command::ReadCapacity10 => (self.capacity()?, CAPACITY),
            Command::ReadCapacity16 { room } => (self.long_capacity()?, room),
            Command::LbaStatus { lba, room } => (self.lba_status(lba)?, room),
            Command::PersistentIn { action, room } => {
                (self.state().reservation.answer(action), room)
            }
            Command::PersistentOut {
                action,
                scope_and_type,
                len,
            } => return Ok(self.persistent_out(action, scope_and_type, len, buffers)),
            Command::SupportedOpcodes(wanted) => {
                let cdrom = self.setup.kind.is_cdrom();
                (supported::opcodes(wanted, cdrom)?, wanted.room)
            }
            Command::SupportedTaskManagement { room } => (supported::task_management(), room),
            command => return self.multimedia(command, buffers),
        };
        Ok(reply(buffers, &bytes, room))
    }

    /// REQUEST SENSE (SPC-4 section 6.39): a pending unit attention, or why the unit is not ready.
    fn request_sense(&self, descriptor: bool) -> Vec<u8> {
        let pending = self.attentions.take();
        let sense = pending
            .or_else(|| self.ready().err())
            .unwrap_or(Sense::NONE);
        let bytes = match descriptor {
            true => sense.descriptor(),
            false => sense.fixed(),
        };
        bytes.as_ref().to_vec()
    }

    fn inquiry(&self, page: Option<u8>) -> Result<Vec<u8>, Sense> {
        match page {
            None => Ok(inquiry::standard(&self.setup)),
            Some(code) => vital::page(&self.setup, self.block_size(), code),
        }
    }

    fn mode_select<G: MemoryGuard>(
        &self,
        long: bool,
        len: u32,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Ending, Sense> {
        let list = match parameters(buffers, len) {
            Ok(list) => list,
            Err(ending) => return Ok(ending),
        };
        let modes = mode_select::parse(&list, long, self.modes(), self.facts())?;
        self.set_modes(modes);
        Ok(Ending::good(len))
    }

    /// START STOP UNIT (SBC-3 section 5.25).
    fn start_stop(&self, motion: Motion) -> Result<Ending, Sense> {
        match motion {
            Motion::Start => self.set_stopped(false),
            Motion::Stop => self.set_stopped(true),
            Motion::Load => self.load(),
            Motion::Eject => self.eject()?,
        }
        Ok(Ending::good(0))
    }

    fn set_stopped(&self, stopped: bool) {
        let before = std::mem::replace(&mut self.state().stopped, stopped);
        if before != stopped {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// READ CAPACITY (10): the last block, or that it takes the long form to say.
    fn capacity(&self) -> Result<Vec<u8>, Sense> {
        let medium = self.ready()?;
        let last = medium.blocks().saturating_sub(1);
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        Ok([last, medium.block.logical].map(u32::to_be_bytes).concat())
    }

    /// READ CAPACITY (16) (SBC-3 section 5.16): thin, and what is unmapped reads as anything.
    fn long_capacity(&self) -> Result<Vec<u8>, Sense> {
        let medium = self.ready()?;
        let BlockSize { logical, physical } = medium.block;
        let last = medium.blocks().saturating_sub(1);
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(logical.to_be_bytes());
        bytes.extend([0, (physical / logical).ilog2() as u8, LBPME]);
        bytes.resize(32, 0);
        Ok(bytes)
    }

    /// GET LBA STATUS (SBC-3 section 5.6): as far as is known here, everything is mapped.
    fn lba_status(&self, lba: u64) -> Result<Vec<u8>, Sense> {
        let medium = self.ready()?;
        medium.range(Extent { lba, blocks: 1 })?;
        let blocks = u32::try_from(medium.blocks() - lba).unwrap_or(u32::MAX);
        let mut bytes = 20_u32.to_be_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(lba.to_be_bytes());
        bytes.extend(blocks.to_be_bytes());
        bytes.extend([0; 4]);
        Ok(bytes)
    }

    fn persistent_out<G: MemoryGuard>(
        &self,
        action: u8,
        scope_and_type: u8,
        len: u32,
        buffers: &mut impl Buffers<G>,
    ) -> Ending {
        match parameters(buffers, len) {
            Err(ending) => ending,
            Ok(list) => {
                let reservation = &mut self.state().reservation;
                reservation.change(action, scope_and_type, &list)
            }
        }
    }

    fn facts(&self) -> mode::Facts {
        let state = self.state();
        let medium = state.ready().ok();
        mode::Facts {
            cdrom: self.setup.kind.is_cdrom(),
            locked: state.tray.locked,
            read_only: medium.as_ref().is_some_and(|medium| medium.read_only),
            dpofua: self.setup.dpofua,
            blocks: medium.map(|medium| (medium.blocks(), medium.block.logical)),
        }
    }

    fn block_size(&self) -> BlockSize {
        let medium = self.state().medium.clone();
        let size = self.setup.logical_block.max(512);
        medium.map_or(
            BlockSize {
                logical: size,
                physical: size,
            },
            |medium| medium.block,
        )
    }
}

impl<B> State<B> {
    fn ready(&self) -> Result<Arc<Medium<B>>, Sense> {
        if self.tray.open {
            return Err(Sense::TRAY_OPEN);
        }
        let medium = self.medium.as_ref().ok_or(Sense::NO_MEDIUM)?;
        match self.stopped {
            true => Err(Sense::STOPPED),
            false => Ok(medium.clone()),
        }
    }
}

/// Bytes of READ CAPACITY (10) data.
const CAPACITY: u32 = 8;
/// Logical block provisioning management is enabled.
const LBPME: u8 = 0x80;
