//! Feature bits (sections 2.2 and 6): a 128-bit set and the dependencies between bits.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// A set of up to 128 feature bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Features(u128);

impl Features {
    /// No feature at all.
    pub const NONE: Self = Self(0);
    /// VIRTIO_F_NOTIFY_ON_EMPTY (legacy, section 6.3): interrupt when the ring runs empty.
    pub const NOTIFY_ON_EMPTY: Self = Self::bit(24);
    /// VIRTIO_F_ANY_LAYOUT (legacy, section 6.3): any segmentation of a request is accepted.
    pub const ANY_LAYOUT: Self = Self::bit(27);
    /// VIRTIO_F_INDIRECT_DESC: indirect descriptors.
    pub const INDIRECT_DESC: Self = Self::bit(28);
    /// VIRTIO_F_EVENT_IDX: `used_event` and `avail_event`.
    pub const EVENT_IDX: Self = Self::bit(29);
    /// VIRTIO_F_VERSION_1: not a legacy device.
    pub const VERSION_1: Self = Self::bit(32);
    /// VIRTIO_F_ACCESS_PLATFORM: buffers are addressed through the platform's IOMMU.
    pub const ACCESS_PLATFORM: Self = Self::bit(33);
    /// VIRTIO_F_RING_PACKED: packed virtqueues.
    pub const RING_PACKED: Self = Self::bit(34);
    /// VIRTIO_F_IN_ORDER: buffers are used in the order in which they became available.
    pub const IN_ORDER: Self = Self::bit(35);
    /// VIRTIO_F_ORDER_PLATFORM: the driver orders memory as the platform demands.
    pub const ORDER_PLATFORM: Self = Self::bit(36);
    /// VIRTIO_F_SR_IOV: single root I/O virtualization.
    pub const SR_IOV: Self = Self::bit(37);
    /// VIRTIO_F_NOTIFICATION_DATA: extra data in available buffer notifications.
    pub const NOTIFICATION_DATA: Self = Self::bit(38);
    /// VIRTIO_F_NOTIF_CONFIG_DATA: the device chooses the notification's queue identifier.
    pub const NOTIF_CONFIG_DATA: Self = Self::bit(39);
    /// VIRTIO_F_RING_RESET: queues can be reset one by one.
    pub const RING_RESET: Self = Self::bit(40);
    /// VIRTIO_F_ADMIN_VQ: the device has administration virtqueues.
    pub const ADMIN_VQ: Self = Self::bit(41);
    /// VIRTIO_F_SUSPEND: the driver can suspend the device by its status.
    pub const SUSPEND: Self = Self::bit(43);

    /// The set of just the bit numbered `n`; empty where `n` is 128 or more.
    pub const fn bit(n: u8) -> Self {
        if n < 128 { Self(1 << n) } else { Self(0) }
    }

    /// The set with these bits, bit 0 lowest.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits, bit 0 lowest.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Whether every bit of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether this set has any bit of `other`.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together; the `const` form of `|`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` if `condition`, else the empty set.
    #[must_use]
    pub const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    /// The 32 bits of page `select`, as the `*_feature_select` registers see them; 0 past the end.
    pub const fn page(self, select: u32) -> u32 {
        if select < 4 {
            (self.0 >> (select * 32)) as u32
        } else {
            0
        }
    }

    /// This set with page `select` replaced; unchanged where the page is past the end.
    #[must_use]
    pub const fn with_page(self, select: u32, value: u32) -> Self {
        if select >= 4 {
            return self;
        }
        let shift = select * 32;
        Self(self.0 & !(0xffff_ffff << shift) | (value as u128) << shift)
    }

    /// The first of `rules` that this set breaks: its feature is there, none of its needs is.
    pub fn broken(self, rules: &[Dependency]) -> Option<&Dependency> {
        rules
            .iter()
            .find(|rule| self.contains(rule.feature) && !self.intersects(rule.needs_any))
    }
}

/// "Feature A requires feature B (or C)", as the feature-bit sections of the specification say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The feature that has a requirement.
    pub feature: Features,
    /// At least one of these must be there as well.
    pub needs_any: Features,
}

impl Dependency {
    /// `feature` requires one of `needs_any`.
    pub const fn new(feature: Features, needs_any: Features) -> Self {
        Self { feature, needs_any }
    }

    /// The requirements among the device-independent bits (section 6): those that came with the
    /// modern interface need VERSION_1.
    pub const CORE: &'static [Self] = &[
        Self::new(Features::ACCESS_PLATFORM, Features::VERSION_1),
        Self::new(Features::RING_PACKED, Features::VERSION_1),
        Self::new(Features::IN_ORDER, Features::VERSION_1),
        Self::new(Features::ORDER_PLATFORM, Features::VERSION_1),
        Self::new(Features::SR_IOV, Features::VERSION_1),
        Self::new(Features::NOTIFICATION_DATA, Features::VERSION_1),
        Self::new(Features::NOTIF_CONFIG_DATA, Features::VERSION_1),
        Self::new(Features::RING_RESET, Features::VERSION_1),
        Self::new(Features::ADMIN_VQ, Features::VERSION_1),
        Self::new(Features::SUSPEND, Features::VERSION_1),
    ];
}

impl BitOr for Features {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Features {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Features {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Set difference: the bits of `self` that are not in `other`.
impl Sub for Features {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = (0..128u8).filter(|&n| self.contains(Self::bit(n)));
        f.write_str("Features")?;
        f.debug_set().entries(bits).finish()
    }
}
