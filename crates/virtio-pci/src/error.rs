//! Why a device cannot be put on PCI. A guest causes none of these.

use virtio_device::props::PropError;
use vm_pci::ConfigError;

/// What is wrong with a device, its properties or its saved state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A property has a value that this device, or its place, does not allow.
    #[error(transparent)]
    Property(#[from] PropError),
    /// The device, or the state that it was to take over, is at fault.
    #[error(transparent)]
    Device(#[from] virtio_device::Error),
    /// The function's registers cannot be laid out, or saved ones do not fit.
    #[error(transparent)]
    Function(#[from] ConfigError),
}
