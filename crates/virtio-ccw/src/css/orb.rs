//! The operation-request block: what START SUBCHANNEL is to do (chapter 15).

use super::ccw::CcwFormat;
use super::ida::IdawFormat;

/// A command-mode operation-request block that can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orb {
    /// What it was parsed from.
    pub(super) bytes: [u8; Orb::LEN],
    pub(super) parameter: u32,
    /// What of word 1 goes into the subchannel-status word: key and controls.
    pub(super) status_flags: u16,
    /// The program may suspend itself.
    pub(super) suspend: bool,
    pub(super) format: CcwFormat,
    /// An interruption when the first command was accepted.
    pub(super) initial_status: bool,
    /// No interruption when the program suspends itself.
    pub(super) suppress_suspended: bool,
    pub(super) idaw: IdawFormat,
    pub(super) path_mask: u8,
    /// Incorrect length is suppressed for immediate operations.
    pub(super) suppress_length: bool,
    /// Modified indirect-data-address words may be used.
    pub(super) midaw: bool,
    pub(super) address: u32,
}

impl Orb {
    /// Bytes that are looked at. What follows them (the extension) only has priorities.
    pub(super) const LEN: usize = 12;

    /// Parses it; `None` is an operand exception: transport mode, which is not there, bits that
    /// must be zero, and program addresses of more than 31 bits.
    ///
    /// Accepted without effect are the storage key (there are no keys here), the hints on
    /// streaming, modification, synchronisation and prefetching (nothing is fetched before it is
    /// used), and address-limit checking (no limit can be set).
    pub(super) fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let (control, address) = (word(4), word(8));
        if control & INVALID != 0 || address >> 31 != 0 {
            return None;
        }
        let set = |bit: u32| control & bit != 0;
        Some(Self {
            bytes: *bytes,
            parameter: word(0),
            status_flags: (control >> 16) as u16 & IN_STATUS,
            suspend: set(SUSPEND),
            format: CcwFormat::new(set(FORMAT_1)),
            initial_status: set(INITIAL_STATUS),
            suppress_suspended: set(SUPPRESS_SUSPENDED),
            idaw: IdawFormat::new(set(FORMAT_2_IDAW), set(SMALL_BLOCKS)),
            path_mask: (control >> 8) as u8,
            suppress_length: set(SUPPRESS_LENGTH),
            midaw: set(MIDAW),
            address,
        })
    }
}

const SUSPEND: u32 = 0x0800_0000;
const FORMAT_1: u32 = 0x0080_0000;
const INITIAL_STATUS: u32 = 0x0020_0000;
const SUPPRESS_SUSPENDED: u32 = 0x0008_0000;
const TRANSPORT_MODE: u32 = 0x0004_0000;
const FORMAT_2_IDAW: u32 = 0x0002_0000;
const SMALL_BLOCKS: u32 = 0x0001_0000;
const SUPPRESS_LENGTH: u32 = 0x0000_0080;
const MIDAW: u32 = 0x0000_0040;
const INVALID: u32 = TRANSPORT_MODE | 0x0000_003e;
/// Key, suspend control, format, prefetch, initial-status interruption, address limit, suppress
/// suspended: the same bits in both.
const IN_STATUS: u16 = 0xf8f8;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(control: u32, address: u32) -> [u8; Orb::LEN] {
        let mut bytes = [0; Orb::LEN];
        bytes[..4].copy_from_slice(&7u32.to_be_bytes());
        bytes[4..8].copy_from_slice(&control.to_be_bytes());
        bytes[8..].copy_from_slice(&address.to_be_bytes());
        bytes
    }

    #[test]
    fn what_linux_sends() {
        let orb = Orb::parse(&bytes(0x0082_8000, 0x1000)).unwrap();
        assert_eq!(
            (orb.parameter, orb.address, orb.path_mask),
            (7, 0x1000, 0x80)
        );
        assert_eq!(orb.format, CcwFormat::One);
        assert_eq!(orb.idaw, IdawFormat::TWO_4K);
        assert_eq!(orb.status_flags, 0x0080);
        assert!(!orb.suspend && !orb.midaw && !orb.suppress_length);
    }

    #[test]
    fn transport_mode_and_reserved_bits_are_refused() {
        assert_eq!(Orb::parse(&bytes(TRANSPORT_MODE, 0)), None);
        for bit in 1..6 {
            assert_eq!(Orb::parse(&bytes(1 << bit, 0)), None, "bit {bit}");
        }
        assert!(
            Orb::parse(&bytes(1, 0)).is_some(),
            "the extension is ignored"
        );
        assert_eq!(Orb::parse(&bytes(0, 0x8000_0000)), None);
    }
}
