//! Capability lists: conventional (PCI Local Bus 3.0, section 6.7) and extended
//! (PCI Express Base 5.0, section 7.6.3), at offsets that the caller chooses.
//!
//! A list is in the order of adding, so a function can be laid out byte for byte like another one.

use std::ops::Range;

use crate::config::{ConfigSpace, Register};
use crate::error::ConfigError;
use crate::header::{CAPABILITY_POINTER, STATUS, STATUS_CAPABILITIES};

/// A capability of the first 256 bytes: identifier, length and registers.
#[derive(Clone, Debug)]
pub struct Capability {
    id: u8,
    length: u16,
    registers: Vec<Register>,
}

impl Capability {
    /// A capability of `length` bytes, the two bytes of identifier and link included.
    ///
    /// Offsets in `registers` count from the start of the capability, so the first one is 2.
    pub fn new(id: u8, length: u8, registers: &[Register]) -> Self {
        Self {
            id,
            length: u16::from(length).max(2),
            registers: registers.to_vec(),
        }
    }
}

/// A capability of the space from 0x100 on.
#[derive(Clone, Debug)]
pub struct ExtendedCapability {
    id: u16,
    version: u8,
    length: u16,
    registers: Vec<Register>,
}

impl ExtendedCapability {
    /// An extended capability of `length` bytes, its four-byte header included.
    ///
    /// Offsets in `registers` count from the start of the capability, so the first one is 4.
    pub fn new(id: u16, version: u8, length: u16, registers: &[Register]) -> Self {
        let (version, length) = (version & 0xf, length.max(4));
        Self {
            id,
            version,
            length,
            registers: registers.to_vec(),
        }
    }
}

/// The tails of both lists while a function is being put together.
#[derive(Debug, Default)]
pub(crate) struct Capabilities {
    claimed: Vec<Range<u16>>,
    /// Offset of the last conventional capability.
    tail: Option<u16>,
    /// Offset and header of the last extended capability.
    extended_tail: Option<(u16, u32)>,
}

impl Capabilities {
    /// Appends a capability at offset `at`.
    pub(crate) fn add(
        &mut self,
        config: &mut ConfigSpace,
        at: u8,
        capability: &Capability,
    ) -> Result<(), ConfigError> {
        let at = u16::from(at);
        self.claim(at, capability.length, HEADER_END..CONVENTIONAL_END)?;
        check(&capability.registers, capability.length, at)?;
        config.define(at, &[Register::byte(0).value(capability.id.into())])?;
        config.define(at, &capability.registers)?;
        // Below 0x100, as claimed.
        config.link(
            self.tail.map_or(CAPABILITY_POINTER, |tail| tail + 1),
            &[at as u8],
        );
        config.link(
            STATUS,
            &(config.u16(STATUS) | STATUS_CAPABILITIES).to_le_bytes(),
        );
        self.tail = Some(at);
        Ok(())
    }

    /// Appends an extended capability at offset `at`; the first one must be at 0x100.
    pub(crate) fn add_extended(
        &mut self,
        config: &mut ConfigSpace,
        at: u16,
        capability: &ExtendedCapability,
    ) -> Result<(), ConfigError> {
        if self.extended_tail.is_none() && at != CONVENTIONAL_END {
            return Err(ConfigError::FirstExtended { at });
        }
        self.claim(at, capability.length, CONVENTIONAL_END..config.size())?;
        check(&capability.registers, capability.length, at)?;
        let header = u32::from(capability.id) | u32::from(capability.version) << 16;
        config.define(at, &[Register::dword(0).value(header)])?;
        config.define(at, &capability.registers)?;
        if let Some((tail, header)) = self.extended_tail.replace((at, header)) {
            config.link(tail, &(header | u32::from(at) << 20).to_le_bytes());
        }
        Ok(())
    }

    fn claim(&mut self, at: u16, length: u16, within: Range<u16>) -> Result<(), ConfigError> {
        let end = at.checked_add(length).filter(|end| *end <= within.end);
        let Some(end) = end.filter(|_| at.is_multiple_of(4) && at >= within.start) else {
            return Err(ConfigError::CapabilityOffset {
                at,
                first: within.start,
                end: within.end,
            });
        };
        if self
            .claimed
            .iter()
            .any(|other| at < other.end && other.start < end)
        {
            return Err(ConfigError::CapabilityOverlap { at });
        }
        self.claimed.push(at..end);
        Ok(())
    }
}

/// No register may reach out of its capability into the next one.
fn check(registers: &[Register], length: u16, at: u16) -> Result<(), ConfigError> {
    let inside = registers.iter().all(|register| register.end() <= length);
    inside.then_some(()).ok_or(ConfigError::OutOfSpace { at })
}

const HEADER_END: u16 = 0x40;
const CONVENTIONAL_END: u16 = 0x100;
