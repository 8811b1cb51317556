//! Virtio device IDs (section 5).

use std::fmt;

/// A virtio device ID, such as 2 for a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// Network device (section 5.1).
    pub const NET: Self = Self(1);
    /// Block device (section 5.2).
    pub const BLOCK: Self = Self(2);
    /// Console device (section 5.3).
    pub const CONSOLE: Self = Self(3);
    /// Entropy device (section 5.4).
    pub const ENTROPY: Self = Self(4);
    /// Traditional memory balloon device (section 5.5).
    pub const BALLOON: Self = Self(5);
    /// SCSI host device (section 5.6).
    pub const SCSI: Self = Self(8);
    /// 9P transport (section 5, device ID 9).
    pub const P9: Self = Self(9);

    /// Whether the device is as old as the legacy interface, so that it can be transitional
    /// (section 1.3.1).
    pub const fn is_transitional(self) -> bool {
        matches!(
            self,
            Self::NET
                | Self::BLOCK
                | Self::CONSOLE
                | Self::ENTROPY
                | Self::BALLOON
                | Self::SCSI
                | Self::P9
        )
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio device {}", self.0)
    }
}
