//! Type 0 and type 1 headers: the first 64 bytes of configuration space
//! (PCI Local Bus 3.0, section 6.1; PCI-to-PCI Bridge 1.2, section 3.2).

use crate::config::{ConfigSize, ConfigSpace, Register};
use crate::error::ConfigError;
use crate::intx::InterruptPin;

/// What a function says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Base class, sub-class and programming interface, in bits 23:16, 15:8 and 7:0.
    pub class: u32,
    /// Subsystem vendor ID; a bridge has none in its header.
    pub subsystem_vendor: u16,
    /// Subsystem ID; a bridge has none in its header.
    pub subsystem: u16,
}

/// Layout of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderType {
    /// Type 0: an ordinary function, up to six BARs.
    #[default]
    Endpoint,
    /// Type 1: a bridge, up to two BARs.
    Bridge,
}

impl HeaderType {
    /// How many BAR registers the header has.
    pub const fn bars(self) -> u8 {
        match self {
            Self::Endpoint => 6,
            Self::Bridge => 2,
        }
    }
}

/// Makes a configuration space that holds a header and nothing else.
pub(crate) fn space(
    size: ConfigSize,
    header: HeaderType,
    identity: &Identity,
    pin: Option<InterruptPin>,
) -> Result<ConfigSpace, ConfigError> {
    let mut config = ConfigSpace::new(size);
    config.define(0, &common(identity, pin))?;
    match header {
        HeaderType::Endpoint => config.define(0, &subsystem(identity))?,
        HeaderType::Bridge => config.define(0, BRIDGE)?,
    }
    Ok(config)
}

fn common(identity: &Identity, pin: Option<InterruptPin>) -> [Register; 8] {
    [
        Register::word(0x00).value(identity.vendor.into()),
        Register::word(0x02).value(identity.device.into()),
        Register::word(COMMAND).writable(COMMAND_WRITABLE.into()),
        Register::word(STATUS).clearable(STATUS_ERRORS.into()),
        Register::dword(0x08).value(identity.class << 8 | u32::from(identity.revision)),
        Register::byte(0x0c).writable(0xff),
        Register::byte(INTERRUPT_LINE).writable(0xff),
        Register::byte(INTERRUPT_PIN).value(pin.map_or(0, |pin| pin.register().into())),
    ]
}

fn subsystem(identity: &Identity) -> [Register; 2] {
    [
        Register::word(0x2c).value(identity.subsystem_vendor.into()),
        Register::word(0x2e).value(identity.subsystem.into()),
    ]
}

/// Registers that only a type 1 header has. Both I/O and prefetchable windows are the wide kind.
const BRIDGE: &[Register] = &[
    Register::byte(HEADER_TYPE).value(1),
    Register::byte(PRIMARY_BUS).writable(0xff),
    Register::byte(SECONDARY_BUS).writable(0xff),
    Register::byte(SUBORDINATE_BUS).writable(0xff),
    Register::byte(IO_BASE).value(1).writable(0xf0),
    Register::byte(IO_LIMIT).value(1).writable(0xf0),
    Register::word(SECONDARY_STATUS).clearable(STATUS_ERRORS as u32),
    Register::word(MEMORY_BASE).writable(0xfff0),
    Register::word(MEMORY_LIMIT).writable(0xfff0),
    Register::word(PREFETCHABLE_BASE).value(1).writable(0xfff0),
    Register::word(PREFETCHABLE_LIMIT).value(1).writable(0xfff0),
    Register::dword(PREFETCHABLE_BASE_UPPER).writable(u32::MAX),
    Register::dword(PREFETCHABLE_LIMIT_UPPER).writable(u32::MAX),
    Register::word(IO_BASE_UPPER).writable(0xffff),
    Register::word(IO_LIMIT_UPPER).writable(0xffff),
    Register::word(BRIDGE_CONTROL).writable(BRIDGE_CONTROL_WRITABLE as u32),
];

pub(crate) const COMMAND: u16 = 0x04;
pub(crate) const COMMAND_IO: u16 = 1 << 0;
pub(crate) const COMMAND_MEMORY: u16 = 1 << 1;
pub(crate) const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_SERR: u16 = 1 << 8;
pub(crate) const COMMAND_INTX_DISABLE: u16 = 1 << 10;
const COMMAND_WRITABLE: u16 =
    COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR | COMMAND_INTX_DISABLE;
pub(crate) const STATUS: u16 = 0x06;
pub(crate) const STATUS_INTERRUPT: u16 = 1 << 3;
pub(crate) const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Master data parity error and the five error bits on top: all RW1C.
const STATUS_ERRORS: u16 = 0xf900;
pub(crate) const HEADER_TYPE: u16 = 0x0e;
pub(crate) const MULTI_FUNCTION: u8 = 0x80;
pub(crate) const CAPABILITY_POINTER: u16 = 0x34;
const INTERRUPT_LINE: u16 = 0x3c;
const INTERRUPT_PIN: u16 = 0x3d;

pub(crate) const PRIMARY_BUS: u16 = 0x18;
pub(crate) const SECONDARY_BUS: u16 = 0x19;
pub(crate) const SUBORDINATE_BUS: u16 = 0x1a;
pub(crate) const IO_BASE: u16 = 0x1c;
pub(crate) const IO_LIMIT: u16 = 0x1d;
const SECONDARY_STATUS: u16 = 0x1e;
pub(crate) const MEMORY_BASE: u16 = 0x20;
pub(crate) const MEMORY_LIMIT: u16 = 0x22;
pub(crate) const PREFETCHABLE_BASE: u16 = 0x24;
pub(crate) const PREFETCHABLE_LIMIT: u16 = 0x26;
pub(crate) const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
pub(crate) const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2c;
pub(crate) const IO_BASE_UPPER: u16 = 0x30;
pub(crate) const IO_LIMIT_UPPER: u16 = 0x32;
pub(crate) const BRIDGE_CONTROL: u16 = 0x3e;
pub(crate) const SECONDARY_BUS_RESET: u16 = 1 << 6;
/// Parity response, SERR forwarding, ISA and VGA enable, 16-bit decode, secondary bus reset.
const BRIDGE_CONTROL_WRITABLE: u16 = 0x1f | SECONDARY_BUS_RESET;
