//! Announcements of network devices, repeated over a while: `announce-self`.

use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use virtio_net::NetHandle;
use vmm_sys_util::timerfd::TimerFd;

use super::lock;

/// What announces devices, on the main thread.
pub struct Announcer {
    timer: Mutex<TimerFd>,
    rounds: Mutex<Vec<Rounds>>,
}

/// One series of announcements.
pub struct Rounds {
    /// By which it can be replaced.
    pub id: String,
    /// What is announced.
    pub devices: Vec<NetHandle>,
    /// How many times more.
    pub left: u64,
    /// From one to the next.
    pub delay: Duration,
    /// By which that grows.
    pub step: Duration,
    /// Until this.
    pub most: Duration,
    /// When the next is due.
    pub next: Instant,
}

impl Announcer {
    /// One that has nothing to do.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub fn new() -> std::io::Result<Self> {
        let timer = TimerFd::new()?;
        Ok(Self {
            timer: Mutex::new(timer),
            rounds: Mutex::default(),
        })
    }

    /// Begins `rounds`, in place of those with the same identifier.
    pub fn begin(&self, rounds: Rounds) {
        let mut all = lock(&self.rounds);
        all.retain(|other| other.id != rounds.id);
        all.push(rounds);
        drop(all);
        self.advance();
    }

    /// Makes the announcements that are due.
    fn advance(&self) {
        let mut all = lock(&self.rounds);
        let now = Instant::now();
        all.iter_mut().for_each(|rounds| rounds.advance(now));
        all.retain(|rounds| rounds.left > 0);
        let next = all.iter().map(|rounds| rounds.next).min();
        let mut timer = lock(&self.timer);
        // A host that refuses to set a timer ends the series.
        let _ = match next {
            Some(next) => {
                let delay = next.saturating_duration_since(now);
                timer.reset(delay.max(Duration::from_millis(1)), None)
            }
            None => timer.clear(),
        };
    }
}

impl Rounds {
    fn advance(&mut self, now: Instant) {
        if self.left == 0 || self.next > now {
            return;
        }
        self.devices.iter().for_each(NetHandle::announce);
        self.left -= 1;
        self.next = now + self.delay;
        self.delay = (self.delay + self.step).min(self.most);
    }
}

impl EventSubscriber for Announcer {
    fn init(&self, ops: &mut EventOps) {
        let fd = lock(&self.timer).as_raw_fd();
        let _ = ops.add(Events::new_raw(fd, EventSet::IN));
    }

    fn process(&self, _: Events, _: &mut EventOps) {
        let _ = lock(&self.timer).wait();
        self.advance();
    }
}
