//! The status register of transports whose driver can be told of a refusal.

use virtio_device::AddressSpace;

use super::{Core, Phase};
use crate::Status;

impl<AS: AddressSpace> Core<AS> {
    /// As [`write_status`](Self::write_status), but all of `value` or nothing: false, with the
    /// status as it was, where the device does not agree to a bit, where one is unknown, and where
    /// `value` takes one away other than by 0 (section 4.3.2.3.2).
    pub fn set_status(&mut self, value: Status) -> bool {
        if value == Status::RESET {
            self.write_status(value);
            return true;
        }
        // A driver that has seen the device's own bit may write it back.
        let own = self.status().without(self.status);
        let value = value.without(own);
        let agreed = self.phase != Phase::Resetting
            && value.contains(self.status)
            && SETTABLE.contains(value)
            && self.agrees(value.without(self.status), value);
        if agreed {
            self.write_status(value);
        }
        agreed
    }

    /// Whether the device will set the bits of `added`, which make its status `value`.
    fn agrees(&mut self, added: Status, value: Status) -> bool {
        let before = self.status;
        self.status = Status(value.0 & STEPS.0);
        let features = !added.contains(Status::FEATURES_OK) || self.accepts_features();
        let driver = !added.contains(Status::DRIVER_OK) || self.may_start();
        self.status = before;
        features && driver
    }
}

/// What a driver can bring about.
const SETTABLE: Status = Status(STEPS.0 | Status::DRIVER_OK.0 | Status::FAILED.0);
/// What comes before DRIVER_OK.
const STEPS: Status = Status(Status::ACKNOWLEDGE.0 | Status::DRIVER.0 | Status::FEATURES_OK.0);
