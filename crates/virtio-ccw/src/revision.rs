//! Revisions of the transport (section 4.3.2.1).

use std::sync::atomic::{AtomicU16, Ordering};

use virtio_device::{ByteOrder, DeviceId};

/// The interface that a driver has chosen. Later ones include the commands of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision(u16);

impl Revision {
    /// The legacy interface.
    pub(crate) const LEGACY: Self = Self(0);
    /// Virtio 1.
    pub(crate) const VERSION_1: Self = Self(1);
    /// READ_STATUS as well.
    pub(crate) const READ_STATUS: Self = Self(2);

    pub(crate) fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn is_legacy(self) -> bool {
        self == Self::LEGACY
    }

    /// Of its drivers. The machines that have channel I/O are big-endian.
    pub(crate) fn byte_order(self) -> ByteOrder {
        match self.is_legacy() {
            true => ByteOrder::Big,
            false => ByteOrder::Little,
        }
    }
}

/// The revisions that a device offers, and which of them its driver has selected.
#[derive(Debug)]
pub(crate) struct Revisions {
    lowest: Revision,
    highest: Revision,
    /// [`UNSET`] until the driver has issued its first command.
    selected: AtomicU16,
}

impl Revisions {
    /// Those up to `max` that device `id` can have; `None` where there are none, since devices that
    /// are not older than VIRTIO 1.0 have no legacy interface.
    pub(crate) fn new(id: DeviceId, max: u32) -> Option<Self> {
        let lowest = match id.is_transitional() {
            true => Revision::LEGACY,
            false => Revision::VERSION_1,
        };
        let max = u16::try_from(max).map_or(Revision::READ_STATUS, Revision);
        let highest = max.min(Revision::READ_STATUS);
        (lowest <= highest).then(|| Self {
            lowest,
            highest,
            selected: AtomicU16::new(UNSET),
        })
    }

    /// Whether a driver may choose the legacy interface.
    pub(crate) fn has_legacy(&self) -> bool {
        self.lowest.is_legacy()
    }

    /// Whether a driver may choose a later one.
    pub(crate) fn has_modern(&self) -> bool {
        !self.highest.is_legacy()
    }

    /// What the driver has selected since it enabled the subchannel.
    pub(crate) fn selected(&self) -> Option<Revision> {
        let number = self.selected.load(Ordering::Acquire);
        (number != UNSET).then_some(Revision(number))
    }

    /// The driver selects `number`. False where that is not offered, or something was selected.
    pub(crate) fn select(&self, number: u16) -> bool {
        let free = self.selected().is_none() && self.offers(number);
        if free {
            self.selected.store(number, Ordering::Release);
        }
        free
    }

    /// The driver issues a command other than to select a revision: one that does so first is a
    /// legacy driver. `None` where that is not welcome.
    pub(crate) fn in_force(&self) -> Option<Revision> {
        self.selected().or_else(|| {
            let legacy = Revision::LEGACY;
            self.select(legacy.number()).then_some(legacy)
        })
    }

    /// The subchannel was disabled.
    pub(crate) fn unset(&self) {
        self.selected.store(UNSET, Ordering::Release);
    }

    /// As saved. False, with nothing changed, for what cannot have been selected.
    pub(crate) fn restore(&self, number: Option<u16>) -> bool {
        let possible = number.is_none_or(|number| self.offers(number));
        if possible {
            let number = number.unwrap_or(UNSET);
            self.selected.store(number, Ordering::Release);
        }
        possible
    }

    fn offers(&self, number: u16) -> bool {
        (self.lowest..=self.highest).contains(&Revision(number))
    }
}

const UNSET: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_depends_on_device_and_limit() {
        let numbers = |id, max| -> Vec<u16> {
            let offered = |&number: &u16| {
                let revisions = Revisions::new(id, max).expect("some revision");
                revisions.select(number) && revisions.selected() == Some(Revision(number))
            };
            (0..=4).chain([u16::MAX]).filter(offered).collect()
        };
        assert_eq!(numbers(DeviceId::BLOCK, 2), [0, 1, 2]);
        assert_eq!(numbers(DeviceId::BLOCK, 1), [0, 1]);
        assert_eq!(numbers(DeviceId::BLOCK, 0), [0]);
        assert_eq!(numbers(DeviceId::BLOCK, u32::MAX), [0, 1, 2]);
        assert_eq!(numbers(DeviceId(16), 2), [1, 2]);
        assert!(Revisions::new(DeviceId(16), 0).is_none());
    }

    #[test]
    fn one_is_selected_once() {
        let revisions = Revisions::new(DeviceId::BLOCK, 2).expect("some revision");
        assert!(!revisions.select(3));
        assert!(revisions.select(1));
        assert!(!revisions.select(2) && !revisions.select(1));
        assert_eq!(revisions.in_force(), Some(Revision::VERSION_1));
        revisions.unset();
        assert_eq!(revisions.selected(), None);
        assert_eq!(revisions.in_force(), Some(Revision::LEGACY));
        assert!(!revisions.select(2), "a legacy driver stays one");
    }

    #[test]
    fn a_modern_device_has_nothing_for_drivers_that_select_nothing() {
        let revisions = Revisions::new(DeviceId(16), 2).expect("some revision");
        assert_eq!(revisions.in_force(), None);
        assert!(revisions.select(2));
    }
}
