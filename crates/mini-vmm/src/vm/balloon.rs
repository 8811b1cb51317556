//! The memory balloon, as the machine tells its monitors of it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use virtio_balloon::{BalloonHandle, PAGE};

use super::Machine;
use super::news::NewsTimer;
use crate::devices::Control;
use crate::qmp::Event;

/// What monitors know of the balloon.
pub(super) struct BalloonNews {
    /// Bytes that the guest has, as they were told; `None` before the first time.
    told: Option<u64>,
    at: Option<Instant>,
    pub(super) timer: Arc<NewsTimer>,
}

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
        let news = &self.balloon_news;
        if !news.timer.is_due(news.at, now) {
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
            timer: NewsTimer::new()?,
        })
    }
}
