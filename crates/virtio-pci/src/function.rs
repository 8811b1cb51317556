//! The transport as a PCI function: who serves which access.

use virtio_device::AddressSpace;
use vm_pci::{BarMap, ConfigSpace, Effects, FunctionInfo, IoAddr, PciFunction};

use crate::common::{self, Common};
use crate::layout::Structure;
use crate::legacy::{self, Legacy};
use crate::register;
use crate::{PciTransport, capability};

impl<AS: AddressSpace> PciFunction for PciTransport<AS> {
    fn info(&self) -> FunctionInfo {
        self.function.info()
    }

    fn read_config(&self, offset: u16, data: &mut [u8]) {
        if self.reaches_window(offset, data.len()) {
            self.read_window();
        }
        self.function.read_config(offset, data);
    }

    fn write_config(&self, offset: u16, data: &[u8]) -> Effects {
        let effects = self.function.write_config(offset, data);
        self.bus.interrupt.follow();
        if self.reaches_window(offset, data.len()) {
            self.write_window();
        }
        effects
    }

    fn decode(&self) -> BarMap {
        self.function.decode()
    }

    fn read_bar(&self, bar: u8, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        match self.layout.at(bar, offset) {
            Some((Structure::Common, at)) => self.read_common(at, data),
            Some((Structure::Isr, 0)) => self.read_isr(data),
            Some((Structure::Device, at)) => self.config.read(at, data),
            Some((Structure::Msix, at)) => self.read_msix(at, data),
            Some((Structure::Legacy, at)) => self.read_legacy(at, data),
            _ => {}
        }
    }

    fn write_bar(&self, bar: u8, offset: u64, data: &[u8]) {
        match self.layout.at(bar, offset) {
            Some((Structure::Common, at)) => self.write_common(at, data),
            Some((Structure::Device, at)) => self.lock().core.write_config(at, data),
            Some((Structure::Notify, at)) => self.notify(at),
            Some((Structure::NotifyPio, 0)) => self.notify_value(data),
            Some((Structure::Msix, at)) => self.write_msix(at, data),
            Some((Structure::Legacy, at)) => self.write_legacy(at, data),
            _ => {}
        }
    }

    fn bar_mapped(&self, bar: u8, at: Option<IoAddr>) {
        self.bus.doorbells.set_bar(bar, at);
    }

    /// Waits until what is in flight is drained.
    fn reset(&self) {
        // Both under one lock: a driver on another processor starts nothing in between.
        let mut registers = self.lock();
        registers.reset();
        self.function.reset();
    }
}

impl<AS: AddressSpace> PciTransport<AS> {
    fn read_common(&self, at: u64, data: &mut [u8]) {
        register::read(common::REGISTERS, at, data, |register| match register {
            Common::ConfigGeneration => self.config.generation().into(),
            register => self.lock().read_common(register),
        });
    }

    fn write_common(&self, at: u64, data: &[u8]) {
        if let Some(write) = register::written(common::REGISTERS, at, data) {
            self.lock().write_common(write);
        }
    }

    fn read_isr(&self, data: &mut [u8]) {
        data.fill(0);
        if let Some(isr) = data.first_mut() {
            *isr = self.bus.interrupt.take_isr();
        }
    }

    fn read_msix(&self, at: u64, data: &mut [u8]) {
        if let Some(msix) = self.function.msix() {
            msix.read_bar(at, data);
        }
    }

    fn write_msix(&self, at: u64, data: &[u8]) {
        if let Some(msix) = self.function.msix() {
            msix.write_bar(at, data);
        }
    }

    fn read_legacy(&self, at: u64, data: &mut [u8]) {
        let msix = self.has_msix_enabled();
        if let Some(at) = at.checked_sub(legacy::config_offset(msix)) {
            self.config.read(at, data);
            return;
        }
        register::read(
            legacy::registers(msix),
            at,
            data,
            |register| match register {
                Legacy::IsrStatus => self.bus.interrupt.take_isr().into(),
                register => self.lock().read_legacy(register),
            },
        );
    }

    fn write_legacy(&self, at: u64, data: &[u8]) {
        let msix = self.has_msix_enabled();
        if let Some(at) = at.checked_sub(legacy::config_offset(msix)) {
            self.lock().core.write_config(at, data);
            return;
        }
        match register::written(legacy::registers(msix), at, data) {
            Some(write) if write.register == Legacy::QueueNotify => self.notify_value(data),
            Some(write) => self.lock().write_legacy(write),
            None => {}
        }
    }

    /// The place tells the queue; without VIRTIO_F_NOTIFICATION_DATA the value tells nothing.
    fn notify(&self, at: u64) {
        if let Ok(queue) = u32::try_from(at / u64::from(self.layout.multiplier)) {
            self.kicks.notify(queue);
        }
    }

    fn notify_value(&self, data: &[u8]) {
        if let Ok(queue) = data.try_into() {
            self.kicks.notify(u16::from_le_bytes(queue).into());
        }
    }

    fn has_msix_enabled(&self) -> bool {
        self.function.msix().is_some_and(|msix| msix.enabled())
    }

    /// Whether an access touches PCI_CFG's data register.
    fn reaches_window(&self, offset: u16, length: usize) -> bool {
        let end = usize::from(offset).saturating_add(length);
        let reaches = |data: u16| {
            let data = usize::from(data);
            data < end && usize::from(offset) < data + 4
        };
        self.window.is_some_and(reaches)
    }

    /// Fills PCI_CFG's data register from where its other registers point (section 4.1.4.9.1).
    fn read_window(&self) {
        let Some((bar, offset, length)) = self.window_target() else {
            return;
        };
        let mut bytes = [0; 4];
        if let (Some(bytes), Some(data)) = (bytes.get_mut(..length), self.window) {
            self.read_bar(bar, offset, bytes);
            self.function.with_config(|config| config.set(data, bytes));
        }
    }

    fn write_window(&self) {
        let (Some((bar, offset, length)), Some(data)) = (self.window_target(), self.window) else {
            return;
        };
        let bytes = self.function.with_config(|config| config.u32(data));
        if let Some(bytes) = bytes.to_le_bytes().get(..length) {
            self.write_bar(bar, offset, bytes);
        }
    }

    /// BAR, offset and length that PCI_CFG points to, if that is an access that a bus could make:
    /// 1, 2 or 4 bytes, aligned, inside the BAR.
    fn window_target(&self) -> Option<(u8, u64, usize)> {
        let data = self.window?;
        let (bar, offset, length) = self
            .function
            .with_config(|config| window_registers(config, data - capability::DATA));
        let size = self.info().bars.at(bar)?.size();
        let access = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length);
        let inside = offset.checked_add(length)? <= size;
        (access && inside).then_some((bar, offset, length as usize))
    }
}

fn window_registers(config: &ConfigSpace, at: u16) -> (u8, u64, u64) {
    let bar = config.u8(at + capability::BAR);
    let offset = config.u32(at + capability::OFFSET);
    let length = config.u32(at + capability::BYTES);
    (bar, offset.into(), length.into())
}
