//! The device status field (section 2.1).

use std::ops::{BitOr, BitOrAssign};

/// A set of device status bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status(pub u8);

impl Status {
    /// Freshly reset.
    pub const RESET: Self = Self(0);
    /// The driver has found the device.
    pub const ACKNOWLEDGE: Self = Self(1);
    /// The driver knows how to drive it.
    pub const DRIVER: Self = Self(2);
    /// The driver is ready.
    pub const DRIVER_OK: Self = Self(4);
    /// Features are settled.
    pub const FEATURES_OK: Self = Self(8);
    /// The device can only be mended by a reset.
    pub const DEVICE_NEEDS_RESET: Self = Self(64);
    /// The driver has given up.
    pub const FAILED: Self = Self(128);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Status {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Status {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
