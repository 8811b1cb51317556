//! Saved state of a device: versioned bytes that a restore treats as untrusted input.

use crate::{Error, Result};

/// The saved state of one device or transport.
///
/// `kind` names whose it is and `version` how to read `bytes`. The bytes are the device's own
/// encoding; every `restore` validates them against the device as it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SavedState {
    /// Whose state this is, such as `virtio-blk`.
    pub kind: String,
    /// Version of the encoding, from 1.
    pub version: u32,
    /// The encoded state.
    pub bytes: Vec<u8>,
}

impl SavedState {
    /// State of `kind` in encoding `version`.
    pub fn new(kind: &str, version: u32, bytes: Vec<u8>) -> Self {
        Self {
            kind: kind.to_owned(),
            version,
            bytes,
        }
    }

    /// The bytes, if this is state of `kind` in encoding `version`.
    ///
    /// # Errors
    /// [`Error::State`] where the kind or the version is another.
    pub fn expect(&self, kind: &str, version: u32) -> Result<&[u8]> {
        if self.kind != kind {
            return Err(Error::State("state of another kind of device"));
        }
        if self.version != version {
            return Err(Error::State("state of an unknown version"));
        }
        Ok(&self.bytes)
    }
}
