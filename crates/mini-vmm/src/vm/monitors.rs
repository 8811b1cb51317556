//! Monitors of the machine: whom it obeys, and whom it tells of what happens.

use std::io;
use std::sync::Arc;

use event_manager::{SubscriberId, SubscriberOps};

use super::{Machine, Subscriber};
use crate::chardev::Chardev;
use crate::error::Error;
use crate::qmp::{self, Event, Monitor};

/// The monitors, as event subscribers.
#[derive(Default)]
pub(super) struct Monitors(Vec<(SubscriberId, Arc<Monitor>)>);

impl Machine {
    /// Adds a monitor for whoever is at the other end of `chardev`.
    pub(super) fn add_monitor(&mut self, chardev: Arc<Chardev>) {
        let monitor = Arc::new(Monitor::new(chardev));
        let subscriber = Arc::clone(&monitor) as Subscriber;
        let id = self.events.add_subscriber(subscriber);
        self.monitors.0.push((id, monitor));
    }

    /// Tells all monitors of `event`.
    pub(crate) fn tell(&self, event: &Event) {
        for (_, monitor) in &self.monitors.0 {
            monitor.tell(event);
        }
    }

    /// Does what monitors have asked for since the last time.
    pub(super) fn obey(&mut self) -> Result<(), Error> {
        for at in 0..self.monitors.0.len() {
            let Some((_, monitor)) = self.monitors.0.get(at) else {
                break;
            };
            let monitor = Arc::clone(monitor);
            while let Some(request) = monitor.next() {
                let id = request.id.clone();
                self.received = monitor.take_passed();
                let answer = qmp::execute(self, request);
                monitor.give_back(std::mem::take(&mut self.received));
                monitor.answer(answer, id);
            }
        }
        self.watch_monitors()
            .map_err(|error| Error::Host("cannot watch a monitor", io::Error::other(error)))
    }

    /// What was said since may wait for room now.
    fn watch_monitors(&mut self) -> Result<(), event_manager::Error> {
        for (id, monitor) in &self.monitors.0 {
            monitor.watch(&mut self.events.event_ops(*id)?);
        }
        Ok(())
    }
}
