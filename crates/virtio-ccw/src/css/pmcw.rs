//! The path-management-control word, and the subchannel-information block around it (chapter 15).

use super::scsw::Scsw;
use super::{DeviceNumber, Isc};

/// A subchannel-information block: path management, status, and (all zero) measurement and
/// model-dependent area.
pub(super) type Schib = [u8; 52];

/// The path-management-control word of a subchannel with one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pmcw {
    /// Interruption parameter.
    pub(super) parameter: u32,
    /// What the guest has set of word 1: subclass, enabled, multipath mode.
    pub(super) flags: u16,
    pub(super) device: DeviceNumber,
    pub(super) logical_path_mask: u8,
    pub(super) last_path_used: u8,
    pub(super) path_operational: u8,
    /// Sense data goes into the interruption-response block.
    pub(super) concurrent_sense: bool,
}

impl Pmcw {
    pub(super) const LEN: usize = 28;
    /// The only path.
    pub(super) const PATH: u8 = 0x80;

    /// As after a reset.
    pub(super) fn new(device: DeviceNumber) -> Self {
        Self {
            parameter: 0,
            flags: 0,
            device,
            logical_path_mask: Self::PATH,
            last_path_used: 0,
            path_operational: 0xff,
            concurrent_sense: false,
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.flags & ENABLED != 0
    }

    pub(super) fn isc(&self) -> Isc {
        Isc::from_low_bits(u32::from(self.flags >> 11))
    }

    /// Takes over what MODIFY SUBCHANNEL can change.
    pub(super) fn modify(&mut self, change: Modification) {
        let Modification {
            parameter,
            flags,
            logical_path_mask,
            path_operational,
            concurrent_sense,
        } = change;
        self.parameter = parameter;
        self.flags = flags;
        self.logical_path_mask = logical_path_mask;
        self.path_operational = path_operational;
        self.concurrent_sense = concurrent_sense;
    }

    pub(super) fn bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.parameter.to_be_bytes());
        bytes[4..6].copy_from_slice(&(self.flags | VALID).to_be_bytes());
        bytes[6..8].copy_from_slice(&self.device.0.to_be_bytes());
        bytes[8] = self.logical_path_mask;
        bytes[10] = self.last_path_used;
        bytes[11] = Self::PATH;
        bytes[14] = self.path_operational;
        bytes[15] = Self::PATH;
        bytes[27] = self.concurrent_sense.into();
        bytes
    }

    pub(super) fn schib(&self, scsw: Scsw) -> Schib {
        let mut bytes = [0; 52];
        bytes[..Self::LEN].copy_from_slice(&self.bytes());
        bytes[Self::LEN..Self::LEN + Scsw::LEN].copy_from_slice(&scsw.bytes());
        bytes
    }
}

/// What MODIFY SUBCHANNEL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modification {
    parameter: u32,
    flags: u16,
    logical_path_mask: u8,
    path_operational: u8,
    concurrent_sense: bool,
}

impl Modification {
    /// Parses a subchannel-information block; `None` is an operand exception: a bit that must be
    /// zero, the limit mode that does not exist, or extended measurements.
    ///
    /// Limit mode and measurement mode are ignored, as there are neither limits nor measurements:
    /// they read back as zero. So is everything that the channel subsystem itself sets.
    pub(super) fn parse(schib: &Schib) -> Option<Self> {
        let flags = u16::from_be_bytes([schib[4], schib[5]]);
        let characteristics = u32::from_be_bytes([24, 25, 26, 27].map(|at| schib[at]));
        if flags & RESERVED != 0
            || flags & LIMIT_MODE == LIMIT_MODE
            || characteristics & RESERVED_CHARACTERISTICS != 0
        {
            return None;
        }
        Some(Self {
            parameter: u32::from_be_bytes([0, 1, 2, 3].map(|at| schib[at])),
            flags: flags & MODIFIABLE,
            logical_path_mask: schib[8],
            path_operational: schib[14],
            concurrent_sense: characteristics & CONCURRENT_SENSE != 0,
        })
    }
}

const RESERVED: u16 = 0x0700;
const ENABLED: u16 = 0x0080;
const LIMIT_MODE: u16 = 0x0060;
const VALID: u16 = 0x0001;
/// Subclass, enabled, multipath mode.
const MODIFIABLE: u16 = 0x3884;
const CONCURRENT_SENSE: u32 = 0x0000_0001;
/// All but the subchannel type, which is not modified, the format of the measurement block, and
/// concurrent sense: extended measurements are among them.
const RESERVED_CHARACTERISTICS: u32 = 0xff1f_fffc;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_modified_reads_back() {
        let mut schib = [0; 52];
        schib[..4].copy_from_slice(&0xdead_beefu32.to_be_bytes());
        schib[4..6].copy_from_slice(&0x1884u16.to_be_bytes());
        (schib[8], schib[14], schib[27]) = (0xc0, 0x7f, 1);
        let mut pmcw = Pmcw::new(DeviceNumber(0x1234));
        pmcw.modify(Modification::parse(&schib).unwrap());
        assert!(pmcw.is_enabled());
        assert_eq!(pmcw.isc().number(), 3);
        let back = pmcw.schib(Scsw::default());
        assert_eq!(back[..4], schib[..4]);
        assert_eq!(back[4..8], [0x18, 0x85, 0x12, 0x34]);
        assert_eq!(
            (back[8], back[11], back[14], back[15]),
            (0xc0, 0x80, 0x7f, 0x80)
        );
        assert_eq!(back[27], 1);
    }

    #[test]
    fn what_cannot_be_is_an_operand_exception() {
        let with = |at: usize, byte: u8| {
            let mut schib = [0; 52];
            schib[at] = byte;
            Modification::parse(&schib)
        };
        assert_eq!(with(4, 0x01), None, "reserved");
        assert_eq!(with(5, 0x60), None, "limit mode 3");
        assert_eq!(with(24, 0x80), None, "reserved");
        assert_eq!(with(27, 0x04), None, "extended measurements");
        assert!(with(25, 0xe0).is_some(), "the subchannel type is ignored");
        assert!(with(5, 0x38).is_some(), "modes that are not there");
    }
}
