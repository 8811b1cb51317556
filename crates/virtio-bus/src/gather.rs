//! Whether interrupts of a job wait for one another.
//!
//! A device that is faster than its driver ends each request before the next one comes. An interrupt
//! for each then takes the driver from its work as often as it has asked for something, although it
//! has more to ask for. A driver with one request in flight looks the same to the device and waits for
//! that very interrupt, so it is tried out: now and then interrupts are kept back while the queue is
//! polled. Where others come meanwhile and fill a batch, that goes on. Where none comes, nothing is
//! kept back for a time, which doubles each time.

/// Learns whether batches of interrupts fill, and says how many may wait.
#[derive(Debug)]
pub(crate) struct Gather {
    /// Calls until it is tried again; none while interrupts are gathered.
    rest: u32,
    /// Length of the next rest.
    next_rest: u32,
    /// What full batches have earned, for those that do not fill.
    credit: u32,
    /// Calls for which an interrupt has waited.
    waited: u32,
}

impl Gather {
    pub(crate) fn new() -> Self {
        Self {
            rest: FIRST_REST,
            next_rest: FIRST_REST,
            credit: 0,
            waited: 0,
        }
    }

    /// Used buffers of a queue that may wait now.
    pub(crate) fn most(&self) -> u64 {
        match self.rest {
            0 => BATCH - 1,
            _ => 0,
        }
    }

    /// A call of the worker has ended; afterwards some interrupt is `waiting`, or none. True if none
    /// is to wait any longer: a queue that is always busy must not be at the cost of another.
    pub(crate) fn called(&mut self, waiting: bool) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
        } else if waiting {
            self.waited += 1;
        } else if std::mem::take(&mut self.waited) > 0 {
            self.credit = MOST_CREDIT.min(self.credit + 1);
            self.next_rest = FIRST_REST;
        }
        self.waited >= MOST_CALLS
    }

    /// The driver was told of what waited.
    pub(crate) fn told(&mut self) {
        self.waited = 0;
    }

    /// Nothing came before a batch was full, although it was looked for.
    pub(crate) fn cut_short(&mut self) {
        match self.credit.checked_sub(COST) {
            Some(credit) => self.credit = credit,
            None => self.pause(),
        }
    }

    /// Nothing waits for now.
    fn pause(&mut self) {
        (self.waited, self.credit) = (0, 0);
        self.rest = self.next_rest;
        self.next_rest = LONGEST_REST.min(self.next_rest * 2);
    }
}

/// Used buffers that one interrupt is for: a quarter of what a benchmark has in flight, and all of it
/// with a depth of eight.
const BATCH: u64 = 8;
/// Calls for which an interrupt waits at most.
const MOST_CALLS: u32 = 2 * BATCH as u32;
/// Calls between two trials, at first and at most.
const FIRST_REST: u32 = 16;
const LONGEST_REST: u32 = 1024;
/// Full batches that outweigh one that was waited for in vain.
const COST: u32 = 2;
const MOST_CREDIT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests one after another: each call leaves one more waiting, the eighth none.
    fn fill(gather: &mut Gather) {
        for call in 1..=BATCH {
            assert!(!gather.called(call < BATCH));
        }
    }

    fn rest(gather: &mut Gather) -> u32 {
        let calls = (0..).take_while(|_| gather.most() == 0 && !gather.called(false));
        calls.count() as u32
    }

    #[test]
    fn a_driver_that_waits_for_each_is_tried_ever_more_rarely() {
        let mut gather = Gather::new();
        for expected in [16, 16, 32, 64, 128, 256, 512, 1024, 1024] {
            assert_eq!(rest(&mut gather), expected);
            assert!(!gather.called(true));
            gather.cut_short();
        }
    }

    #[test]
    fn batches_that_fill_outweigh_half_as_many_that_do_not() {
        let mut gather = Gather::new();
        rest(&mut gather);
        for _ in 0..10 {
            fill(&mut gather);
            fill(&mut gather);
            assert!(!gather.called(true));
            gather.cut_short();
            assert_eq!(gather.most(), BATCH - 1);
        }
        gather.cut_short();
        assert_eq!(rest(&mut gather), 16, "as at first");
    }

    #[test]
    fn nothing_waits_for_more_calls_than_that() {
        let mut gather = Gather::new();
        rest(&mut gather);
        let patient = (1..).take_while(|_| !gather.called(true)).count();
        assert_eq!(patient + 1, MOST_CALLS as usize);
    }
}
