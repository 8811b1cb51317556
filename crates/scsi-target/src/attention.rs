//! Unit attention conditions (SAM-5 section 5.14).

use std::sync::atomic::{AtomicU16, Ordering};

use crate::{Key, Sense};

/// Something that has happened to a logical unit, which its initiator has to hear of before its
/// next command is done. The first of those that are pending is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    PowerOn,
    /// BUS DEVICE RESET FUNCTION OCCURRED.
    Reset,
    /// I_T NEXUS LOSS OCCURRED.
    NexusLoss,
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    MediumChanged,
    /// OPERATOR MEDIUM REMOVAL REQUEST.
    EjectRequest,
    /// CAPACITY DATA HAS CHANGED.
    CapacityChanged,
    /// REPORTED LUNS DATA HAS CHANGED.
    LunsChanged,
}

/// Those of a logical unit that are pending. There is one initiator.
#[derive(Debug)]
pub(crate) struct Attentions(AtomicU16);

impl Attention {
    /// Additional sense code in the upper byte, its qualifier in the lower.
    pub fn code(self) -> u16 {
        match self {
            Self::PowerOn => 0x2900,
            Self::Reset => 0x2903,
            Self::NexusLoss => 0x2907,
            Self::MediumChanged => 0x2800,
            Self::EjectRequest => 0x5a01,
            Self::CapacityChanged => 0x2a09,
            Self::LunsChanged => 0x3f0e,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Attentions {
    /// Of a unit that was just switched on.
    pub(crate) fn new() -> Self {
        Self(AtomicU16::new(Attention::PowerOn.bit()))
    }

    pub(crate) fn raise(&self, attention: Attention) {
        self.0.fetch_or(attention.bit(), Ordering::Release);
    }

    /// A reset is told in place of what it makes pointless.
    pub(crate) fn replace(&self, attention: Attention) {
        self.0.store(attention.bit(), Ordering::Release);
    }

    pub(crate) fn clear(&self, attention: Attention) {
        self.0.fetch_and(!attention.bit(), Ordering::AcqRel);
    }

    /// Takes the first of them.
    #[inline]
    pub(crate) fn take(&self) -> Option<Sense> {
        if self.0.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.take_pending()
    }

    pub(crate) fn bits(&self) -> u16 {
        self.0.load(Ordering::Acquire)
    }

    /// False where a bit stands for nothing.
    pub(crate) fn set_bits(&self, bits: u16) -> bool {
        let known = ALL.iter().fold(0, |bits, attention| bits | attention.bit());
        let good = bits & !known == 0;
        if good {
            self.0.store(bits, Ordering::Release);
        }
        good
    }

    #[cold]
    fn take_pending(&self) -> Option<Sense> {
        let taken = |attention: &&Attention| {
            let bit = attention.bit();
            self.0.fetch_and(!bit, Ordering::AcqRel) & bit != 0
        };
        let attention = ALL.iter().find(taken)?;
        Some(Sense::new(Key::UnitAttention, attention.code()))
    }
}

const ALL: [Attention; 7] = [
    Attention::PowerOn,
    Attention::Reset,
    Attention::NexusLoss,
    Attention::MediumChanged,
    Attention::EjectRequest,
    Attention::CapacityChanged,
    Attention::LunsChanged,
];
