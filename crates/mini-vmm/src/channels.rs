//! Channel I/O: devices of the table on a channel subsystem, which another machine than mini-vmm's
//! own PC brings along.

use std::sync::Arc;

use virtio_ccw::css::ChannelSubsystem;
use virtio_ccw::{CcwParts, CcwProps, CcwTransport, Error};

use crate::memory::SharedMemory;

/// A channel subsystem with its devices.
pub struct Channels {
    css: ChannelSubsystem,
    devices: Vec<(String, Arc<CcwTransport<SharedMemory>>)>,
}

impl Channels {
    /// No device is attached yet.
    pub fn new(css: ChannelSubsystem) -> Self {
        Self {
            css,
            devices: Vec::new(),
        }
    }

    /// Attaches a device called `name`.
    ///
    /// # Errors
    /// As [`CcwTransport::new`].
    pub fn attach(
        &mut self,
        name: String,
        props: &CcwProps,
        parts: CcwParts<SharedMemory>,
    ) -> Result<(), Error> {
        let transport = CcwTransport::new(&self.css, props, parts)?;
        self.devices.push((name, transport));
        Ok(())
    }

    /// Detaches the device called `name`, when what it had in flight is done. Returns whether
    /// there was one.
    pub fn detach(&mut self, name: &str) -> bool {
        let index = self.devices.iter().position(|(own, _)| own == name);
        let device = index.map(|index| self.devices.swap_remove(index));
        if let Some((_, transport)) = &device {
            transport.detach();
        }
        device.is_some()
    }
}
