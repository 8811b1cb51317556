//! How long the next frame will be, by those before it.

use crate::terms::{LONGEST, Terms};

/// How much of the window a frame is expected to need: much for a while after one did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    /// Short frames until the next is expected to be short.
    large: u16,
}

impl Expected {
    #[inline]
    pub(crate) fn bytes(self, terms: &Terms<'_>) -> u64 {
        if self.large > 0 {
            LONGEST as u64
        } else {
            terms.short()
        }
    }

    #[inline]
    pub(crate) fn learn(&mut self, len: u64, terms: &Terms<'_>) {
        self.large = if len > terms.short() {
            PATIENCE
        } else {
            self.large.saturating_sub(1)
        };
    }
}

/// Short frames in a row after which no long one is expected.
const PATIENCE: u16 = 64;
