//! PCI Express root port: a bridge from the root bus to one slot
//! (PCI-to-PCI Bridge 1.2; PCI Express Base 5.0, section 7.5.3).
//!
//! The port knows what it forwards; the functions behind it belong to the
//! [`RootComplex`](crate::RootComplex), which asks. A slot that is off forwards nothing.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use crate::address::{IoAddr, IoRange};
use crate::bar::{Bar, BarMap};
use crate::config::{ConfigSize, ConfigSpace};
use crate::error::ConfigError;
use crate::function::{Effects, FunctionInfo, PciFunction};
use crate::function_core::FunctionCore;
use crate::header::*;
use crate::intx::{InterruptPin, IrqPin};
use crate::lock;
use crate::msix::{MsiSink, MsixLayout};
use crate::pcie::ExpressType;
use crate::slot::{self, Commanded, SlotPower, SlotRegisters};

/// What a root port is made of.
pub struct RootPortConfig {
    /// Identifiers; the class is normally 0x060400.
    pub identity: Identity,
    /// Port number, unique in the complex.
    pub port: u8,
    /// Physical slot number, unique in the chassis; 13 bits.
    pub slot: u16,
    /// Whether functions may come to the slot and leave it while the guest runs. Then what is plugged in
    /// before the guest runs has power after a [`reset`](crate::RootComplex::reset).
    pub hot_plug: bool,
    /// Interrupt messages for the port's own events: one MSI-X vector, in BAR0.
    pub msi: Option<Arc<dyn MsiSink>>,
    /// Interrupt pin for the port's own events.
    pub intx: Option<(InterruptPin, Arc<dyn IrqPin>)>,
}

impl RootPortConfig {
    /// A port with QEMU's identity, the same number for port and slot, without hot-plug and
    /// interrupts.
    pub fn new(number: u8) -> Self {
        Self {
            identity: RootPort::QEMU,
            port: number,
            slot: number.into(),
            hot_plug: false,
            msi: None,
            intx: None,
        }
    }
}

/// A root port and its registers.
pub struct RootPort {
    core: FunctionCore,
    hot_plug: bool,
    /// Whether something is plugged in. Held while registers of the slot are written, so that one
    /// command follows the other.
    present: Mutex<bool>,
}

/// What a bridge forwards to its secondary side, by its registers. A window that is closed, or whose
/// space the command register disables, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeDecode {
    /// Number of the bus directly behind, and the last number behind; `None` before numbering.
    pub buses: Option<RangeInclusive<u8>>,
    /// I/O ports.
    pub io: Option<RangeInclusive<u64>>,
    /// Memory below 4 GiB.
    pub memory: Option<RangeInclusive<u64>>,
    /// Prefetchable memory anywhere.
    pub prefetchable: Option<RangeInclusive<u64>>,
}

impl BridgeDecode {
    /// Whether the whole of `range` is forwarded, through one window.
    pub fn forwards(&self, range: IoRange) -> bool {
        let within = |window: &Option<RangeInclusive<u64>>| {
            let window = window.as_ref();
            window.is_some_and(|w| *w.start() <= range.first() && range.last() <= *w.end())
        };
        match range.start() {
            IoAddr::Pio(_) => within(&self.io),
            IoAddr::Mmio(_) => within(&self.memory) || within(&self.prefetchable),
        }
    }
}

impl RootPort {
    /// The identity of QEMU's generic root port.
    pub const QEMU: Identity = Identity {
        vendor: 0x1b36,
        device: 0x000c,
        revision: 0,
        class: 0x06_04_00,
        subsystem_vendor: 0,
        subsystem: 0,
    };

    /// Makes a root port.
    ///
    /// # Errors
    /// None at present: the layout is fixed and fits.
    pub fn new(config: RootPortConfig) -> Result<Self, ConfigError> {
        let RootPortConfig {
            identity,
            port,
            slot,
            hot_plug,
            msi,
            intx,
        } = config;
        let express = ExpressType::RootPort {
            port,
            slot,
            hot_plug,
        };
        let mut builder = FunctionCore::builder(identity)
            .header(HeaderType::Bridge)
            .config_size(ConfigSize::Express)
            .express(EXPRESS_AT, express)
            .power_management(POWER_AT, true);
        if let Some(sink) = msi {
            builder = builder
                .bar(0, Bar::memory32(MSIX_BAR)?)
                .msix(MSIX_AT, MSIX, sink);
        }
        if let Some((pin, wire)) = intx {
            builder = builder.intx(pin, wire);
        }
        let port = Self {
            core: builder.build()?,
            hot_plug,
            present: Mutex::new(false),
        };
        port.update(|slot| slot.start(false));
        Ok(port)
    }

    /// What the port forwards at this moment.
    pub fn bridge_decode(&self) -> BridgeDecode {
        self.core
            .with_config(|config| match self.slot(config).powered() {
                true => BridgeDecode::of(config),
                false => BridgeDecode::default(),
            })
    }

    /// Presses the slot's attention button: asks the guest to let go of what is in the slot, or to
    /// take what came. Nothing without hot-plug.
    pub fn press_attention_button(&self) {
        self.update(|slot| slot.press_attention_button());
    }

    /// Power of the slot.
    pub fn slot_power(&self) -> SlotPower {
        self.core.with_config(|config| self.slot(config).power())
    }

    /// Shows in the slot's registers whether a function is plugged in, and tells the guest.
    pub(crate) fn set_present(&self, present: bool) {
        let mut shown = lock(&self.present);
        *shown = present;
        self.update(|slot| slot.set_present(present));
    }

    fn slot<'a>(&self, config: &'a mut ConfigSpace) -> SlotRegisters<'a> {
        SlotRegisters::of(config, EXPRESS_AT.into(), self.hot_plug)
    }

    /// Works on the slot's registers, and interrupts if that follows.
    fn update<T: Default>(&self, work: impl FnOnce(&mut SlotRegisters<'_>) -> T) -> T {
        let mut result = T::default();
        self.core.update(VECTOR, |config| {
            let mut slot = self.slot(config);
            result = work(&mut slot);
            slot.interrupts()
        });
        result
    }

    fn held_in_reset(&self) -> bool {
        self.core
            .with_config(|config| config.u16(BRIDGE_CONTROL) & SECONDARY_BUS_RESET != 0)
    }
}

impl PciFunction for RootPort {
    fn info(&self) -> FunctionInfo {
        self.core.info()
    }

    fn read_config(&self, offset: u16, data: &mut [u8]) {
        self.core.read_config(offset, data);
    }

    fn write_config(&self, offset: u16, data: &[u8]) -> Effects {
        let _one_by_one = lock(&self.present);
        let (decoded, held) = (self.bridge_decode(), self.held_in_reset());
        let control = self.core.with_config(|config| self.slot(config).control());
        let effects = self.core.write_config(offset, data);
        let command = slot::is_command(EXPRESS_AT.into(), offset, data.len());
        let Commanded { lost_power, ejects } = self.update(|slot| slot.written(control, command));
        Effects {
            decode: effects.decode || decoded != self.bridge_decode(),
            secondary_reset: lost_power || !held && self.held_in_reset(),
            eject: ejects,
            ..effects
        }
    }

    fn decode(&self) -> BarMap {
        self.core.decode()
    }

    fn read_bar(&self, _bar: u8, offset: u64, data: &mut [u8]) {
        match self.core.msix() {
            Some(msix) => msix.read_bar(offset, data),
            None => data.fill(0xff),
        }
    }

    fn write_bar(&self, _bar: u8, offset: u64, data: &[u8]) {
        if let Some(msix) = self.core.msix() {
            msix.write_bar(offset, data);
        }
    }

    fn bar_mapped(&self, _bar: u8, _at: Option<IoAddr>) {}

    fn reset(&self) {
        let present = lock(&self.present);
        self.core.reset();
        self.update(|slot| slot.start(*present));
    }
}

impl BridgeDecode {
    fn of(config: &ConfigSpace) -> Self {
        let command = config.u16(COMMAND);
        let (io, memory) = (command & COMMAND_IO != 0, command & COMMAND_MEMORY != 0);
        Self {
            buses: buses(config),
            io: io.then(|| io_window(config)).flatten(),
            memory: memory.then(|| memory_window(config)).flatten(),
            prefetchable: memory.then(|| prefetchable_window(config)).flatten(),
        }
    }
}

fn buses(config: &ConfigSpace) -> Option<RangeInclusive<u8>> {
    let (secondary, subordinate) = (config.u8(SECONDARY_BUS), config.u8(SUBORDINATE_BUS));
    (secondary > config.u8(PRIMARY_BUS) && secondary <= subordinate)
        .then_some(secondary..=subordinate)
}

fn io_window(config: &ConfigSpace) -> Option<RangeInclusive<u64>> {
    let address =
        |low, high| u64::from(config.u8(low) & 0xf0) << 8 | u64::from(config.u16(high)) << 16;
    let limit = address(IO_LIMIT, IO_LIMIT_UPPER) | 0xfff;
    open(address(IO_BASE, IO_BASE_UPPER)..=limit)
}

fn memory_window(config: &ConfigSpace) -> Option<RangeInclusive<u64>> {
    let address = |at| u64::from(config.u16(at) & 0xfff0) << 16;
    open(address(MEMORY_BASE)..=address(MEMORY_LIMIT) | 0xf_ffff)
}

fn prefetchable_window(config: &ConfigSpace) -> Option<RangeInclusive<u64>> {
    let address =
        |low, high| u64::from(config.u16(low) & 0xfff0) << 16 | u64::from(config.u32(high)) << 32;
    let limit = address(PREFETCHABLE_LIMIT, PREFETCHABLE_LIMIT_UPPER) | 0xf_ffff;
    open(address(PREFETCHABLE_BASE, PREFETCHABLE_BASE_UPPER)..=limit)
}

fn open(window: RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
    (!window.is_empty()).then_some(window)
}

const EXPRESS_AT: u8 = 0x54;
/// The only one: the interrupt message number of the capability is zero.
const VECTOR: u16 = 0;
const POWER_AT: u8 = 0x90;
const MSIX_AT: u8 = 0x48;
const MSIX_BAR: u64 = 0x1000;
const MSIX: MsixLayout = MsixLayout {
    bar: 0,
    vectors: 1,
    table: 0,
    pending: 0x800,
};
