//! The memory balloon, as the machine tells its monitors of it: not more often than once a second,
//! since a guest may change its mind as often as it likes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use serde_json::json;
use virtio_balloon::{BalloonHandle, PAGE};
use virtio_device::Timer;

use super::Machine;
use crate::devices::Control;
use crate::qmp::Event;

/// What monitors know of the balloon.
pub(super) struct BalloonNews {
    /// Bytes that the guest has, as they were told; `None` before the first time.
    told: Option<u64>,
    at: Option<Instant>,
    pub(super) timer: Arc<NewsTimer>,
}

/// Wakes the main thread when there may be news again.
pub(super) struct NewsTimer(Mutex<Timer>);

impl Machine {
    /// The balloon, of several the first.
    pub(crate) fn balloon(&self) -> Option<&BalloonHandle> {
        let mut devices = self.hardware.devices.iter();
        devices.find_map(|device| match &device.control {
            Control::Balloon(handle) => Some(handle),
            _ => None,
        })
    }

    /// Bytes of memory that the guest has left to itself, if there is a balloon.
    pub(crate) fn balloon_actual(&self) -> Option<u64> {
        let given_up = u64::from(self.balloon()?.actual()) * PAGE;
        Some(self.config.memory.saturating_sub(given_up))
    }

    /// Tells monitors of another size of the balloon, now or later.
    pub(super) fn tell_of_balloon(&mut self) {
        let known = self.balloon_news.told.unwrap_or(self.config.memory);
        let Some(actual) = self.balloon_actual().filter(|&actual| actual != known) else {
            return;
        };
        let now = Instant::now();
        let since = self.balloon_news.at.map(|at| now.duration_since(at));
        if let Some(early) = since.and_then(|since| PERIOD.checked_sub(since))
            && !early.is_zero()
        {
            self.balloon_news.timer.lock().fire_in(early);
            return;
        }
        self.balloon_news.told = Some(actual);
        self.balloon_news.at = Some(now);
        self.tell(&Event::new("BALLOON_CHANGE", json!({"actual": actual})));
    }
}

impl BalloonNews {
    /// Nothing was told yet.
    ///
    /// # Errors
    /// A host without timers to give.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            told: None,
            at: None,
            timer: Arc::new(NewsTimer(Mutex::new(Timer::new()?))),
        })
    }
}

impl NewsTimer {
    fn lock(&self) -> MutexGuard<'_, Timer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRawFd for NewsTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.lock().as_fd().as_raw_fd()
    }
}

impl EventSubscriber for NewsTimer {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(self, EventSet::IN));
    }

    /// Wakes the main thread, which then looks.
    fn process(&self, _: Events, _: &mut EventOps) {
        self.lock().disarm();
    }
}

const PERIOD: Duration = Duration::from_secs(1);
