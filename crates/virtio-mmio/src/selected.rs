//! The registers that need the core, and the selectors in front of it.

use virtio_bus::{Core, QueueRegs, Status};
use virtio_device::{AddressSpace, Error, Result, RingArea};

use crate::MmioState;
use crate::interrupt::EVENTS;
use crate::legacy::LegacyRegisters;
use crate::register::{Half, Register};

/// The core of a device behind its selector registers: what the transport keeps under its lock.
pub(crate) struct Selected<AS: AddressSpace> {
    pub(crate) core: Core<AS>,
    legacy_interface: bool,
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
    legacy: LegacyRegisters,
}

impl<AS: AddressSpace> Selected<AS> {
    pub(crate) fn new(core: Core<AS>, legacy_interface: bool) -> Self {
        Self {
            legacy_interface,
            device_features_sel: 0,
            driver_features_sel: 0,
            queue_sel: 0,
            legacy: LegacyRegisters::new(core.queue_count()),
            core,
        }
    }

    pub(crate) fn read(&mut self, register: Register) -> u32 {
        match register {
            Register::DeviceFeatures => self.core.offered().page(self.device_features_sel),
            Register::QueueSizeMax => self.queue(|_, queue| queue.max_size.get().into()),
            Register::QueuePfn => self.queue(|legacy, queue| legacy.pfn(queue.descriptor)),
            Register::QueueReady => self.queue(|_, queue| queue.enabled.into()),
            Register::QueueReset => self.queue(|_, queue| queue.resetting.into()),
            Register::Status => self.core.status().0.into(),
            _ => 0,
        }
    }

    pub(crate) fn write(&mut self, register: Register, value: u32) {
        match register {
            Register::DeviceFeaturesSel => self.device_features_sel = value,
            Register::DriverFeaturesSel => self.driver_features_sel = value,
            Register::DriverFeatures => self
                .core
                .write_driver_features(self.driver_features_sel, value),
            Register::GuestPageSize => self.legacy.set_page_size(value),
            Register::QueueSel => self.queue_sel = value,
            Register::Status => self.core.write_status(Status(value as u8)),
            _ => {
                if let Ok(queue) = u16::try_from(self.queue_sel) {
                    self.write_queue(queue, register, value);
                }
            }
        }
    }

    /// Resets device and registers and waits until that is done: a driver of this transport may
    /// take the reset for complete when the write returns.
    pub(crate) fn reset(&mut self) {
        self.core.write_status(Status::RESET);
        self.core.wait_reset();
        let Self {
            core: _,
            legacy_interface: _,
            device_features_sel,
            driver_features_sel,
            queue_sel,
            legacy,
        } = self;
        *device_features_sel = 0;
        *driver_features_sel = 0;
        *queue_sel = 0;
        legacy.reset();
    }

    /// As [`reset`](Self::reset), for a machine that restarts: GuestPageSize as well.
    pub(crate) fn hard_reset(&mut self) {
        self.reset();
        self.legacy = LegacyRegisters::new(self.core.queue_count());
    }

    pub(crate) fn save(&self, interrupt_status: u32) -> Result<MmioState> {
        let Self {
            core,
            legacy_interface,
            device_features_sel,
            driver_features_sel,
            queue_sel,
            legacy,
        } = self;
        Ok(MmioState {
            version: MmioState::VERSION,
            core: core.save()?,
            legacy: *legacy_interface,
            device_features_sel: *device_features_sel,
            driver_features_sel: *driver_features_sel,
            queue_sel: *queue_sel,
            interrupt_status,
            guest_page_size: legacy.page_size(),
            queue_align: legacy.align().to_vec(),
        })
    }

    /// On an error, nothing has changed.
    pub(crate) fn restore(&mut self, state: &MmioState) -> Result<()> {
        if state.version != MmioState::VERSION {
            return Err(Error::State("unknown version of the transport"));
        }
        if state.legacy != self.legacy_interface {
            return Err(Error::State("the other interface of the transport"));
        }
        if state.interrupt_status & !EVENTS != 0 {
            return Err(Error::State("unknown interrupt status bits"));
        }
        let legacy = self
            .legacy
            .restore(state.guest_page_size, &state.queue_align)
            .ok_or(Error::State("legacy registers that cannot be"))?;
        self.core.restore(&state.core)?;
        self.legacy = legacy;
        self.device_features_sel = state.device_features_sel;
        self.driver_features_sel = state.driver_features_sel;
        self.queue_sel = state.queue_sel;
        Ok(())
    }

    fn write_queue(&mut self, queue: u16, register: Register, value: u32) {
        match register {
            // A size that does not fit is as wrong as 0, which no queue is started with.
            Register::QueueSize => self
                .core
                .set_queue_size(queue, u16::try_from(value).unwrap_or_default()),
            Register::QueueArea(which, half) => self.set_area(queue, which, half, value),
            Register::QueueReady if value == 1 => self.core.enable_queue(queue),
            Register::QueueReady if value == 0 => self.disable(queue),
            Register::QueueReset if value == 1 => self.core.reset_queue(queue),
            Register::QueueAlign => self.legacy.set_align(queue, value),
            Register::QueuePfn if value == 0 => self.disable(queue),
            Register::QueuePfn => {
                let (address, align) = (self.legacy.address(value), self.legacy.align_of(queue));
                self.core.set_legacy_queue(queue, address, align);
            }
            _ => {}
        }
    }

    fn set_area(&mut self, queue: u16, which: RingArea, half: Half, value: u32) {
        self.core
            .set_queue_address(queue, which, half.place(value), half.mask());
    }

    /// The driver stops using a queue: it may reuse the ring's memory as soon as QueueReady reads
    /// 0 (section 4.2.2.2), or the write to QueuePFN returns.
    fn disable(&mut self, queue: u16) {
        if self.core.queue(queue).is_some_and(|regs| regs.enabled) {
            self.core.disable_queue(queue);
        }
    }

    /// Reads from the registers of the selected queue; 0 where there is none.
    fn queue(&mut self, read: impl FnOnce(&LegacyRegisters, &QueueRegs) -> u32) -> u32 {
        let Ok(queue) = u16::try_from(self.queue_sel) else {
            return 0;
        };
        let regs = self.core.queue(queue);
        regs.map_or(0, |regs| read(&self.legacy, regs))
    }
}
