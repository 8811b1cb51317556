//! Why a machine could not be made or run.

use std::io;

use crate::exit;
use crate::options::BadOption;
use crate::sandbox;

/// Why a machine could not be made or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is wrong.
    #[error("{0}")]
    Option(#[from] BadOption),
    /// The host refused something.
    #[error("{0}: {1}")]
    Host(&'static str, #[source] io::Error),
    /// The sandbox could not be set up.
    #[error("-sandbox on: {0}; accepted: off, to run without")]
    Sandbox(#[from] sandbox::Error),
}

impl Error {
    /// The exit status it ends the VMM with.
    pub fn status(&self) -> u8 {
        match self {
            Self::Option(_) => exit::BAD_OPTION,
            Self::Host(..) | Self::Sandbox(_) => exit::FAILURE,
        }
    }
}

/// Says what was being done when the host refused.
pub(crate) fn host<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Host(what, error.into())
}
