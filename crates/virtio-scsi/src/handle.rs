//! What the VMM can change while the device runs.

use std::sync::Arc;

use guest_io::block::Backend;
use scsi_target::{Attention, LogicalUnit, UnitError};
use virtio_device::Features;
use virtio_device::props::PropError;

use crate::device::{CHANGE, HOTPLUG};
use crate::event::Event;
use crate::office::Office;
use crate::roster::luns_of;
use crate::{Address, Wish};

/// The VMM's hold on a [`Scsi`](crate::Scsi) device that a transport owns. Clones hold the same
/// device.
pub struct ScsiHandle<B> {
    pub(crate) office: Arc<Office<B>>,
}

impl<B> Clone for ScsiHandle<B> {
    fn clone(&self) -> Self {
        Self {
            office: self.office.clone(),
        }
    }
}

impl<B: Backend> ScsiHandle<B> {
    /// Puts `unit` on the bus, and returns its place. The driver is told by an event, if it has
    /// negotiated VIRTIO_SCSI_F_HOTPLUG, and the units beside it have a unit attention.
    ///
    /// # Errors
    /// [`PropError::Value`] where the place is taken or there is none.
    pub fn add(&self, wish: Wish, unit: Arc<LogicalUnit<B>>) -> Result<Address, PropError> {
        let address = self.office.roster.enter(wish, unit)?;
        self.luns_changed(address);
        self.tell(HOTPLUG, Event::Added(address));
        Ok(address)
    }

    /// Takes the unit at `address` off the bus; false if there is none. The driver is told by an
    /// event. Its storage is dropped when the workers have let go of it, which is when its
    /// commands have ended.
    pub fn remove(&self, address: Address) -> bool {
        let there = self.office.roster.leave(address).is_some();
        if there {
            self.luns_changed(address);
            self.tell(HOTPLUG, Event::Removed(address));
        }
        there
    }

    /// The unit at `address`.
    pub fn unit(&self, address: Address) -> Option<Arc<LogicalUnit<B>>> {
        self.office.roster.units().get(&address).cloned()
    }

    /// Gives the disk at `address` another size, in bytes: see [`LogicalUnit::resize`]. The driver
    /// is told by an event, if it has negotiated VIRTIO_SCSI_F_CHANGE.
    ///
    /// # Errors
    /// [`UnitError::Length`] where that is no number of whole blocks.
    pub fn resize(&self, address: Address, size: u64) -> Result<(), UnitError> {
        let Some(unit) = self.unit(address) else {
            return Ok(());
        };
        unit.resize(size)?;
        // Section 5.6.6.3.2: not for multimedia devices.
        if unit.setup().kind != scsi_target::Kind::Cdrom {
            let code = Attention::CapacityChanged.code();
            self.tell(CHANGE, Event::Changed(address, code));
        }
        Ok(())
    }

    /// The host has moved a tray or a medium: workers let go of media that are not there.
    pub fn media_changed(&self) {
        self.office.wake_all();
    }

    fn luns_changed(&self, address: Address) {
        let units = self.office.roster.units();
        for lun in luns_of(&units, address.target) {
            let other = Address { lun, ..address };
            if let Some(unit) = units.get(&other).filter(|_| other != address) {
                unit.raise(Attention::LunsChanged);
            }
        }
    }

    fn tell(&self, feature: Features, event: Event) {
        self.office.events().push(feature, event);
        self.office.wake_all();
    }
}
