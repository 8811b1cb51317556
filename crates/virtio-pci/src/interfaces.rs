//! Which of the two interfaces a device has (section 4.1.1).

use virtio_device::props::{OnOffAuto, PropError};
use virtio_device::{DeviceId, Features};

use crate::identity;
use crate::{PciProps, Place};

/// The interfaces of a device; one without any cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interfaces {
    /// That of VIRTIO 1.x only.
    Modern,
    /// Both.
    Transitional,
    /// The one from before VIRTIO 1.0 only.
    Legacy,
}

impl Interfaces {
    /// What the properties say, for device `id` at `place`.
    pub(crate) fn of(props: &PciProps, place: Place, id: DeviceId) -> Result<Self, PropError> {
        let could = identity::transitional_id(id).is_some();
        let legacy = match props.disable_legacy {
            OnOffAuto::On => false,
            OnOffAuto::Off => true,
            OnOffAuto::Auto => could && place == Place::RootBus,
        };
        match (legacy, !props.disable_modern) {
            (true, _) if !could => Err(refuse("disable-legacy", "off", NO_LEGACY)),
            (true, true) => Ok(Self::Transitional),
            (true, false) => Ok(Self::Legacy),
            (false, true) => Ok(Self::Modern),
            (false, false) => Err(refuse("disable-modern", "on", NEITHER)),
        }
    }

    /// Refuses what no device with the legacy interface may offer: its drivers know of no IOMMU.
    pub(crate) fn check(self, features: Features) -> Result<(), PropError> {
        if self.has_legacy() && features.contains(Features::ACCESS_PLATFORM) {
            return Err(refuse("iommu_platform", "on", NO_IOMMU));
        }
        Ok(())
    }

    pub(crate) fn has_legacy(self) -> bool {
        self != Self::Modern
    }

    pub(crate) fn has_modern(self) -> bool {
        self != Self::Legacy
    }

    /// What these interfaces can carry of an offer.
    pub(crate) fn features(self, offer: Features) -> Features {
        match self {
            Self::Legacy => Features::from_bits(offer.page(0).into()),
            Self::Transitional => offer - NOT_CARRIED,
            Self::Modern => offer - NOT_CARRIED - LEGACY_ONLY,
        }
    }
}

/// Bits that only the legacy interface shows.
pub(crate) const LEGACY_ONLY: Features = Features::NOTIFY_ON_EMPTY.with(Features::ANY_LAYOUT);

/// Bits that stand for registers or meanings of notifications that this transport does not have.
const NOT_CARRIED: Features = Features::SR_IOV
    .with(Features::NOTIFICATION_DATA)
    .with(Features::NOTIF_CONFIG_DATA)
    .with(Features::ADMIN_VQ);

const NO_LEGACY: &str = "on or auto: this device has no legacy interface";
const NO_IOMMU: &str = "off, unless the legacy interface is left out (disable-legacy=on)";
const NEITHER: &str = "off, unless the legacy interface is there (disable-legacy=off)";

fn refuse(name: &'static str, value: &str, accepts: &'static str) -> PropError {
    PropError::Value {
        name,
        value: value.to_owned(),
        accepts,
    }
}
