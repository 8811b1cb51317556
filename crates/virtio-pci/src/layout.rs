//! Which structure is in which BAR, and the configuration space that says so.
//!
//! Everything is where QEMU has it: modern structures in BAR4, a page each; MSI-X in BAR1; the
//! legacy interface in BAR0; capabilities from 0x40 on, each linked in front of those before it.

use std::sync::Arc;

use virtio_bus::{Doorbell, DoorbellAddress, DoorbellValue};
use vm_pci::{
    Bar, Capability, ConfigError, ConfigSize, ExpressType, FunctionBuilder, FunctionCore, Identity,
    InterruptPin, IoAddr, IrqPin, MsiSink, MsixLayout,
};

use crate::Place;
use crate::capability::{self, CfgType};
use crate::doorbell::Via;
use crate::interfaces::Interfaces;
use crate::legacy;

/// A structure behind a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    Legacy,
    Msix,
    Common,
    Isr,
    Device,
    Notify,
    NotifyPio,
}

/// What of a function's looks can vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) interfaces: Interfaces,
    pub(crate) place: Place,
    /// MSI-X vectors, 0 for none.
    pub(crate) vectors: u16,
    /// Length of the device configuration in bytes.
    pub(crate) config_len: usize,
    /// Bytes from one queue's doorbell to the next one's.
    pub(crate) multiplier: u32,
    pub(crate) pio_notify: bool,
}

impl Layout {
    /// The most queues that the notification structure has room for.
    pub(crate) const MAX_QUEUES: usize = 1024;

    /// The structure at `offset` of a BAR, and the offset in it.
    pub(crate) fn at(&self, bar: u8, offset: u64) -> Option<(Structure, u64)> {
        let structure = match bar {
            LEGACY_BAR if self.interfaces.has_legacy() => Structure::Legacy,
            MSIX_BAR if self.vectors > 0 => Structure::Msix,
            PIO_BAR if self.has_pio_notify() => Structure::NotifyPio,
            MODERN_BAR if self.interfaces.has_modern() => return self.modern(offset),
            _ => return None,
        };
        Some((structure, offset))
    }

    /// Offset of PCI_CFG's data register in configuration space.
    pub(crate) fn pci_cfg_data(&self) -> Option<u16> {
        let mut items = self.items().into_iter();
        let item = items.find(|(_, item)| matches!(item, Item::PciCfg));
        item.map(|(at, _)| u16::from(at) + capability::DATA)
    }

    /// The writes by which a driver may notify `queue`, with the BARs where they are.
    pub(crate) fn doorbells(
        &self,
        via: Via,
        queue: u16,
        bars: &[Option<IoAddr>; 6],
    ) -> impl Iterator<Item = Doorbell> + use<> {
        let at = |bar: u8| bars.get(usize::from(bar)).copied().flatten();
        let notify = u64::from(NOTIFY) + u64::from(self.multiplier) * u64::from(queue);
        let bell = |at: Option<IoAddr>, value| {
            let at = at.map(address)?;
            Some(Doorbell { at, value })
        };
        let number = DoorbellValue::U16(queue);
        let bells = match via {
            Via::Legacy => [
                bell(after(at(LEGACY_BAR), legacy::QUEUE_NOTIFY.into()), number),
                None,
            ],
            Via::Modern => [
                bell(after(at(MODERN_BAR), notify), DoorbellValue::Any),
                bell(at(PIO_BAR), number),
            ],
        };
        bells.into_iter().flatten()
    }

    /// The function with everything that it has from reset on.
    pub(crate) fn build(
        &self,
        identity: Identity,
        msi: Arc<dyn MsiSink>,
        intx: Option<Arc<dyn IrqPin>>,
    ) -> Result<FunctionCore, ConfigError> {
        let mut builder = self.bars(FunctionBuilder::new(identity))?;
        if self.place == Place::RootPort {
            builder = builder.config_size(ConfigSize::Express);
        }
        for (at, item) in self.items().into_iter().rev() {
            builder = match item {
                Item::Express => builder.express(at, ExpressType::Endpoint),
                Item::Power => builder.power_management(at, false),
                Item::Virtio(capability, _) => builder.capability(at, capability),
                Item::PciCfg => builder.capability(at, capability::pci_cfg()),
                Item::Msix => builder.msix(at, self.msix(), msi.clone()),
            };
        }
        if let Some(wire) = intx {
            builder = builder.intx(InterruptPin::A, wire);
        }
        builder.build()
    }

    fn bars(&self, mut builder: FunctionBuilder) -> Result<FunctionBuilder, ConfigError> {
        if self.interfaces.has_legacy() {
            builder = builder.bar(LEGACY_BAR, Bar::io(self.legacy_size())?);
        }
        if self.vectors > 0 {
            builder = builder.bar(MSIX_BAR, Bar::memory32(self.msix_size())?);
        }
        if self.has_pio_notify() {
            builder = builder.bar(PIO_BAR, Bar::io(PIO_SIZE.into())?);
        }
        if self.interfaces.has_modern() {
            let size = u64::from(NOTIFY + self.notify_size()).next_power_of_two();
            builder = builder.bar(MODERN_BAR, Bar::memory64(size)?.prefetchable());
        }
        Ok(builder)
    }

    /// Capabilities with their offsets, first come first placed.
    fn items(&self) -> Vec<(u8, Item)> {
        let mut items = Vec::new();
        if self.place == Place::RootPort {
            items.extend([Item::Express, Item::Power]);
        }
        if self.interfaces.has_modern() {
            items.extend(self.structures());
            items.push(Item::PciCfg);
        }
        if self.vectors > 0 {
            items.push(Item::Msix);
        }
        let mut next = FIRST_CAPABILITY;
        let placed = items.into_iter().map(|item| {
            let at = next;
            next += item.length();
            (at, item)
        });
        placed.collect()
    }

    fn structures(&self) -> Vec<Item> {
        let page = |kind, offset| {
            let capability = capability::structure(kind, MODERN_BAR, offset, PAGE);
            Item::Virtio(capability, capability::LENGTH)
        };
        let notify = |bar, offset, length, multiplier| {
            let capability = capability::notify(bar, offset, length, multiplier);
            Item::Virtio(capability, capability::LONG)
        };
        let mut structures = vec![
            page(CfgType::Common, COMMON),
            page(CfgType::Isr, ISR),
            page(CfgType::Device, DEVICE),
            notify(MODERN_BAR, NOTIFY, self.notify_size(), self.multiplier),
        ];
        if self.pio_notify {
            structures.push(notify(PIO_BAR, 0, PIO_SIZE, 0));
        }
        structures
    }

    /// Table at the start, pending bits in the second half or, for many vectors, after the table.
    fn msix(&self) -> MsixLayout {
        let table = u32::from(self.vectors) * 16;
        MsixLayout {
            bar: MSIX_BAR,
            vectors: self.vectors,
            table: 0,
            pending: table.max(PAGE / 2),
        }
    }

    fn msix_size(&self) -> u64 {
        let pending = u64::from(self.vectors).div_ceil(64) * 8;
        let end = u64::from(self.msix().pending) + pending;
        end.next_power_of_two().max(PAGE.into())
    }

    /// Registers and device configuration, as far as an I/O BAR can be large.
    fn legacy_size(&self) -> u64 {
        let registers = legacy::config_offset(self.vectors > 0) as usize;
        let size = registers.saturating_add(self.config_len).min(IO_BAR_MAX);
        size.next_power_of_two() as u64
    }

    fn notify_size(&self) -> u32 {
        self.multiplier * Self::MAX_QUEUES as u32
    }

    fn has_pio_notify(&self) -> bool {
        self.pio_notify && self.interfaces.has_modern()
    }

    fn modern(&self, offset: u64) -> Option<(Structure, u64)> {
        let starts = [
            (NOTIFY, Structure::Notify),
            (DEVICE, Structure::Device),
            (ISR, Structure::Isr),
            (COMMON, Structure::Common),
        ];
        let mut starts = starts.into_iter();
        starts.find_map(|(start, structure)| {
            let inside = offset.checked_sub(start.into())?;
            Some((structure, inside))
        })
    }
}

/// A capability to place.
enum Item {
    Express,
    Power,
    /// With its length in bytes.
    Virtio(Capability, u8),
    PciCfg,
    Msix,
}

impl Item {
    fn length(&self) -> u8 {
        match self {
            Self::Express => 0x3c,
            Self::Power => 8,
            Self::Virtio(_, length) => *length,
            Self::PciCfg => capability::LONG,
            Self::Msix => 12,
        }
    }
}

fn address(at: IoAddr) -> DoorbellAddress {
    match at {
        IoAddr::Pio(port) => DoorbellAddress::Pio(port),
        IoAddr::Mmio(address) => DoorbellAddress::Mmio(address),
    }
}

fn after(at: Option<IoAddr>, offset: u64) -> Option<IoAddr> {
    match at? {
        IoAddr::Pio(port) => {
            let offset = u16::try_from(offset).ok()?;
            port.checked_add(offset).map(IoAddr::Pio)
        }
        IoAddr::Mmio(address) => address.checked_add(offset).map(IoAddr::Mmio),
    }
}

/// Bytes from one doorbell to the next.
pub(crate) const MULTIPLIER: u32 = 4;
/// Length of each structure, and with `page-per-vq` the distance of doorbells.
pub(crate) const PAGE: u32 = 0x1000;

const LEGACY_BAR: u8 = 0;
const MSIX_BAR: u8 = 1;
const PIO_BAR: u8 = 2;
const MODERN_BAR: u8 = 4;
/// Offsets in the modern BAR.
const COMMON: u32 = 0;
const ISR: u32 = PAGE;
const DEVICE: u32 = 2 * PAGE;
const NOTIFY: u32 = 3 * PAGE;
const PIO_SIZE: u32 = 4;
const IO_BAR_MAX: usize = 256;
const FIRST_CAPABILITY: u8 = 0x40;
