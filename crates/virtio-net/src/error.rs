//! Why there is no device.

use std::io;

use virtio_device::props::PropError;

/// Why a [`Net`](crate::Net) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A property is out of range, contradicts another, or does not fit the back-end.
    #[error(transparent)]
    Property(#[from] PropError),
    /// There are no lines, or more than there can be queues for.
    #[error("{0} queues; accepted: 1 to 511")]
    Lines(usize),
    /// The back-end or the host failed.
    #[error("network device: {0}")]
    Host(#[from] io::Error),
}
