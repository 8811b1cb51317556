//! A disk whose size changes while it is in use.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_device::{ConfigCell, DeviceHost};

use crate::limits::SECTOR;
use crate::shared::Shared;
use crate::{BlkError, layout};

/// Changes the size of a [`Blk`](crate::Blk), wherever that is by now.
#[derive(Clone)]
pub struct Resizer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Arc<ConfigCell>,
    pub(crate) host: DriverBell,
}

/// How the driver is told of changes, while there is one.
#[derive(Clone, Default)]
pub(crate) struct DriverBell(Arc<Mutex<Option<Arc<dyn DeviceHost>>>>);

impl Resizer {
    /// Tells the driver that the disk has `size` bytes from now on. The back-end must have at
    /// least as many: one that grows does so before, one that shrinks afterwards.
    ///
    /// # Errors
    /// [`BlkError::Length`] where that is not a number of whole logical blocks,
    /// [`BlkError::Zones`] where the disk is zoned: it has as many zones as at the start.
    pub fn resize(&self, size: u64) -> Result<(), BlkError> {
        if self.shared.limits.zones.is_some() {
            return Err(BlkError::Zones);
        }
        let multiple = self.shared.limits.logical_block;
        if !size.is_multiple_of(multiple) {
            return Err(BlkError::Length {
                size,
                multiple: multiple as u32,
            });
        }
        self.shared.limits.capacity.store(size, Ordering::Release);
        let sectors = (size / SECTOR).to_le_bytes();
        if self.config.write(layout::CAPACITY.offset, &sectors)
            && let Some(host) = &*self.host.lock()
        {
            host.config_changed();
        }
        Ok(())
    }
}

impl DriverBell {
    pub(crate) fn connect(&self, host: Option<Arc<dyn DeviceHost>>) {
        *self.lock() = host;
    }

    /// Whoever panicked with the lock has left a bell or none.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn DeviceHost>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
