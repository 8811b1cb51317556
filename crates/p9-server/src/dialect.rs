//! The dialects of 9P2000 that are spoken.
//!
//! Each operation of a dialect is a message of its own, and is served whichever was agreed on. What
//! the dialect decides is how an error is told, and whether a directory is read by Tread.

use std::sync::atomic::{AtomicU64, Ordering};

/// A dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// 9P2000.L. Errors have its form also before one is agreed on.
    #[default]
    Linux,
    /// 9P2000.u.
    Unix,
}

/// What Tversion has come to: both at once, or nothing yet.
#[derive(Debug, Default)]
pub(crate) struct Agreement(AtomicU64);

impl Dialect {
    /// The dialect that a Tversion asks for, if it is spoken.
    pub(crate) fn named(version: &[u8]) -> Option<Self> {
        let mut spoken = [Self::Linux, Self::Unix].into_iter();
        spoken.find(|dialect| dialect.name() == version)
    }

    /// As Tversion names it.
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Linux => b"9P2000.L",
            Self::Unix => b"9P2000.u",
        }
    }
}

impl Agreement {
    /// Largest message in bytes; 0 before the first Tversion.
    pub(crate) fn msize(&self) -> u32 {
        self.0.load(Ordering::Acquire) as u32
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.0.load(Ordering::Acquire) & UNIX {
            0 => Dialect::Linux,
            _ => Dialect::Unix,
        }
    }

    pub(crate) fn set(&self, msize: u32, dialect: Dialect) {
        let dialect = match dialect {
            Dialect::Linux => 0,
            Dialect::Unix => UNIX,
        };
        self.0.store(u64::from(msize) | dialect, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Above the message size.
const UNIX: u64 = 1 << 32;
