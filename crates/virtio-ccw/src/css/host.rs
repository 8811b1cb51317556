//! What the VMM does for a channel subsystem: deliver interruptions.

use super::SubchannelId;

/// The VMM's side of a channel subsystem.
///
/// Called from any thread, and never with a lock of the channel subsystem held, so an
/// implementation may execute an instruction of the same subchannel from within. The price is that
/// a raised interruption can come late: its status may already have been fetched by TEST
/// SUBCHANNEL on another CPU, which then finds none (condition code 1). Operating systems expect
/// that.
pub trait CssHost: Send + Sync {
    /// Makes an I/O interruption pending, floating: any CPU that is enabled for its subclass may
    /// take it. Raising one that is pending already has no effect.
    fn raise(&self, interruption: Interruption);

    /// The status of `subchannel` was fetched or cleared: its interruption, if still pending, is
    /// not any more. A host whose hypervisor does this by itself (KVM, before it reports TEST
    /// SUBCHANNEL), or one that cannot take an interruption back, need do nothing.
    fn withdraw(&self, subchannel: SubchannelId);

    /// Takes the most urgent pending interruption of the subclasses in `enabled`: TEST PENDING
    /// INTERRUPTION. `None` where nothing is pending, or where the hypervisor executes that
    /// instruction by itself and never reports it.
    fn take(&self, enabled: IscMask) -> Option<Interruption>;

    /// A channel report word waits for STORE CHANNEL REPORT WORD: makes a machine-check
    /// interruption (channel report pending) pending.
    fn channel_report_pending(&self);
}

/// An I/O interruption (chapter 16, "I/O Interruptions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interruption {
    /// A subchannel has status.
    Subchannel {
        /// Which one.
        id: SubchannelId,
        /// Interruption parameter.
        parameter: u32,
        /// Subclass.
        isc: Isc,
    },
    /// An adapter has set an indicator.
    Adapter {
        /// Subclass.
        isc: Isc,
    },
}

impl Interruption {
    /// Subclass.
    pub fn isc(self) -> Isc {
        match self {
            Self::Subchannel { isc, .. } | Self::Adapter { isc } => isc,
        }
    }

    /// The subchannel; an adapter has none.
    pub fn subchannel(self) -> Option<SubchannelId> {
        match self {
            Self::Subchannel { id, .. } => Some(id),
            Self::Adapter { .. } => None,
        }
    }

    /// Subsystem-identification word: low-core 0xb8; 0 for an adapter.
    ///
    /// Its halves are `subchannel_id` and `subchannel_nr` of KVM's interruptions.
    pub fn subchannel_word(self) -> u32 {
        self.subchannel().map_or(0, SubchannelId::word)
    }

    /// Interruption parameter: low-core 0xbc; 0 for an adapter.
    pub fn parameter(self) -> u32 {
        match self {
            Self::Subchannel { parameter, .. } => parameter,
            Self::Adapter { .. } => 0,
        }
    }

    /// Interruption-identification word: low-core 0xc0.
    pub fn word(self) -> u32 {
        let adapter = matches!(self, Self::Adapter { .. });
        u32::from(adapter) << 31 | u32::from(self.isc().number()) << 27
    }
}

/// I/O-interruption subclass, 0 (most urgent) to 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isc(u8);

impl Isc {
    /// Subclass `number`; `None` above 7.
    pub const fn new(number: u8) -> Option<Self> {
        match number < 8 {
            true => Some(Self(number)),
            false => None,
        }
    }

    /// All of them, the most urgent first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..8).map(Self)
    }

    /// The low three bits of `bits`.
    pub(crate) const fn from_low_bits(bits: u32) -> Self {
        Self((bits & 7) as u8)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Subclasses that a CPU is enabled for: the top byte of the low half of control register 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IscMask(u8);

impl IscMask {
    /// All subclasses.
    pub const ALL: Self = Self(0xff);

    /// From control register 6.
    pub const fn from_cr6(cr6: u64) -> Self {
        Self((cr6 >> 24) as u8)
    }

    /// Whether the CPU is enabled for `isc`.
    pub const fn contains(self, isc: Isc) -> bool {
        self.0 & 0x80 >> isc.0 != 0
    }
}
