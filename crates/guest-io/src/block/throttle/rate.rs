//! Limits, as QEMU's `throttling.*` options have them.

use std::io::{self, ErrorKind};
use std::num::NonZeroU64;

/// A limit to a rate: so many units in a second in the long run, and more than that for a while.
///
/// Where no burst is given, what was not used in the last tenth of a second may be caught up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    average: NonZeroU64,
    burst: Option<Burst>,
}

/// More than the average, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Units in a second.
    pub rate: NonZeroU64,
    /// How long that may last after a time of rest.
    pub seconds: NonZeroU64,
}

/// Whose rate is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// That of reads and writes together.
    Total(Rate),
    /// That of each for itself, or of one only.
    Each {
        /// Reads.
        read: Option<Rate>,
        /// All else.
        write: Option<Rate>,
    },
}

/// The limits of a group. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes read and written, discarded and zeroed.
    pub bytes: Option<Limit>,
    /// Requests.
    pub operations: Option<Limit>,
    /// A request of more bytes than this counts as several.
    pub operation_size: Option<NonZeroU64>,
}

impl Rate {
    /// `average` units in a second.
    pub fn new(average: NonZeroU64) -> Self {
        Self {
            average,
            burst: None,
        }
    }

    /// After a time of rest up to `rate` units in a second, for `seconds` seconds.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a rate below the average.
    pub fn burst(self, rate: NonZeroU64, seconds: NonZeroU64) -> io::Result<Self> {
        if rate < self.average {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            burst: Some(Burst { rate, seconds }),
            ..self
        })
    }

    /// Units in a second, in the long run.
    pub fn average(&self) -> NonZeroU64 {
        self.average
    }

    /// What is beyond that for a while, if anything is.
    pub fn bursts(&self) -> Option<Burst> {
        self.burst
    }
}

impl Limit {
    /// Of reads and writes together, of reads, and of writes.
    pub fn rates(self) -> [Option<Rate>; 3] {
        match self {
            Self::Total(rate) => [Some(rate), None, None],
            Self::Each { read, write } => [None, read, write],
        }
    }
}
