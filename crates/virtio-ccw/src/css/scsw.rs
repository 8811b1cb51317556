//! The subchannel-status word (chapter 16), and what TEST SUBCHANNEL does to it.

use super::ccw::Ccw;
use super::orb::Orb;
use super::storage::Check;

/// A subchannel-status word of command mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scsw {
    pub(super) flags: u16,
    pub(super) control: Control,
    pub(super) address: u32,
    pub(super) device: u8,
    pub(super) subchannel: u8,
    pub(super) count: u16,
}

impl Scsw {
    pub(super) const LEN: usize = 12;

    /// As it is while the start function that `orb` asks for is pending.
    pub(super) fn start(orb: &Orb) -> Self {
        Self {
            flags: orb.status_flags,
            control: Control::START.with(Control::START_PENDING),
            address: orb.address,
            ..Self::default()
        }
    }

    pub(super) fn bytes(self) -> [u8; Self::LEN] {
        let Self {
            flags,
            control,
            address,
            device,
            subchannel,
            count,
        } = self;
        let words = [
            u32::from(flags) << 16 | u32::from(control.0),
            address,
            u32::from(device) << 24 | u32::from(subchannel) << 16 | u32::from(count),
        ];
        let mut bytes = [0; Self::LEN];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: half(0),
            control: Control(half(2)),
            address: u32::from(half(4)) << 16 | u32::from(half(6)),
            device: bytes[8],
            subchannel: bytes[9],
            count: half(10),
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.control.any(Control::PENDING)
    }

    /// Whether the only status that is pending is intermediate: the program has not ended.
    pub(super) fn is_intermediate(&self) -> bool {
        self.control.status() == Control::INTERMEDIATE.with(Control::PENDING)
    }

    /// Makes `status` pending, in addition to what is.
    pub(super) fn post(&mut self, status: Control) {
        self.control = self.control.with(status).with(Control::PENDING);
    }

    /// Intermediate status: the program goes on.
    pub(super) fn post_intermediate(&mut self, subchannel: u8) {
        self.subchannel |= subchannel;
        self.post(Control::INTERMEDIATE);
    }

    /// The start function ends here, with what `self` has in its other fields.
    pub(super) fn post_ending(&mut self, alert: bool) {
        self.control = self.control.without(Control::ACTIVITY);
        self.post(Control::PRIMARY.with(Control::SECONDARY));
        if alert {
            self.post(Control::ALERT);
        }
    }

    /// What TEST SUBCHANNEL leaves of a status that it has stored.
    pub(super) fn fetched(mut self) -> Self {
        let start = self.control.any(Control::START);
        let halt = self.control.any(Control::HALT);
        let suspended = self.control.any(Control::SUSPENDED);
        let ends = !self.is_intermediate() || halt && suspended;
        let gone = match ends {
            true => Control::FUNCTION.with(PENDING_ACTIVITY),
            false if suspended && start => Control::RESUME_PENDING,
            false => Control::NONE,
        };
        self.control = self.control.without(gone).without(Control::STATUS);
        self.flags &= !(Self::ZERO_CONDITION | Self::DEFERRED_CONDITION | Self::NO_PATH);
        (self.device, self.subchannel) = (0, 0);
        self
    }

    /// Suspend control: RESUME SUBCHANNEL is possible.
    pub(super) const SUSPEND: u16 = 0x0800;
    /// Deferred condition code.
    pub(super) const DEFERRED_CONDITION: u16 = 0x0300;
    /// The first command was accepted with condition code 0.
    pub(super) const ZERO_CONDITION: u16 = 0x0004;
    /// There is sense data in the extended-control word.
    pub(super) const EXTENDED_CONTROL: u16 = 0x0002;
    /// The extended-status word has format 0.
    pub(super) const LOGOUT: u16 = 0x0400;
    pub(super) const NO_PATH: u16 = 0x0001;

    pub(super) const CHANNEL_END: u8 = 0x08;
    pub(super) const DEVICE_END: u8 = 0x04;
    pub(super) const UNIT_CHECK: u8 = 0x02;
    pub(super) const UNIT_EXCEPTION: u8 = 0x01;

    pub(super) const PROGRAM_INTERRUPTION: u8 = 0x80;
    pub(super) const INCORRECT_LENGTH: u8 = 0x40;
    pub(super) const PROGRAM_CHECK: u8 = 0x20;
    pub(super) const CHANNEL_CONTROL_CHECK: u8 = 0x04;
}

impl Check {
    /// Its bit in the subchannel status.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Program => Scsw::PROGRAM_CHECK,
            Self::ChannelControl => Scsw::CHANNEL_CONTROL_CHECK,
        }
    }
}

/// The low half of word 0: function, activity and status control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control(pub(super) u16);

impl Control {
    pub(super) const NONE: Self = Self(0);
    pub(super) const START: Self = Self(0x4000);
    pub(super) const HALT: Self = Self(0x2000);
    pub(super) const CLEAR: Self = Self(0x1000);
    pub(super) const FUNCTION: Self = Self(0x7000);
    pub(super) const RESUME_PENDING: Self = Self(0x0800);
    pub(super) const START_PENDING: Self = Self(0x0400);
    pub(super) const HALT_PENDING: Self = Self(0x0200);
    pub(super) const CLEAR_PENDING: Self = Self(0x0100);
    pub(super) const SUBCHANNEL_ACTIVE: Self = Self(0x0080);
    pub(super) const DEVICE_ACTIVE: Self = Self(0x0040);
    pub(super) const SUSPENDED: Self = Self(0x0020);
    pub(super) const ACTIVITY: Self = Self(0x0fe0);
    pub(super) const ALERT: Self = Self(0x0010);
    pub(super) const INTERMEDIATE: Self = Self(0x0008);
    pub(super) const PRIMARY: Self = Self(0x0004);
    pub(super) const SECONDARY: Self = Self(0x0002);
    pub(super) const PENDING: Self = Self(0x0001);
    pub(super) const STATUS: Self = Self(0x001f);
    pub(super) const ALL: Self = Self(0x7fff);

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn function(self) -> Self {
        Self(self.0 & Self::FUNCTION.0)
    }

    pub(super) const fn status(self) -> Self {
        Self(self.0 & Self::STATUS.0)
    }
}

/// The address to show for a program that is at the word at `current`.
pub(super) const fn shown_address(current: u32) -> u32 {
    current.wrapping_add(Ccw::LEN)
}

/// What of the activity ends when status other than intermediate is fetched.
const PENDING_ACTIVITY: Control = Control::RESUME_PENDING
    .with(Control::START_PENDING)
    .with(Control::HALT_PENDING)
    .with(Control::CLEAR_PENDING)
    .with(Control::SUSPENDED);

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(control: Control) -> Control {
        let scsw = Scsw {
            control,
            ..Scsw::default()
        };
        scsw.fetched().control
    }

    #[test]
    fn bytes_are_big_endian_and_back() {
        let scsw = Scsw {
            flags: 0x0080,
            control: Control(0x4007),
            address: 0x1234_5678,
            device: 0x0c,
            subchannel: 0x40,
            count: 3,
        };
        let bytes = [0, 0x80, 0x40, 7, 0x12, 0x34, 0x56, 0x78, 0x0c, 0x40, 0, 3];
        assert_eq!(scsw.bytes(), bytes);
        assert_eq!(Scsw::from_bytes(&bytes), scsw);
    }

    #[test]
    fn ending_status_takes_the_function_with_it() {
        let ending = Control::START
            .with(Control::PRIMARY)
            .with(Control::SECONDARY)
            .with(Control::PENDING);
        assert_eq!(fetched(ending), Control::NONE);
        assert_eq!(
            fetched(Control::CLEAR.with(Control::PENDING)),
            Control::NONE
        );
    }

    #[test]
    fn intermediate_status_leaves_the_program_alone() {
        let running = Control::START
            .with(Control::SUBCHANNEL_ACTIVE)
            .with(Control::DEVICE_ACTIVE);
        let status = Control::INTERMEDIATE.with(Control::PENDING);
        assert_eq!(fetched(running.with(status)), running);
        let suspended = Control::START.with(Control::SUSPENDED);
        assert_eq!(
            fetched(suspended.with(Control::RESUME_PENDING).with(status)),
            suspended
        );
        assert_eq!(
            fetched(suspended.with(Control::HALT).with(status)),
            Control::NONE
        );
    }
}
