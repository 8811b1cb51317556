//! What a side can take off the other: checksums and segmentation.

use virtio_device::Features;

use crate::features as f;

/// Frames that one side takes unfinished: without a checksum, or larger than what goes over the
/// wire.
///
/// Of a [`Backend`](crate::Backend): what it can do at all. Of a driver: what it takes at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums may be missing.
    pub csum: bool,
    /// TCP over IPv4 may come in one large segment.
    pub tso4: bool,
    /// TCP over IPv6.
    pub tso6: bool,
    /// TCP segments may have ECN set.
    pub ecn: bool,
    /// UDP may come unfragmented.
    pub ufo: bool,
    /// UDP over IPv4 may come unsegmented.
    pub uso4: bool,
    /// UDP over IPv6.
    pub uso6: bool,
}

impl Offloads {
    /// None of them.
    pub const NONE: Self = Self {
        csum: false,
        tso4: false,
        tso6: false,
        ecn: false,
        ufo: false,
        uso4: false,
        uso6: false,
    };
    /// All of them.
    pub const ALL: Self = Self {
        csum: true,
        tso4: true,
        tso6: true,
        ecn: true,
        ufo: true,
        uso4: true,
        uso6: true,
    };

    /// Those of the driver among `features`, or among the bits of a command, which are the same
    /// (section 5.1.6.5.6.1).
    pub(crate) fn of_driver(features: Features) -> Self {
        Self {
            csum: features.contains(f::GUEST_CSUM),
            tso4: features.contains(f::GUEST_TSO4),
            tso6: features.contains(f::GUEST_TSO6),
            ecn: features.contains(f::GUEST_ECN),
            ufo: features.contains(f::GUEST_UFO),
            uso4: features.contains(f::GUEST_USO4),
            uso6: features.contains(f::GUEST_USO6),
        }
    }

    /// The feature bits by which a driver is offered to take frames from a back-end with these.
    pub(crate) fn driver_features(self) -> Features {
        f::GUEST_CSUM.when(self.csum)
            | f::GUEST_TSO4.when(self.tso4)
            | f::GUEST_TSO6.when(self.tso6)
            | f::GUEST_ECN.when(self.ecn)
            | f::GUEST_UFO.when(self.ufo)
            | f::GUEST_USO4.when(self.uso4)
            | f::GUEST_USO6.when(self.uso6)
    }

    /// The feature bits by which a back-end with these is offered to a driver that sends.
    pub(crate) fn device_features(self) -> Features {
        f::CSUM.when(self.csum)
            | f::HOST_TSO4.when(self.tso4)
            | f::HOST_TSO6.when(self.tso6)
            | f::HOST_ECN.when(self.ecn)
            | f::HOST_UFO.when(self.ufo)
            | f::HOST_USO.when(self.uso4 && self.uso6)
    }
}
