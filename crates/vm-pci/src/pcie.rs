//! PCI Express capability, version 2 (PCI Express Base 5.0, section 7.5.3): device, link, slot and
//! root registers for an endpoint and for a root port.

use crate::capability::Capability;
use crate::config::{ConfigSpace, Register};
use crate::slot;

/// What stands behind the link registers: speed is always 2.5 GT/s, width x1, as nothing is timed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressType {
    /// An endpoint behind a root port; offers function level reset.
    Endpoint,
    /// An endpoint that is part of the root complex: no link; offers function level reset.
    IntegratedEndpoint,
    /// A root port with a slot.
    RootPort {
        /// Port number of the link capabilities, unique in the complex.
        port: u8,
        /// Physical slot number, unique in the chassis; 13 bits.
        slot: u16,
        /// Whether the slot has hot-plug elements.
        hot_plug: bool,
    },
}

/// The whole capability, 0x3c bytes.
pub(crate) fn capability(kind: ExpressType) -> Capability {
    let mut registers = DEVICE.to_vec();
    registers.push(Register::word(FLAGS).value(flags(kind)));
    match kind {
        ExpressType::Endpoint => {
            registers.push(device_capabilities(FUNCTION_RESET_CAPABLE));
            registers.extend(link(0, 0));
        }
        ExpressType::IntegratedEndpoint => {
            registers.push(device_capabilities(FUNCTION_RESET_CAPABLE));
        }
        ExpressType::RootPort {
            port,
            slot,
            hot_plug,
        } => {
            registers.push(device_capabilities(0));
            registers.extend(link(port, LINK_REPORTS_ACTIVE));
            registers.extend(slot::registers(slot, hot_plug));
            registers.extend(ROOT);
        }
    }
    Capability::new(ID, LENGTH, &registers)
}

/// Reads and clears the bit that asks for a function level reset: it always reads as zero.
pub(crate) fn take_function_reset(config: &mut ConfigSpace, at: u16) -> bool {
    let asked = config.u16(at + DEVICE_CONTROL) & INITIATE_FUNCTION_RESET != 0;
    config.set_bits(at + DEVICE_CONTROL, INITIATE_FUNCTION_RESET, false);
    asked && config.u32(at + DEVICE_CAPABILITIES) & FUNCTION_RESET_CAPABLE != 0
}

fn flags(kind: ExpressType) -> u32 {
    VERSION_2
        | match kind {
            ExpressType::Endpoint => 0,
            ExpressType::IntegratedEndpoint => 9 << 4,
            ExpressType::RootPort { .. } => 4 << 4 | SLOT_IMPLEMENTED,
        }
}

fn device_capabilities(more: u32) -> Register {
    Register::dword(DEVICE_CAPABILITIES).value(EXTENDED_TAG | ROLE_BASED_ERRORS | more)
}

fn link(port: u8, more: u32) -> [Register; 3] {
    [
        Register::dword(0x0c).value(LINK_X1_2G5 | LINK_ASPM_L0S | more | u32::from(port) << 24),
        Register::word(0x10).writable(LINK_CONTROL_WRITABLE),
        Register::word(LINK_STATUS).value(LINK_X1_2G5),
    ]
}

/// Registers of a root port.
const ROOT: [Register; 2] = [
    Register::word(0x1c).writable(ROOT_CONTROL_WRITABLE),
    Register::dword(0x20).clearable(ROOT_PME_STATUS),
];

/// Registers that every kind has.
const DEVICE: &[Register] = &[
    Register::word(DEVICE_CONTROL).writable(DEVICE_CONTROL_WRITABLE),
    Register::word(0x0a).clearable(DEVICE_ERRORS),
    Register::dword(0x24).value(EXTENDED_FORMAT | END_TO_END_PREFIX),
    Register::word(0x28).writable(END_TO_END_PREFIX_BLOCKING),
];

const ID: u8 = 0x10;
const LENGTH: u8 = 0x3c;
const FLAGS: u16 = 0x02;
const VERSION_2: u32 = 2;
const SLOT_IMPLEMENTED: u32 = 1 << 8;
const DEVICE_CAPABILITIES: u16 = 0x04;
const EXTENDED_TAG: u32 = 1 << 5;
const ROLE_BASED_ERRORS: u32 = 1 << 15;
const FUNCTION_RESET_CAPABLE: u32 = 1 << 28;
const DEVICE_CONTROL: u16 = 0x08;
/// All but auxiliary power and phantom functions, which no capability offers.
const DEVICE_CONTROL_WRITABLE: u32 = 0xf9ff;
const INITIATE_FUNCTION_RESET: u16 = 1 << 15;
const DEVICE_ERRORS: u32 = 0xf;
const LINK_X1_2G5: u32 = 0x11;
const LINK_ASPM_L0S: u32 = 1 << 10;
const LINK_REPORTS_ACTIVE: u32 = 1 << 20;
/// ASPM control, common clock, extended synch: stored for the driver, nothing follows from them.
const LINK_CONTROL_WRITABLE: u32 = 0xc3;
pub(crate) const LINK_STATUS: u16 = 0x12;
const ROOT_CONTROL_WRITABLE: u32 = 0x1f;
const ROOT_PME_STATUS: u32 = 1 << 16;
const EXTENDED_FORMAT: u32 = 1 << 20;
const END_TO_END_PREFIX: u32 = 1 << 21;
const END_TO_END_PREFIX_BLOCKING: u32 = 1 << 15;
