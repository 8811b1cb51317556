//! Feature bits and configuration space (sections 5.5.3 and 5.5.4).
//!
//! The fields are little-endian for legacy drivers as well (section 5.5.4.0.0.1).

use virtio_device::{ConfigCell, Features};

pub(crate) const MUST_TELL_HOST: Features = Features::bit(0);
pub(crate) const STATS_VQ: Features = Features::bit(1);
pub(crate) const DEFLATE_ON_OOM: Features = Features::bit(2);
pub(crate) const FREE_PAGE_HINT: Features = Features::bit(3);
pub(crate) const PAGE_POISON: Features = Features::bit(4);
pub(crate) const PAGE_REPORTING: Features = Features::bit(5);

/// A 32-bit field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field(pub(crate) usize);

/// Pages that the balloon is to have.
pub(crate) const NUM_PAGES: Field = Field(0);
/// Pages that it has; the driver's to write.
pub(crate) const ACTUAL: Field = Field(4);
/// Which hints are wanted: [`STOP`], [`DONE`] or the identifier of a request.
pub(crate) const HINT_COMMAND: Field = Field(8);
/// What the guest fills free pages with; the driver's to write.
pub(crate) const POISON: Field = Field(12);

/// VIRTIO_BALLOON_CMD_ID_STOP: no hints are wanted.
pub(crate) const STOP: u32 = 0;
/// VIRTIO_BALLOON_CMD_ID_DONE: the driver may have hinted pages back.
pub(crate) const DONE: u32 = 1;

impl Field {
    pub(crate) fn load(self, config: &ConfigCell) -> u32 {
        let mut bytes = [0; 4];
        config.read(self.0 as u64, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Whether it had another value.
    pub(crate) fn store(self, config: &ConfigCell, value: u32) -> bool {
        config.write(self.0, &value.to_le_bytes())
    }

    /// Whether the byte at `offset` belongs to it.
    pub(crate) fn has(self, offset: u64) -> bool {
        offset.checked_sub(self.0 as u64).is_some_and(|at| at < 4)
    }
}

/// Bytes of the configuration space of a device that offers `features`: as many as QEMU's has.
pub(crate) fn length(features: Features) -> usize {
    if features.contains(PAGE_POISON) {
        16
    } else if features.contains(FREE_PAGE_HINT) {
        12
    } else {
        8
    }
}
