//! Why a device cannot be put on a subchannel. A guest causes none of these.

use virtio_device::props::PropError;

use crate::css::AttachError;

/// What is wrong with a device or its properties.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A property has a value that this device does not allow.
    #[error(transparent)]
    Property(#[from] PropError),
    /// The device is at fault.
    #[error(transparent)]
    Device(#[from] virtio_device::Error),
    /// The place is taken.
    #[error(transparent)]
    Attach(#[from] AttachError),
}
