//! From pages of 4 KiB, as a guest names them, to runs of whole pages of the host.

use std::ops::Range;

use crate::PAGE;

/// Pages that the guest has given up, gathered into runs that can be reclaimed at once.
pub(crate) struct Pages {
    /// Bytes of a host page.
    size: u64,
    run: Range<u64>,
    partial: Partial,
}

/// A host page of which the guest has given up some parts.
#[derive(Default)]
struct Partial {
    base: u64,
    parts: [u64; PARTS / 64],
}

impl Pages {
    /// For host pages of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            size,
            run: 0..0,
            partial: Partial::default(),
        }
    }

    /// Whether a page that is taken back makes a difference.
    pub(crate) fn remembers(&self) -> bool {
        self.size > PAGE
    }

    /// The guest gave up the page at `address`. A run that ends here is returned.
    pub(crate) fn give(&mut self, address: u64) -> Option<Range<u64>> {
        let host = self.complete(address)?;
        let end = host.checked_add(self.size)?;
        if self.run.end == host && !self.run.is_empty() {
            self.run.end = end;
            return None;
        }
        let before = std::mem::replace(&mut self.run, host..end);
        (!before.is_empty()).then_some(before)
    }

    /// The guest wants the page at `address` back.
    pub(crate) fn take(&mut self, address: u64) {
        if self.base(address) == self.partial.base {
            self.partial.parts = Default::default();
        }
    }

    /// No more pages follow: the last run, if there is one.
    pub(crate) fn finish(&mut self) -> Option<Range<u64>> {
        let last = std::mem::replace(&mut self.run, 0..0);
        (!last.is_empty()).then_some(last)
    }

    fn base(&self, address: u64) -> u64 {
        address & !(self.size - 1)
    }

    /// The host page that has no part left which the guest has not given up, if `address` was the
    /// last one missing.
    fn complete(&mut self, address: u64) -> Option<u64> {
        if !self.remembers() {
            return Some(address);
        }
        let base = self.base(address);
        if base != self.partial.base {
            self.partial = Partial {
                base,
                ..Partial::default()
            };
        }
        let part = usize::try_from((address - base) / PAGE).ok()?;
        *self.partial.parts.get_mut(part / 64)? |= 1 << (part % 64);
        let given = self.partial.parts.iter().map(|word| word.count_ones());
        let whole = u64::from(given.sum::<u32>()) == self.size / PAGE;
        whole.then(|| {
            self.partial.parts = Default::default();
            base
        })
    }
}

/// The most parts of a host page that are kept track of: those of 2 MiB.
const PARTS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last page of each run, of 4 KiB.
    fn runs(size: u64, pages: &[u64]) -> Vec<(u64, u64)> {
        let mut all = Pages::new(size);
        let given = pages.iter().filter_map(|page| all.give(page * PAGE));
        let mut runs: Vec<_> = given.collect();
        runs.extend(all.finish());
        runs.iter()
            .map(|run| (run.start / PAGE, run.end / PAGE - 1))
            .collect()
    }

    #[test]
    fn neighbours_are_one_run() {
        assert_eq!(runs(PAGE, &[1, 2, 3, 7, 8, 1]), [(1, 3), (7, 8), (1, 1)]);
        assert_eq!(runs(PAGE, &[]), []);
        assert_eq!(runs(PAGE, &[u64::MAX / PAGE]), [], "no page ends after it");
    }

    #[test]
    fn larger_pages_are_given_up_whole() {
        let size = 16 * PAGE;
        let all: Vec<_> = (16..32).collect();
        assert_eq!(runs(size, &all), [(16, 31)]);
        assert_eq!(runs(size, &all[1..]), []);
        let backwards: Vec<_> = (16..32).rev().collect();
        assert_eq!(runs(size, &backwards), [(16, 31)]);
        let twice: Vec<_> = all.iter().chain(&all[..15]).copied().collect();
        assert_eq!(runs(size, &twice), [(16, 31)]);
        let two: Vec<_> = (16..48).collect();
        assert_eq!(runs(size, &two), [(16, 47)]);
    }

    #[test]
    fn a_part_that_is_taken_back_is_missing() {
        let mut pages = Pages::new(4 * PAGE);
        for page in 0..3 {
            assert_eq!(pages.give(page * PAGE), None);
        }
        pages.take(PAGE);
        assert_eq!((pages.give(3 * PAGE), pages.finish()), (None, None));
    }

    #[test]
    fn pages_too_large_to_keep_track_of_stay() {
        let size = 1024 * PAGE;
        assert_eq!(runs(size, &(0..1024).collect::<Vec<_>>()), []);
    }
}
