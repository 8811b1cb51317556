//! Errors as a peer sees them.

use std::fmt::Display;

use serde::Serialize;

use crate::hotplug::HotplugError;
use crate::options::BadOption;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{desc}")]
pub struct QmpError {
    /// What programs may act on.
    pub class: Class,
    /// What people may read.
    pub desc: String,
}

/// Classes of error, of which most are generic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Class {
    /// No class of its own.
    GenericError,
    /// There is no such command, or not now.
    CommandNotFound,
    /// There is no such device.
    DeviceNotFound,
    /// There is no device for that.
    DeviceNotActive,
}

impl QmpError {
    /// An error without a class of its own.
    pub fn generic(desc: impl Display) -> Self {
        Self {
            class: Class::GenericError,
            desc: desc.to_string(),
        }
    }

    /// A command that is not there.
    pub fn no_command(desc: impl Display) -> Self {
        Self {
            class: Class::CommandNotFound,
            desc: desc.to_string(),
        }
    }

    /// An identifier that is taken.
    pub fn duplicate(id: &str) -> Self {
        Self::generic(format_args!("Duplicate ID '{id}'"))
    }

    /// A device that is needed and not there.
    pub fn not_active(desc: impl Display) -> Self {
        Self {
            class: Class::DeviceNotActive,
            desc: desc.to_string(),
        }
    }

    /// A device that is not there.
    pub fn no_device(id: &str) -> Self {
        Self {
            class: Class::DeviceNotFound,
            desc: format!("Device '{id}' not found"),
        }
    }
}

impl From<BadOption> for QmpError {
    fn from(bad: BadOption) -> Self {
        Self::generic(bad)
    }
}

impl From<HotplugError> for QmpError {
    fn from(error: HotplugError) -> Self {
        Self::generic(error)
    }
}

impl From<std::io::Error> for QmpError {
    fn from(error: std::io::Error) -> Self {
        Self::generic(error)
    }
}
