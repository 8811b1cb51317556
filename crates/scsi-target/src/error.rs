//! What the host can get wrong.

use std::io::{self, ErrorKind};

/// Why there is no logical unit, or why a medium does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The image is open elsewhere in a way that excludes this unit.
    #[error("the image is in use elsewhere; accepted: an image of its own, or share-rw=on for all")]
    InUse,
    /// The image does not consist of whole blocks.
    #[error("the image is {size} bytes long; accepted: a multiple of {multiple}")]
    Length {
        /// Length of the image in bytes.
        size: u64,
        /// Length of a block in bytes.
        multiple: u32,
    },
    /// The back-end failed.
    #[error("the image cannot be used: {0}")]
    Backend(#[from] io::Error),
    /// What the tray does not allow.
    #[error(transparent)]
    Tray(#[from] TrayError),
}

/// Why the tray does not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrayError {
    /// The medium is not removable.
    #[error("the medium is not removable")]
    NotRemovable,
    /// The initiator has locked it. It has been asked to let go.
    #[error("the guest has locked the tray; it has been asked to open it")]
    Locked,
    /// It is closed, and a medium is changed while it is open.
    #[error("the tray is closed")]
    Closed,
    /// There is a medium already.
    #[error("there is a medium already")]
    Occupied,
}

impl UnitError {
    pub(crate) fn claim(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock => Self::InUse,
            _ => error.into(),
        }
    }
}
