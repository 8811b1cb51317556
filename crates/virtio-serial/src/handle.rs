//! What the VMM can change while the device runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use virtio_device::ConfigCell;
use virtio_device::props::PropError;

use crate::roster::Roster;
use crate::{Port, config_space};

/// The VMM's hold on a [`Serial`](crate::Serial) device that a transport owns. Clones hold the same
/// device.
#[derive(Clone)]
pub struct SerialHandle {
    config: Arc<ConfigCell>,
    inbox: Arc<Inbox>,
    roster: Arc<Roster>,
}

impl SerialHandle {
    pub(crate) fn new(config: Arc<ConfigCell>, inbox: Arc<Inbox>, roster: Arc<Roster>) -> Self {
        Self {
            config,
            inbox,
            roster,
        }
    }

    /// Adds `port`, and returns its number. The driver is told by a DEVICE_ADD message (section
    /// 5.3.6.2).
    ///
    /// # Errors
    /// [`PropError::Value`] for a property that is not acceptable beside those of the other ports.
    pub fn add_port(&self, port: Port) -> Result<u16, PropError> {
        let number = self.roster.entries().enter(port)?;
        self.inbox.put(|_| ());
        Ok(number)
    }

    /// Takes the port `number` away; false if there is none. The driver is told by a DEVICE_REMOVE
    /// message. Its back-end is dropped when the worker has let go of it, which is at once while no
    /// driver uses the device.
    pub fn remove_port(&self, number: u16) -> bool {
        let there = self.roster.entries().leave(number);
        self.inbox.put(|_| ());
        there
    }

    /// The terminal behind the consoles has another size, in characters. The driver is told, by
    /// a change of the configuration space (section 5.3.4) and, with
    /// VIRTIO_CONSOLE_F_MULTIPORT, a RESIZE message to each console (section 5.3.6.2).
    ///
    /// Drivers only take notice of a device that was made [`with_size`](crate::Serial::with_size).
    pub fn set_size(&self, cols: u16, rows: u16) {
        if config_space::set_size(&self.config, cols, rows) {
            self.inbox.put(|letters| letters.resized = true);
        }
    }
}

/// What others have for the worker, and the descriptor that wakes it.
pub(crate) struct Inbox {
    wake: OwnedFd,
    letters: Mutex<Letters>,
}

/// What waits in an [`Inbox`].
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// The size of consoles changed.
    pub(crate) resized: bool,
    /// Characters that were written to the configuration space.
    pub(crate) emergency: Vec<u8>,
}

impl Inbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            wake: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            letters: Mutex::default(),
        })
    }

    /// Writes to the worker, which finds it at its next activation if it is not at work.
    pub(crate) fn put(&self, write: impl FnOnce(&mut Letters)) {
        write(&mut self.letters());
        // A counter that is full has woken the worker already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// A character for the first console. A guest that writes faster than it is printed loses
    /// some.
    pub(crate) fn put_character(&self, character: u8) {
        self.put(|letters| {
            if letters.emergency.len() < MAX_EMERGENCY {
                letters.emergency.push(character);
            }
        });
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> Letters {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        std::mem::take(&mut *self.letters())
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

const MAX_EMERGENCY: usize = 4096;
