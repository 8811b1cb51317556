//! The one-line error of a bad option.

use std::fmt;

/// A bad option: names the option, the value given and what is accepted, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct BadOption {
    what: String,
    why: String,
    accepted: String,
}

impl BadOption {
    /// An error about `option` as a whole, such as an unknown name.
    pub fn new(option: &str, why: impl fmt::Display, accepted: impl fmt::Display) -> Self {
        Self {
            what: one_line(option),
            why: one_line(why),
            accepted: one_line(accepted),
        }
    }

    /// An error about the value given to `option`.
    pub fn value(
        option: &str,
        value: &str,
        why: impl fmt::Display,
        accepted: impl fmt::Display,
    ) -> Self {
        Self::new(&format!("{option} {value}"), why, accepted)
    }

    /// An error about `key=value` inside the value of `option`.
    pub fn property(
        option: &str,
        key: &str,
        value: &str,
        why: impl fmt::Display,
        accepted: impl fmt::Display,
    ) -> Self {
        Self::new(&format!("{option} {key}={value}"), why, accepted)
    }
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)?;
        if self.accepted.is_empty() {
            return Ok(());
        }
        write!(f, "; accepted: {}", self.accepted)
    }
}

/// Control characters of a value would break the promise of one line, and the terminal.
fn one_line(text: impl fmt::Display) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    text.to_string().chars().map(clean).collect()
}
