//! A logical unit: the device server.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guest_io::MemoryGuard;
use guest_io::block::{Backend, ErrorPolicy, Failure, Failures};

use crate::attention::Attentions;
use crate::command::Command;
use crate::medium::Medium;
use crate::mode::Modes;
use crate::reservation::Reservation;
use crate::tray::{Tray, Watcher};
use crate::{Access, Attention, Buffers, Cdb, Ending, Lun, Sense, SenseBytes, Setup, UnitError};

/// A disk or a CD-ROM drive with one initiator. Shared by all who bring it commands.
pub struct LogicalUnit<B> {
    pub(crate) setup: Setup,
    pub(crate) attentions: Attentions,
    /// Changes whenever a medium that was there may not be any more.
    pub(crate) generation: AtomicU32,
    state: Mutex<State<B>>,
    pub(crate) default: Modes,
    write_back: AtomicBool,
    descriptor_sense: AtomicBool,
    /// Set while a COMPARE AND WRITE is in progress.
    pub(crate) exclusive: Arc<AtomicBool>,
    /// Held by what commands look at data in, too.
    pub(crate) scratches: Arc<()>,
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
            scratches: Arc::default(),
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

impl<B> State<B> {
    pub(crate) fn ready(&self) -> Result<Arc<Medium<B>>, Sense> {
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
