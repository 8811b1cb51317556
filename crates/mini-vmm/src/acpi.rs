//! ACPI tables of a hardware-reduced machine: RSDP, XSDT, FADT, MADT, MCFG, SRAT and DSDT.
//!
//! Hardware-reduced ACPI spares the guest the search for a PIC, a PIT, a real-time clock and a
//! keyboard controller; each of their registers would be an exit.

mod control;
mod events;
mod hotplug;

use std::ops::RangeInclusive;

use acpi_tables::aml::{
    self, AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed,
    Name, PackageBuilder, Path, ResourceTemplate, Scope,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace as GasSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::event_device::BoardEvent;
use crate::layout::{self, Range};
use crate::memory::Memory;
use crate::ports::RESET_PORT;
use crate::srat::srat;

/// What the tables tell the guest about its machine.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// Number of vCPUs; APIC ids count from 0.
    pub cpus: u8,
    /// The ranges of RAM.
    pub memory: Vec<Range>,
    /// Number of PCI buses, 0 where there is no PCI.
    pub pci_buses: u8,
    /// Whether PCI's configuration space is at ports 0xcf8 to 0xcff, too.
    pub pci_ports: bool,
    /// Whether the root bus is one of PCI Express, with a memory-mapped configuration space and
    /// native hot-plug. A conventional bus has hot-plug by ACPI.
    pub pci_express: bool,
    /// The I/O ports for BARs, where there is PCI.
    pub pci_io: Option<RangeInclusive<u16>>,
    /// The 64-bit window of PCI, where there is PCI.
    pub pci_mmio64: Option<Range>,
    /// I/O port and interrupt of each 16550.
    pub serials: Vec<(u16, u32)>,
    /// Address range and interrupt of each virtio-mmio slot.
    pub virtio_mmio: Vec<(Range, u32)>,
    /// I/O port of the pvpanic device.
    pub pvpanic: Option<u16>,
}

impl Platform {
    /// Writes all tables to [`layout::ACPI`].
    ///
    /// # Errors
    /// Where guest memory ends below them, or they do not fit.
    pub fn write(&self, memory: &Memory) -> Result<(), GuestMemoryError> {
        let image = self.image();
        if image.len() as u64 > layout::ACPI.size {
            return Err(GuestMemoryError::InvalidGuestAddress(GuestAddress(
                layout::ACPI.end(),
            )));
        }
        memory.write_slice(&image, GuestAddress(layout::ACPI.base))
    }

    /// The bytes from the root pointer to the last table.
    fn image(&self) -> Vec<u8> {
        let mut image = vec![0; Rsdp::len().next_multiple_of(ALIGNMENT)];
        let dsdt = append(&mut image, self.dsdt().as_slice());
        let mut xsdt = XSDT::new(OEM, OEM_TABLE, 1);
        xsdt.add_entry(append(&mut image, &bytes(&fadt(dsdt))));
        xsdt.add_entry(append(&mut image, &bytes(&self.madt())));
        if self.pci_buses > 0 && self.pci_express {
            xsdt.add_entry(append(&mut image, &bytes(&self.mcfg())));
        }
        let srat = srat(self.cpus, &self.memory, (OEM, OEM_TABLE));
        xsdt.add_entry(append(&mut image, srat.as_slice()));
        let xsdt = append(&mut image, &bytes(&xsdt));
        let root = bytes(&Rsdp::new(OEM, xsdt));
        image
            .iter_mut()
            .zip(root)
            .for_each(|(slot, byte)| *slot = byte);
        image
    }

    fn madt(&self) -> MADT {
        let apic = LocalInterruptController::Address(layout::LOCAL_APIC);
        let mut madt = MADT::new(OEM, OEM_TABLE, 1, apic);
        for id in 0..self.cpus {
            madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
        }
        madt.add_structure(IoApic::new(self.cpus, layout::IO_APIC, 0));
        madt
    }

    fn mcfg(&self) -> MCFG {
        let mut mcfg = MCFG::new(OEM, OEM_TABLE, 1);
        mcfg.add_ecam(layout::ECAM_BASE, 0, 0, self.pci_buses - 1);
        mcfg
    }

    fn dsdt(&self) -> Sdt {
        let mut dsdt = Sdt::new(*b"DSDT", DSDT_HEADER, 2, OEM, OEM_TABLE, 1);
        dsdt.append_slice(&bytes(&soft_off()));
        let mut devices = Vec::new();
        if self.pci_buses > 0 {
            devices.extend(self.pci_root());
        }
        for (index, (port, gsi)) in (0u8..).zip(&self.serials) {
            devices.extend(serial(index, *port, *gsi));
        }
        for (index, (range, gsi)) in (0u8..).zip(&self.virtio_mmio) {
            devices.extend(virtio_mmio(index, *range, *gsi));
        }
        devices.extend(self.pvpanic.map(pvpanic).unwrap_or_default());
        devices.extend(events::power_button());
        let mut answers = vec![(BoardEvent::PowerButton, events::press())];
        if self.pci_buses > 0 && !self.pci_express {
            answers.push((BoardEvent::PciHotplug, hotplug::look(HOST_BRIDGE)));
        }
        devices.extend(events::event_device(&answers));
        dsdt.append_slice(&Scope::raw("_SB_".into(), devices));
        dsdt
    }

    /// The host bridge and what belongs to it on the board.
    fn pci_root(&self) -> Vec<u8> {
        let resources = Raw(self.pci_resources());
        let (id, around, within) = match self.pci_express {
            true => ("PNP0A08", self.config_space(), control::capabilities()),
            false => ("PNP0A03", Vec::new(), hotplug::slots()),
        };
        let root = bytes(&Device::new(
            HOST_BRIDGE.into(),
            vec![
                &Name::new("_HID".into(), &EISAName::new(id)),
                &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
                &Name::new("_UID".into(), &aml::ZERO),
                &Name::new("_SEG".into(), &aml::ZERO),
                &Name::new("_CRS".into(), &resources),
                &Name::new("_PRT".into(), &interrupt_routes()),
                &Raw(within),
            ],
        ));
        [root, around].concat()
    }

    /// Bus numbers and windows.
    fn pci_resources(&self) -> Vec<u8> {
        let buses = AddressSpace::new_bus_number(0u16, u16::from(self.pci_buses - 1));
        let low = AddressSpace::new_io(0u16, CONFIG_PORT - 1, None);
        let config = IO::new(CONFIG_PORT, CONFIG_PORT, 1, 8);
        let ports = self.pci_io.as_ref();
        let ports = ports.map(|ports| AddressSpace::new_io(*ports.start(), *ports.end(), None));
        let window = layout::PCI_MMIO32;
        let mmio32 = AddressSpace::new_memory(
            AddressSpaceCacheable::NotCacheable,
            true,
            window.base as u32,
            (window.end() - 1) as u32,
            None,
        );
        let mmio64 = self.pci_mmio64.map(|window| {
            let cacheable = AddressSpaceCacheable::NotCacheable;
            AddressSpace::new_memory(cacheable, true, window.base, window.end() - 1, None)
        });
        let mut resources: Vec<&dyn Aml> = vec![&buses, &low, &mmio32];
        resources.extend(self.pci_ports.then_some(&config as &dyn Aml));
        resources.extend(ports.iter().map(|window| window as &dyn Aml));
        resources.extend(mmio64.iter().map(|window| window as &dyn Aml));
        bytes(&ResourceTemplate::new(resources))
    }

    /// The memory-mapped configuration space, reserved as a resource of the board.
    fn config_space(&self) -> Vec<u8> {
        let size = u32::from(self.pci_buses) << 20;
        let ecam = Memory32Fixed::new(true, layout::ECAM_BASE as u32, size);
        device("MRES", &EISAName::new("PNP0C02"), 0, vec![&ecam])
    }
}

fn interrupt_routes() -> PackageBuilder {
    let mut routes = PackageBuilder::new();
    for (slot, pin) in (0..SLOTS).flat_map(|slot| (0..PINS).map(move |pin| (slot, pin))) {
        let mut route = PackageBuilder::new();
        route.add_element(&(u32::from(slot) << 16 | 0xffff));
        route.add_element(&pin);
        route.add_element(&aml::ZERO);
        route.add_element(&layout::intx_gsi(slot, pin));
        routes.add_element(&route);
    }
    routes
}

fn serial(index: u8, port: u16, gsi: u32) -> Vec<u8> {
    let ports = IO::new(port, port, 1, 8);
    let interrupt = Interrupt::new(true, true, false, false, gsi);
    let name = format!("COM{}", index + 1);
    device(
        &name,
        &EISAName::new("PNP0501"),
        index,
        vec![&ports, &interrupt],
    )
}

fn virtio_mmio(index: u8, range: Range, gsi: u32) -> Vec<u8> {
    let registers = Memory32Fixed::new(true, range.base as u32, range.size as u32);
    let interrupt = Interrupt::new(true, true, false, false, gsi);
    device(
        &format!("VR{index:02}"),
        &"LNRO0005",
        index,
        vec![&registers, &interrupt],
    )
}

fn pvpanic(port: u16) -> Vec<u8> {
    device("PEVT", &"QEMU0001", 0, vec![&IO::new(port, port, 1, 1)])
}

fn device(name: &str, hid: &dyn Aml, uid: u8, resources: Vec<&dyn Aml>) -> Vec<u8> {
    bytes(&Device::new(
        Path::new(name),
        vec![
            &Name::new("_HID".into(), hid),
            &Name::new("_UID".into(), &uid),
            &Name::new("_CRS".into(), &ResourceTemplate::new(resources)),
        ],
    ))
}

fn soft_off() -> Name {
    let mut package = PackageBuilder::new();
    package.add_element(&SLEEP_TYPE_S5);
    package.add_element(&SLEEP_TYPE_S5);
    package.add_element(&aml::ZERO);
    package.add_element(&aml::ZERO);
    Name::new("_S5_".into(), &package)
}

fn fadt(dsdt: u64) -> acpi_tables::fadt::FADT {
    let port = |offset: u16| {
        let address = u64::from(layout::POWER + offset);
        GAS::new(GasSpace::SystemIo, 8, 0, AccessSize::ByteAccess, address)
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, 1)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.sleep_control_reg = port(0);
    fadt.sleep_status_reg = port(1);
    fadt.reset_reg = port(RESET_PORT - layout::POWER);
    fadt.reset_value = RESET_VALUE;
    fadt.iapc_boot_arch = (NO_VGA | NO_ASPM | NO_CMOS_RTC).into();
    fadt.finalize()
}

fn append(image: &mut Vec<u8>, table: &[u8]) -> u64 {
    let offset = image.len().next_multiple_of(ALIGNMENT);
    image.resize(offset, 0);
    image.extend_from_slice(table);
    layout::ACPI.base + offset as u64
}

/// What is AML already.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// `SLP_TYP` of soft off, as `_S5` announces it.
pub const SLEEP_TYPE_S5: u8 = 5;
/// Value that resets the machine when written to the reset register.
pub const RESET_VALUE: u8 = 1;

const OEM: [u8; 6] = *b"MINVMM";
const OEM_TABLE: [u8; 8] = *b"MINIVMM ";
const ALIGNMENT: usize = 16;
const DSDT_HEADER: u32 = 36;
const CONFIG_PORT: u16 = 0xcf8;
const HOST_BRIDGE: &str = "PCI0";
const SLOTS: u8 = 32;
const PINS: u8 = 4;
const NO_VGA: u16 = 1 << 2;
const NO_ASPM: u16 = 1 << 4;
const NO_CMOS_RTC: u16 = 1 << 5;

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
