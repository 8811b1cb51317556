//! What a person sees: coloured words on a terminal, plain ones elsewhere, and a sign of life
//! during anything that takes longer than two seconds.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// The colours in use, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Something went as it should.
    Good,
    /// Something went wrong.
    Bad,
    /// A heading.
    Title,
    /// Less important than the rest.
    Faint,
}

impl Paint {
    /// `text` in this colour on a terminal, and unchanged elsewhere.
    pub fn on(self, text: impl Display) -> String {
        if coloured() {
            format!("\x1b[{}m{text}\x1b[0m", self.code())
        } else {
            text.to_string()
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Title => "1;36",
            Self::Faint => "2",
        }
    }
}

/// Whether standard output takes colours: a terminal, `NO_COLOR` unset; or
/// `FORCE_COLOR` set by the xtask outside of a nested machine.
pub fn coloured() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (stdout().is_terminal() || set("FORCE_COLOR"))
}

/// Prints one line, at once, over the sign of life that a [`Progress`] may have left on a terminal.
pub fn line(text: impl Display) {
    let mut out = stdout().lock();
    let clear = if out.is_terminal() { CLEAR } else { "" };
    // A reader that went away is no reason to stop a test run.
    let _ = writeln!(out, "{clear}{text}");
    let _ = out.flush();
}

/// `12.3 s`, or `2 min 05 s`.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..=119 => format!("{:.1} s", time.as_secs_f64()),
        long => format!("{} min {:02} s", long / 60, long % 60),
    }
}

/// A sign of life on standard error while a piece of work lasts: silent for two seconds, then a
/// counter on a terminal, or a line every half minute elsewhere.
#[derive(Debug)]
pub struct Progress {
    stop: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts counting for `what`; dropping the value ends it.
    pub fn start(what: impl Display) -> Self {
        let (stop, stopped) = channel();
        let what = what.to_string();
        let ticker = spawn(move || {
            let (start, live) = (Instant::now(), stderr().is_terminal());
            let (mut pause, next) = if live {
                (QUIET, SECOND)
            } else {
                (QUIET, HALF_MINUTE)
            };
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                tick(&what, start.elapsed(), live);
                pause = next;
            }
            if live {
                let _ = write!(stderr(), "{CLEAR}");
            }
        });
        Self {
            stop: Some(stop),
            ticker: Some(ticker),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

fn tick(what: &str, elapsed: Duration, live: bool) {
    let elapsed = elapsed.as_secs();
    let _ = match live {
        true => write!(stderr(), "{CLEAR}  ... {what}, {elapsed} s"),
        false => writeln!(stderr(), "  ... {what}, {elapsed} s"),
    };
}

/// To the beginning of the line, and nothing on it.
const CLEAR: &str = "\r\x1b[K";
const QUIET: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);
const HALF_MINUTE: Duration = Duration::from_secs(30);
