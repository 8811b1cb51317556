//! The properties of QEMU's `virtio-serial`, `virtconsole` and `virtserialport` devices.

use virtio_device::props::PropError;

use crate::queues::MAX_PORTS;

virtio_device::props! {
    /// Properties of the device that carries the ports.
    pub struct SerialProps {
        /// Number of ports that there can be, from 1 to 511.
        "max_ports" => max_ports: u32 = 31,
        /// Offer a character output that works before the driver has set anything up.
        "emergency-write" => emergency_write: bool = true,
        /// Offer the size of the terminal behind the consoles; 0 by 0 characters until it is known.
        "console-size" => console_size: bool = false,
    }
}

virtio_device::props! {
    /// Properties of one port.
    pub struct PortProps {
        /// Back-end of the port, by the id that the VMM knows it under.
        "chardev" => chardev: Option<String> = None,
        /// Name by which the guest finds the port, at most 255 bytes.
        "name" => name: Option<String> = None,
        /// Number of the port; 4294967295 picks the first that is free.
        "nr" => nr: u32 = ANY_NUMBER,
    }
}

impl SerialProps {
    /// Checks what the types of the properties do not.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn check(&self) -> Result<(), PropError> {
        let Self {
            max_ports,
            emergency_write: _,
            console_size: _,
        } = self;
        if (1..=u32::from(MAX_PORTS)).contains(max_ports) {
            return Ok(());
        }
        Err(PropError::Value {
            name: "max_ports",
            value: max_ports.to_string(),
            accepts: "a number from 1 to 511",
        })
    }
}

impl PortProps {
    /// Checks what the types of the properties do not. What depends on the other ports of a device
    /// is checked by [`Serial::new`](crate::Serial::new).
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn check(&self) -> Result<(), PropError> {
        let Self {
            chardev: _,
            name,
            nr: _,
        } = self;
        match name {
            Some(name) if name.len() > MAX_NAME || name.contains('\0') => Err(PropError::Value {
                name: "name",
                value: name.clone(),
                accepts: "at most 255 bytes, none of them NUL",
            }),
            _ => Ok(()),
        }
    }
}

/// The `nr` of a port that leaves the choice to the device.
pub(crate) const ANY_NUMBER: u32 = u32::MAX;
const MAX_NAME: usize = 255;
