//! The tray: what the initiator and the host do with a removable medium.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_io::block::Backend;

use crate::medium::Medium;
use crate::unit::State;
use crate::{Attention, LogicalUnit, Sense, TrayError, UnitError};

/// The tray of a removable medium.
#[derive(Debug, Default)]
pub(crate) struct Tray {
    pub(crate) open: bool,
    /// PREVENT ALLOW MEDIUM REMOVAL.
    pub(crate) locked: bool,
    pub(crate) event: MediaEvent,
}

/// A media event (MMC-6 table 317), until it has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum MediaEvent {
    #[default]
    NoChange = 0,
    EjectRequest = 1,
    NewMedia = 2,
    Removal = 3,
}

/// Called when the tray opens (true) or closes, whoever did it.
pub(crate) type Watcher = Arc<dyn Fn(bool) + Send + Sync>;

impl<B: Backend> LogicalUnit<B> {
    /// Calls `moved` whenever the tray opens (`true`) or closes from now on.
    pub fn watch_tray(&self, moved: impl Fn(bool) + Send + Sync + 'static) {
        self.state().watcher = Some(Arc::new(moved));
    }

    /// Whether the tray is open.
    pub fn is_tray_open(&self) -> bool {
        self.state().tray.open
    }

    /// Whether the initiator has locked the tray.
    pub fn is_tray_locked(&self) -> bool {
        self.state().tray.locked
    }

    /// Whether there is a medium, in the open tray or in the drive.
    pub fn has_medium(&self) -> bool {
        self.state().medium.is_some()
    }

    /// Opens the tray; `force` although the initiator has locked it.
    ///
    /// # Errors
    /// [`TrayError::Locked`], and then the initiator has been asked to open it;
    /// [`TrayError::NotRemovable`].
    pub fn open_tray(&self, force: bool) -> Result<(), TrayError> {
        self.removable()?;
        let locked = {
            let mut state = self.state();
            let locked = state.tray.locked && !force;
            if locked {
                state.tray.event = MediaEvent::EjectRequest;
            }
            locked
        };
        if locked {
            self.attentions.raise(Attention::EjectRequest);
            return Err(TrayError::Locked);
        }
        self.move_tray(true);
        Ok(())
    }

    /// Closes the tray.
    ///
    /// # Errors
    /// [`TrayError::NotRemovable`].
    pub fn close_tray(&self) -> Result<(), TrayError> {
        self.removable()?;
        self.move_tray(false);
        Ok(())
    }

    /// Takes the medium out of the open tray; true if there was one. Those who are using it let go
    /// of it when they look next.
    ///
    /// # Errors
    /// [`TrayError::Closed`], [`TrayError::NotRemovable`].
    pub fn remove_medium(&self) -> Result<bool, TrayError> {
        self.removable()?;
        let mut state = self.open_state()?;
        Ok(state.medium.take().is_some())
    }

    /// Puts a medium into the open tray.
    ///
    /// # Errors
    /// What the tray does not allow, or a medium that does not fit.
    pub fn insert_medium(&self, backend: B) -> Result<(), UnitError> {
        self.removable()?;
        let medium = Medium::new(&self.setup, backend)?;
        let mut state = self.open_state()?;
        if state.medium.is_some() {
            return Err(TrayError::Occupied.into());
        }
        state.medium = Some(Arc::new(medium));
        Ok(())
    }

    /// PREVENT ALLOW MEDIUM REMOVAL.
    pub(crate) fn lock_tray(&self, locked: bool) {
        self.state().tray.locked = locked;
    }

    /// START STOP UNIT with LOEJ and START: closes the tray, locked or not. What has no tray has
    /// nothing to do.
    pub(crate) fn load(&self) {
        // The error is that there is none.
        let _ = self.close_tray();
    }

    /// START STOP UNIT with LOEJ alone: opens the tray, unless the initiator has locked it.
    pub(crate) fn eject(&self) -> Result<(), Sense> {
        if self.removable().is_err() {
            return Ok(());
        }
        let prevented = {
            let tray = &self.state().tray;
            tray.locked && !tray.open
        };
        if prevented {
            return Err(Sense::REMOVAL_PREVENTED);
        }
        self.move_tray(true);
        Ok(())
    }

    fn move_tray(&self, open: bool) {
        let watcher = {
            let mut state = self.state();
            if state.tray.open == open {
                return;
            }
            state.tray.open = open;
            let present = state.medium.is_some();
            state.tray.event = match (open, present) {
                (true, true) => MediaEvent::Removal,
                (false, true) => MediaEvent::NewMedia,
                (_, false) => MediaEvent::NoChange,
            };
            self.generation.fetch_add(1, Ordering::Release);
            state.watcher.clone()
        };
        if !open {
            self.attentions.raise(Attention::MediumChanged);
        }
        if let Some(moved) = watcher {
            moved(open);
        }
    }

    fn removable(&self) -> Result<(), TrayError> {
        match self.setup.kind.is_removable() {
            true => Ok(()),
            false => Err(TrayError::NotRemovable),
        }
    }

    fn open_state(&self) -> Result<std::sync::MutexGuard<'_, State<B>>, TrayError> {
        let state = self.state();
        match state.tray.open {
            true => Ok(state),
            false => Err(TrayError::Closed),
        }
    }
}
