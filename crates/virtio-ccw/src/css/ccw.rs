//! Channel-command words (chapter 15), of both formats.

use super::Command;
use super::storage::Check;

/// Which of its two layouts a channel-command word has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CcwFormat {
    /// 24-bit addresses.
    Zero,
    /// 31-bit addresses.
    One,
}

impl CcwFormat {
    pub(super) const fn new(one: bool) -> Self {
        match one {
            true => Self::One,
            false => Self::Zero,
        }
    }

    /// The first address that is too large.
    pub(super) const fn limit(self) -> u64 {
        match self {
            Self::Zero => 1 << 24,
            Self::One => 1 << 31,
        }
    }
}

/// A channel-command word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ccw {
    pub(super) command: Command,
    pub(super) flags: u8,
    pub(super) count: u16,
    pub(super) address: u32,
}

impl Ccw {
    pub(super) const LEN: u32 = 8;

    pub(super) fn parse(bytes: [u8; 8], format: CcwFormat) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = bytes;
        match format {
            CcwFormat::Zero => Self {
                command: Command(b0),
                flags: b4,
                count: u16::from_be_bytes([b6, b7]),
                address: u32::from_be_bytes([0, b1, b2, b3]),
            },
            CcwFormat::One => Self {
                command: Command(b0),
                flags: b1,
                count: u16::from_be_bytes([b2, b3]),
                address: u32::from_be_bytes([b4, b5, b6, b7]),
            },
        }
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it is a TRANSFER IN CHANNEL, and one that can be.
    pub(super) fn is_transfer(self, format: CcwFormat) -> Result<bool, Check> {
        if self.command.0 & 0x0f != Command::TRANSFER_IN_CHANNEL.0 {
            return Ok(false);
        }
        // Format 0 ignores the rest of the word.
        let plain =
            self.command == Command::TRANSFER_IN_CHANNEL && (self.flags, self.count) == (0, 0);
        match plain || format == CcwFormat::Zero {
            true => Ok(true),
            false => Err(Check::Program),
        }
    }

    /// Checks what must hold of a word that is not a TRANSFER IN CHANNEL. `data` says that it was
    /// fetched by data chaining, where the command code does not count.
    pub(super) fn check(self, rules: Rules, data: bool) -> Result<(), Check> {
        let Rules {
            format,
            midaw,
            suspend,
        } = rules;
        let zero_allowed = format == CcwFormat::One && !data && !self.has(Self::CHAIN_DATA);
        let modified = self.has(Self::MODIFIED_INDIRECT);
        let bad = !data && self.command.0 & 0x0f == 0
            || u64::from(self.address) >= format.limit()
            || self.count == 0 && !zero_allowed
            || modified && (!midaw || self.flags & (Self::INDIRECT | Self::SKIP) != 0)
            || self.has(Self::SUSPEND) && (!suspend || data);
        match bad {
            true => Err(Check::Program),
            false => Ok(()),
        }
    }

    pub(super) const CHAIN_DATA: u8 = 0x80;
    pub(super) const CHAIN_COMMAND: u8 = 0x40;
    pub(super) const SUPPRESS_LENGTH: u8 = 0x20;
    pub(super) const SKIP: u8 = 0x10;
    /// Program-controlled interruption.
    pub(super) const INTERRUPT: u8 = 0x08;
    pub(super) const INDIRECT: u8 = 0x04;
    pub(super) const SUSPEND: u8 = 0x02;
    pub(super) const MODIFIED_INDIRECT: u8 = 0x01;
}

/// What the operation-request block allows a channel-command word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) format: CcwFormat,
    pub(super) midaw: bool,
    pub(super) suspend: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        format: CcwFormat::One,
        midaw: false,
        suspend: false,
    };

    fn ccw(command: u8, flags: u8, count: u16, address: u32) -> Ccw {
        Ccw {
            command: Command(command),
            flags,
            count,
            address,
        }
    }

    #[test]
    fn both_formats_are_read() {
        let one = [0xe4, 0x20, 0, 40, 0x12, 0x34, 0x56, 0x78];
        assert_eq!(
            Ccw::parse(one, CcwFormat::One),
            ccw(0xe4, 0x20, 40, 0x1234_5678)
        );
        let zero = [0xe4, 0x34, 0x56, 0x78, 0x20, 0xff, 0, 40];
        assert_eq!(
            Ccw::parse(zero, CcwFormat::Zero),
            ccw(0xe4, 0x20, 40, 0x34_5678)
        );
    }

    #[test]
    fn transfer_in_channel_is_strict_in_format_1_only() {
        assert_eq!(ccw(0x08, 0, 0, 8).is_transfer(CcwFormat::One), Ok(true));
        assert_eq!(ccw(0x03, 0, 0, 8).is_transfer(CcwFormat::One), Ok(false));
        for odd in [ccw(0x18, 0, 0, 8), ccw(8, 0x40, 0, 8), ccw(8, 0, 1, 8)] {
            assert_eq!(odd.is_transfer(CcwFormat::One), Err(Check::Program));
            assert_eq!(odd.is_transfer(CcwFormat::Zero), Ok(true));
        }
    }

    #[test]
    fn rules_of_a_command() {
        let check = |ccw: Ccw| ccw.check(RULES, false);
        assert_eq!(check(ccw(3, 0, 0, 0)), Ok(()));
        assert_eq!(check(ccw(0x10, 0, 1, 0)), Err(Check::Program), "command");
        assert_eq!(check(ccw(3, 0x80, 0, 0)), Err(Check::Program), "count");
        assert_eq!(check(ccw(3, 0, 1, 1 << 31)), Err(Check::Program), "address");
        assert_eq!(check(ccw(3, 2, 1, 0)), Err(Check::Program), "suspend");
        assert_eq!(check(ccw(3, 1, 1, 0)), Err(Check::Program), "MIDAW");
        let midaw = Rules {
            midaw: true,
            ..RULES
        };
        assert_eq!(ccw(3, 1, 1, 0).check(midaw, false), Ok(()));
        assert_eq!(ccw(3, 5, 1, 0).check(midaw, false), Err(Check::Program));
        assert_eq!(ccw(3, 0x11, 1, 0).check(midaw, false), Err(Check::Program));
        let zero = Rules {
            format: CcwFormat::Zero,
            ..RULES
        };
        assert_eq!(ccw(3, 0, 0, 0).check(zero, false), Err(Check::Program));
    }

    #[test]
    fn rules_of_chained_data() {
        assert_eq!(ccw(0x10, 0, 1, 0).check(RULES, true), Ok(()));
        assert_eq!(ccw(3, 0, 0, 0).check(RULES, true), Err(Check::Program));
        let suspend = Rules {
            suspend: true,
            ..RULES
        };
        assert_eq!(ccw(3, 2, 1, 0).check(suspend, false), Ok(()));
        assert_eq!(ccw(3, 2, 1, 0).check(suspend, true), Err(Check::Program));
    }
}
