//! The register layout (table 4.2.2, legacy interface: table 4.2.4) as one table.

use virtio_device::RingArea;

/// A control register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    MagicValue,
    Version,
    DeviceId,
    VendorId,
    DeviceFeatures,
    DeviceFeaturesSel,
    DriverFeatures,
    DriverFeaturesSel,
    GuestPageSize,
    QueueSel,
    QueueSizeMax,
    QueueSize,
    QueueAlign,
    QueuePfn,
    QueueReady,
    QueueNotify,
    InterruptStatus,
    InterruptAck,
    Status,
    QueueArea(RingArea, Half),
    /// SHMSel, and length and base of a shared memory region: there are none.
    SharedMemory,
    QueueReset,
    ConfigGeneration,
}

/// Which 32 bits of a 64-bit address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Low,
    High,
}

impl Half {
    /// The bits of the address that the register holds.
    pub(crate) fn mask(self) -> u64 {
        match self {
            Half::Low => 0xffff_ffff,
            Half::High => 0xffff_ffff << 32,
        }
    }

    /// A written value, where it belongs in the address.
    pub(crate) fn place(self, value: u32) -> u64 {
        match self {
            Half::Low => value.into(),
            Half::High => u64::from(value) << 32,
        }
    }
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The register that an access of `len` bytes at `offset` reaches; `None` where there is none that
/// can be used in this direction. Registers are only accessed whole (section 4.2.2.2).
pub(crate) fn at(offset: u64, len: usize, legacy: bool, direction: Direction) -> Option<Register> {
    if len != 4 || !offset.is_multiple_of(4) {
        return None;
    }
    let index = usize::try_from(offset / 4).ok()?;
    let row = BY_INDEX.get(index)?.as_ref()?;
    let there = match row.interface {
        Interface::Both => true,
        Interface::Modern => !legacy,
        Interface::Legacy => legacy,
    };
    let allowed = match direction {
        Direction::Read => row.access.0,
        Direction::Write => row.access.1,
    };
    (there && allowed).then_some(row.register)
}

#[derive(Clone, Copy)]
struct Row {
    offset: usize,
    register: Register,
    access: Access,
    interface: Interface,
}

/// Readable, writable.
#[derive(Clone, Copy)]
struct Access(bool, bool);

#[derive(Clone, Copy)]
enum Interface {
    Both,
    Modern,
    Legacy,
}

const fn row(offset: usize, register: Register, access: Access, interface: Interface) -> Row {
    Row {
        offset,
        register,
        access,
        interface,
    }
}

const fn by_index() -> [Option<Row>; CONFIG as usize / 4] {
    let mut rows = [None; CONFIG as usize / 4];
    let mut i = 0;
    while i < REGISTERS.len() {
        rows[REGISTERS[i].offset / 4] = Some(REGISTERS[i]);
        i += 1;
    }
    rows
}

/// Where the device's configuration space starts, in bytes.
pub(crate) const CONFIG: u64 = 0x100;
/// Where QueueNotify is, for ioeventfd.
pub(crate) const NOTIFY: u64 = 0x050;
/// MagicValue: "virt".
pub(crate) const MAGIC: u32 = 0x7472_6976;
/// VendorID as QEMU has it.
pub(crate) const VENDOR: u32 = 0x554d_4551;

const BY_INDEX: [Option<Row>; CONFIG as usize / 4] = by_index();

const R: Access = Access(true, false);
const W: Access = Access(false, true);
const RW: Access = Access(true, true);

#[rustfmt::skip]
const REGISTERS: &[Row] = &[
    row(0x000, Register::MagicValue,        R,  Interface::Both),
    row(0x004, Register::Version,           R,  Interface::Both),
    row(0x008, Register::DeviceId,          R,  Interface::Both),
    row(0x00c, Register::VendorId,          R,  Interface::Both),
    row(0x010, Register::DeviceFeatures,    R,  Interface::Both),
    row(0x014, Register::DeviceFeaturesSel, W,  Interface::Both),
    row(0x020, Register::DriverFeatures,    W,  Interface::Both),
    row(0x024, Register::DriverFeaturesSel, W,  Interface::Both),
    row(0x028, Register::GuestPageSize,     W,  Interface::Legacy),
    row(0x030, Register::QueueSel,          W,  Interface::Both),
    row(0x034, Register::QueueSizeMax,      R,  Interface::Both),
    row(0x038, Register::QueueSize,         W,  Interface::Both),
    row(0x03c, Register::QueueAlign,        W,  Interface::Legacy),
    row(0x040, Register::QueuePfn,          RW, Interface::Legacy),
    row(0x044, Register::QueueReady,        RW, Interface::Modern),
    row(0x050, Register::QueueNotify,       W,  Interface::Both),
    row(0x060, Register::InterruptStatus,   R,  Interface::Both),
    row(0x064, Register::InterruptAck,      W,  Interface::Both),
    row(0x070, Register::Status,            RW, Interface::Both),
    row(0x080, Register::QueueArea(RingArea::Descriptor, Half::Low),  W, Interface::Modern),
    row(0x084, Register::QueueArea(RingArea::Descriptor, Half::High), W, Interface::Modern),
    row(0x090, Register::QueueArea(RingArea::Driver, Half::Low),      W, Interface::Modern),
    row(0x094, Register::QueueArea(RingArea::Driver, Half::High),     W, Interface::Modern),
    row(0x0a0, Register::QueueArea(RingArea::Device, Half::Low),      W, Interface::Modern),
    row(0x0a4, Register::QueueArea(RingArea::Device, Half::High),     W, Interface::Modern),
    row(0x0ac, Register::SharedMemory,      W,  Interface::Modern),
    row(0x0b0, Register::SharedMemory,      R,  Interface::Modern),
    row(0x0b4, Register::SharedMemory,      R,  Interface::Modern),
    row(0x0b8, Register::SharedMemory,      R,  Interface::Modern),
    row(0x0bc, Register::SharedMemory,      R,  Interface::Modern),
    row(0x0c0, Register::QueueReset,        RW, Interface::Modern),
    row(0x0fc, Register::ConfigGeneration,  R,  Interface::Modern),
];
