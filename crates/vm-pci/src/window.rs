//! Address windows: registered once with the VMM's `IoManager`, while BARs move inside.

use std::ops::RangeInclusive;

use vm_device::bus::{MmioAddress, MmioAddressOffset, PioAddress, PioAddressOffset};
use vm_device::{DeviceMmio, DevicePio};

use crate::address::{IoAddr, IoRange};
use crate::error::BusError;
use crate::routes::SharedRoutes;

/// Guest addresses that the root complex decodes. A BAR anywhere else is not reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// I/O ports, for example 0xc000 to 0xffff.
    pub pio: Option<RangeInclusive<u16>>,
    /// Memory below 4 GiB.
    pub mmio32: Option<RangeInclusive<u64>>,
    /// Memory above RAM, for 64-bit BARs.
    pub mmio64: Option<RangeInclusive<u64>>,
}

impl Windows {
    /// Whether the whole of `range` lies in one window.
    pub(crate) fn contain(&self, range: IoRange) -> bool {
        let within = |first: u64, last: u64| first <= range.first() && range.last() <= last;
        match range.start() {
            IoAddr::Pio(_) => self
                .pio
                .as_ref()
                .is_some_and(|w| within((*w.start()).into(), (*w.end()).into())),
            IoAddr::Mmio(_) => [&self.mmio32, &self.mmio64]
                .into_iter()
                .flatten()
                .any(|w| within(*w.start(), *w.end())),
        }
    }

    pub(crate) fn check(&self) -> Result<(), BusError> {
        let empty = |window: &Option<RangeInclusive<u64>>| {
            // Neither can hold a length of 2^64.
            window
                .as_ref()
                .is_some_and(|w| w.is_empty() || w.end() - w.start() == u64::MAX)
        };
        if self
            .pio
            .as_ref()
            .is_some_and(|w| w.is_empty() || w.end() - w.start() == u16::MAX)
        {
            return Err(BusError::Window("I/O"));
        }
        let high = |w: &RangeInclusive<u64>| *w.end() > u64::from(u32::MAX);
        if empty(&self.mmio32) || self.mmio32.as_ref().is_some_and(high) {
            return Err(BusError::Window("MMIO32"));
        }
        if empty(&self.mmio64) {
            Err(BusError::Window("MMIO64"))
        } else {
            Ok(())
        }
    }
}

/// The BARs of one address space as a device of the VMM's bus. Register the same object for every
/// window of that space; it goes by absolute address.
pub struct BarWindow {
    routes: SharedRoutes,
}

impl BarWindow {
    pub(crate) fn new(routes: SharedRoutes) -> Self {
        Self { routes }
    }
}

impl DeviceMmio for BarWindow {
    fn mmio_read(&self, base: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.routes.load().read(base.0.checked_add(offset), data);
    }

    fn mmio_write(&self, base: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        self.routes.load().write(base.0.checked_add(offset), data);
    }
}

impl DevicePio for BarWindow {
    fn pio_read(&self, base: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        self.routes
            .load()
            .read(base.0.checked_add(offset).map(u64::from), data);
    }

    fn pio_write(&self, base: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        self.routes
            .load()
            .write(base.0.checked_add(offset).map(u64::from), data);
    }
}
