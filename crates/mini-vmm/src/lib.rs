//! A small VMM for x86-64 and KVM: boots a Linux kernel on the virtio devices of this workspace.
//!
//! The binary `mini-vmm` takes QEMU's options. This library is its inside, for tests and for those
//! who want to see how the crates fit together; it is not a stable interface.
//!
//! | module | what it is |
//! |---|---|
//! | [`options`] | the command line, parsed without touching the host |
//! | [`layout`] | where everything is in the guest's address spaces |
//! | [`memory`], [`boot`], [`acpi`], [`srat`], [`cpu`] | what the guest finds when it starts |
//! | [`devices`], [`workers`] | the table of device types, and where devices run |
//! | [`vm`], [`hardware`], [`control`] | the running machine |
//! | [`processors`], [`vcpu`], [`gate`], [`irq`] | processors, on KVM |
//! | [`qtest`] | a test in place of processors |
//! | [`qmp`] | monitors: the machine controlled from outside |
//! | [`pci`], [`mmio`], [`mod@line`] | buses |
//! | [`hotplug`], [`event_device`] | devices that come and go, and how the guest hears of it |
//! | [`incidents`] | requests that the host fails, on their way to monitors |
//! | [`objects`] | the table of object types, which devices refer to |
//! | [`wires`], [`msi`], [`doorbells`], [`tally`] | the seams of the virtio crates, and KVM behind them |
//! | [`chardev`], [`serial`], [`ports`], [`fw_cfg`] | host ends and small devices |
//! | [`files`] | what is opened, and by whom inside the sandbox |
//! | [`sandbox`], [`terminal`], [`signals`], [`exit`] | the process around it |

#![deny(unsafe_op_in_unsafe_fn)]

pub mod acpi;
pub mod backends;
pub mod boot;
pub mod chardev;
pub mod control;
pub mod cpu;
pub mod devices;
pub mod doorbells;
pub mod drive;
pub mod error;
pub mod event_device;
pub mod exit;
pub mod files;
pub mod fw_cfg;
pub mod gate;
pub mod hardware;
pub mod hotplug;
pub mod incidents;
pub mod irq;
mod json;
pub mod layout;
pub mod line;
pub mod logger;
pub mod memory;
pub mod mmio;
pub mod msi;
pub mod net;
pub mod objects;
pub mod options;
pub mod pci;
pub mod pidfile;
pub mod ports;
pub mod processors;
pub mod qcow2;
pub mod qmp;
pub mod qtest;
pub mod sandbox;
pub mod serial;
pub mod share;
pub mod signals;
pub mod srat;
pub mod storage;
pub mod tally;
pub mod terminal;
pub mod thread_number;
pub mod vcpu;
pub mod vm;
pub mod wires;
pub mod workers;

pub use error::Error;
