//! Disks that keep to the same limits together.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::alarm::Alarm;
use super::bucket::Buckets;
use super::line::{Line, Place};
use super::{Rates, ThrottleMember};
use crate::block::Direction;

/// Disks that keep to the same [`Rates`], together.
pub struct ThrottleGroup {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rates: Rates,
    buckets: Buckets,
    /// Of reads, and of all else. While somebody waits, others wait behind them.
    lines: [Line; 2],
}

impl ThrottleGroup {
    /// A group of no members yet.
    pub fn new(rates: Rates) -> Self {
        let start = Instant::now();
        Self::with_clock(rates, move || start.elapsed())
    }

    /// The same by another clock, which never goes back: for tests.
    pub fn with_clock(rates: Rates, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let state = State {
            rates,
            buckets: Buckets::new(rates),
            lines: Default::default(),
        };
        Self {
            clock: Box::new(clock),
            state: Mutex::new(state),
        }
    }

    /// The limits.
    pub fn rates(&self) -> Rates {
        self.lock().rates
    }

    /// Has members keep to `rates` from now on. What they did before does not count any more.
    pub fn set_rates(&self, rates: Rates) {
        let mut state = self.lock();
        state.rates = rates;
        state.buckets = Buckets::new(rates);
        state.call(self.now());
    }

    /// Whether a request of so many bytes may begin now. If so it is counted, and whoever's turn it
    /// is next is woken when it has come. If not, the channel at `place` is woken at its turn. It has
    /// `more` to begin, or has not.
    pub(super) fn admit(
        &self,
        place: &Place,
        direction: Direction,
        bytes: u64,
        more: bool,
    ) -> bool {
        let mut state = self.lock();
        let now = self.now();
        let admitted = state.admit(place, direction, bytes, more, now);
        if !admitted {
            // Or it would wake the channel over and over, should the clock be slower than the host's.
            place.alarm.heard();
        }
        state.call(now);
        state.set(&place.alarm, now);
        admitted
    }

    /// Counts a request that does not wait.
    pub(super) fn charge(&self, direction: Direction, bytes: u64) {
        let now = self.now();
        self.lock().buckets.charge(direction, bytes, now);
    }

    /// Has a channel wait no more in this direction.
    pub(super) fn leave(&self, place: &Place, direction: Direction) {
        let (mut state, now) = (self.lock(), self.now());
        state.lines[direction as usize].leave(place);
        state.call(now);
        state.set(&place.alarm, now);
    }

    /// Wakes what waits of `member`, which is in another group now.
    pub(super) fn wake(&self, member: &ThrottleMember) {
        let (state, now) = (self.lock(), self.now());
        let alarms = state.lines.iter().flat_map(|line| line.alarms_of(member));
        alarms.for_each(|alarm| alarm.set(Some(0), now));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock has left levels, be they a request too low.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More than five centuries of nanoseconds.
    fn now(&self) -> u64 {
        u64::try_from((self.clock)().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl State {
    fn admit(
        &mut self,
        place: &Place,
        direction: Direction,
        bytes: u64,
        more: bool,
        now: u64,
    ) -> bool {
        let line = &mut self.lines[direction as usize];
        let its_turn = line.front().is_none_or(|front| place.is(front));
        if !its_turn || self.buckets.due(direction) > now {
            line.join(place);
            return false;
        }
        self.buckets.charge(direction, bytes, now);
        line.pass(more);
        true
    }

    /// Sets the alarms of those whose turn is next.
    fn call(&self, now: u64) {
        for front in self.lines.iter().filter_map(Line::front) {
            self.set(front, now);
        }
    }

    /// Sets the alarm of one channel: for its turn, if that is next in either line.
    fn set(&self, alarm: &Arc<Alarm>, now: u64) {
        let lines = DIRECTIONS.iter().zip(&self.lines);
        let next = lines.filter(|(_, line)| line.front().is_some_and(|it| Arc::ptr_eq(it, alarm)));
        let dues = next.map(|(&direction, _)| self.buckets.due(direction));
        alarm.set(dues.min(), now);
    }
}

impl fmt::Debug for ThrottleGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = self.rates();
        f.debug_struct("ThrottleGroup")
            .field("rates", &rates)
            .finish_non_exhaustive()
    }
}

/// As lines are indexed.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];
