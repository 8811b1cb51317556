//! Generic Event Device (ACPI 6.5, section 5.6.9): how a machine without general-purpose events of
//! fixed hardware has its guest run a method.
//!
//! The one register has a bit for each kind of event. The interrupt is high while any of them is
//! set, so that an event from before the guest's driver is not lost; reading takes them all.

use std::sync::{Arc, Mutex, PoisonError};

use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioAddressOffset};

use crate::layout;
use crate::wires::Lines;

/// The register, and the interrupt that has the guest read it.
pub struct EventDevice {
    lines: Arc<dyn Lines>,
    pending: Mutex<u8>,
}

/// A kind of event, by its bit in the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BoardEvent {
    /// Devices came to the root bus, or are to leave it.
    PciHotplug = 1 << 0,
    /// The power button was pressed.
    PowerButton = 1 << 1,
}

impl EventDevice {
    /// Number of ports.
    pub const SIZE: u16 = 1;

    /// A device without events, whose interrupt is [`layout::EVENT_GSI`] of `lines`.
    pub fn new(lines: Arc<dyn Lines>) -> Self {
        Self {
            lines,
            pending: Mutex::default(),
        }
    }

    /// Tells the guest that `event` happened.
    pub fn raise(&self, event: BoardEvent) {
        self.change(|pending| pending | event as u8);
    }

    /// Takes all events, as a read of the register does. A reset forgets them.
    pub fn take(&self) -> u8 {
        self.change(|_| 0)
    }

    /// Returns the events from before.
    fn change(&self, change: impl FnOnce(u8) -> u8) -> u8 {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *pending;
        *pending = change(before);
        let (was, is) = (before != 0, *pending != 0);
        if was != is && self.lines.drive(layout::EVENT_GSI, is).is_err() {
            log::debug!("the host refuses interrupt {}", layout::EVENT_GSI);
        }
        before
    }
}

impl DevicePio for EventDevice {
    fn pio_read(&self, _: PioAddress, _: PioAddressOffset, data: &mut [u8]) {
        data.fill(0);
        if let Some(byte) = data.first_mut() {
            *byte = self.take();
        }
    }

    fn pio_write(&self, _: PioAddress, _: PioAddressOffset, _: &[u8]) {}
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;

    use vmm_sys_util::eventfd::EventFd;

    use super::*;

    #[derive(Default)]
    pub(crate) struct Levels(Mutex<Vec<(u32, bool)>>);

    impl Lines for Levels {
        fn edge(&self, _: u32) -> io::Result<EventFd> {
            EventFd::new(0)
        }

        fn drive(&self, gsi: u32, high: bool) -> io::Result<()> {
            self.0.lock().unwrap().push((gsi, high));
            Ok(())
        }
    }

    fn read(device: &EventDevice) -> u8 {
        let mut data = [0];
        device.pio_read(PioAddress(0), 0, &mut data);
        data[0]
    }

    #[test]
    fn the_interrupt_is_high_until_the_events_are_taken() {
        let lines = Arc::new(Levels::default());
        let device = EventDevice::new(Arc::clone(&lines) as _);
        let levels = || std::mem::take(&mut *lines.0.lock().unwrap());
        assert_eq!(read(&device), 0);
        assert_eq!(levels(), []);
        device.raise(BoardEvent::PciHotplug);
        device.raise(BoardEvent::PciHotplug);
        assert_eq!(levels(), [(layout::EVENT_GSI, true)]);
        assert_eq!(read(&device), BoardEvent::PciHotplug as u8);
        assert_eq!(read(&device), 0);
        assert_eq!(levels(), [(layout::EVENT_GSI, false)]);
        device.raise(BoardEvent::PciHotplug);
        device.take();
        device.pio_read(PioAddress(0), 0, &mut []);
        device.pio_write(PioAddress(0), 0, &[0xff]);
        assert_eq!(read(&device), 0);
    }
}
