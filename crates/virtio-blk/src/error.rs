//! Why there is no device.

use std::io;

use virtio_device::props::PropError;

/// Why a [`Blk`](crate::Blk) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlkError {
    /// A property is out of range, or contradicts another.
    #[error(transparent)]
    Property(#[from] PropError),
    /// The image is open elsewhere in a way that excludes this device.
    #[error("the image is in use elsewhere; accepted: an image of its own, or share-rw=on for all")]
    InUse,
    /// The image does not consist of whole blocks.
    #[error("the image is {size} bytes long; accepted: a multiple of {multiple}")]
    Length {
        /// Length of the image in bytes.
        size: u64,
        /// Length of a logical block in bytes.
        multiple: u32,
    },
    /// The zones are not those of a disk of this size, or not of whole logical blocks.
    #[error("the zones do not fit the disk; accepted: zones of whole logical blocks, for its size")]
    Zones,
    /// The back-end failed.
    #[error("the image cannot be used: {0}")]
    Backend(#[from] io::Error),
}
