//! Failed requests: what becomes of them, and who hears of it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is done about requests that the back-end fails (QEMU's `rerror` and `werror`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The driver is told.
    Report,
    /// The driver is told that all went well.
    Ignore,
    /// Where the host's storage is full, as [`Stop`](Self::Stop), else as [`Report`](Self::Report).
    Enospc,
    /// The request is kept.
    Stop,
}

/// What is done about failed reads, and about failed writes of any kind. QEMU's default: a driver
/// is told of all errors but those of a full disk, which the host's owner can make room on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Of reads.
    pub read: OnError,
    /// Of all else: writes, flushes, discards.
    pub write: OnError,
}

/// Which half of an [`ErrorPolicy`] a request is a matter of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reads.
    Read,
    /// All else.
    Write,
}

/// What becomes of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The driver is told.
    Report,
    /// The driver is told that all went well.
    Ignore,
    /// It is not answered. The device keeps it when its workers are stopped, and makes it again when
    /// they next start: whoever has requests kept sees to both.
    Keep,
}

/// A failed request, as a witness hears of it.
#[derive(Debug)]
pub struct Failure<'a> {
    /// What it was.
    pub direction: Direction,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What the back-end says.
    pub error: &'a io::Error,
}

/// The error of a request that was [cancelled](super::Channel::cancel) before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// Judges the requests of one disk that its back-end has failed.
///
/// The default reports all of them.
#[derive(Default)]
pub struct Failures {
    count: AtomicU64,
    court: OnceLock<(ErrorPolicy, Box<Witness>)>,
}

/// Hears of failed requests on the threads of workers, and as often as a guest likes.
type Witness = dyn Fn(&Failure<'_>) + Send + Sync;

impl Failures {
    /// Applies `policy` from now on, unless another is applied already. `witness` hears of each
    /// failure, and has the device stopped when requests are [kept](Verdict::Keep).
    pub fn appoint(
        &self,
        policy: ErrorPolicy,
        witness: impl Fn(&Failure<'_>) + Send + Sync + 'static,
    ) {
        let _ = self.court.set((policy, Box::new(witness)));
    }

    /// What becomes of a request that has failed with `error`. The log and the witness are told, but for
    /// one that was [`Cancelled`]: that has not failed, and is kept.
    #[cold]
    pub fn judge(&self, direction: Direction, error: &io::Error) -> Verdict {
        if Cancelled::is(error) {
            return Verdict::Keep;
        }
        self.report(error);
        let Some((policy, witness)) = self.court.get() else {
            return Verdict::Report;
        };
        let verdict = policy.verdict(direction, error);
        witness(&Failure {
            direction,
            verdict,
            error,
        });
        verdict
    }

    /// Tells the log of a failure. A guest can cause many of them, so only the 1st, 2nd, 4th, 8th,
    /// ... in the life of the device are told.
    pub fn report(&self, error: &io::Error) {
        let count = self.count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if count.is_power_of_two() {
            log::warn!("a disk request failed (the {count}. of this device): {error}");
        }
    }
}

impl Failure<'_> {
    /// Whether the host's storage is full.
    pub fn is_no_space(&self) -> bool {
        is_no_space(self.error)
    }
}

impl Cancelled {
    fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|error| error.is::<Self>())
    }
}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(cancelled)
    }
}

impl std::error::Error for Cancelled {}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled before it began")
    }
}

impl ErrorPolicy {
    fn verdict(self, direction: Direction, error: &io::Error) -> Verdict {
        let wanted = match direction {
            Direction::Read => self.read,
            Direction::Write => self.write,
        };
        match wanted {
            OnError::Ignore => Verdict::Ignore,
            OnError::Stop => Verdict::Keep,
            OnError::Enospc if is_no_space(error) => Verdict::Keep,
            OnError::Report | OnError::Enospc => Verdict::Report,
        }
    }
}

impl Default for ErrorPolicy {
    fn default() -> Self {
        Self {
            read: OnError::Report,
            write: OnError::Enospc,
        }
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures")
            .field("count", &self.count)
            .field("policy", &self.court.get().map(|(policy, _)| policy))
            .finish()
    }
}

fn is_no_space(error: &io::Error) -> bool {
    error.kind() == ErrorKind::StorageFull
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_policy_tells_a_full_disk_from_other_errors() {
        use {OnError::*, Verdict::Keep};
        let full = io::Error::from(ErrorKind::StorageFull);
        let other = io::Error::from_raw_os_error(libc::EIO);
        for (policy, at_other, at_full) in [
            (Report, Verdict::Report, Verdict::Report),
            (Ignore, Verdict::Ignore, Verdict::Ignore),
            (Enospc, Verdict::Report, Keep),
            (Stop, Keep, Keep),
        ] {
            let both = ErrorPolicy {
                read: policy,
                write: Report,
            };
            let failures = Failures::default();
            failures.appoint(both, |_| ());
            assert_eq!(failures.judge(Direction::Read, &other), at_other);
            assert_eq!(failures.judge(Direction::Read, &full), at_full);
            let write = failures.judge(Direction::Write, &full);
            assert_eq!(write, Verdict::Report, "{policy:?} is for reads");
        }
    }

    #[test]
    fn a_witness_hears_of_all() {
        let (sender, heard) = channel();
        let failures = Failures::default();
        failures.appoint(ErrorPolicy::default(), move |failure| {
            let Failure {
                direction, verdict, ..
            } = *failure;
            sender
                .send((direction, verdict, failure.is_no_space()))
                .unwrap();
        });
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        failures.judge(Direction::Write, &full);
        failures.judge(Direction::Read, &ErrorKind::UnexpectedEof.into());
        drop(failures);
        let expected = [
            (Direction::Write, Verdict::Keep, true),
            (Direction::Read, Verdict::Report, false),
        ];
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn without_a_court_all_is_reported() {
        let full = io::Error::from(ErrorKind::StorageFull);
        let verdict = Failures::default().judge(Direction::Write, &full);
        assert_eq!(verdict, Verdict::Report);
    }
}
