//! `virtio-net`: a network device, on a `-netdev`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_net::{Net, NetError, NetHandle, NetProps, Plain};

use super::virtio::{Device, Model, ModelProps, bad_property};
use super::{Control, Parts};
use crate::hotplug::Departures;
use crate::net::{NetLine, Netdev};
use crate::options::BadOption;

pub(super) const MODEL: Model = Model {
    help: "a network device, on a -netdev",
    props: || Box::new(NetProps::default()),
};

/// What can be done to a network device.
pub struct NetControl {
    /// What it is called if it has no identifier.
    pub name: String,
    /// The device.
    pub handle: NetHandle,
    /// Its back-end, if it has one.
    pub netdev: Option<Netdev>,
    /// Its back-end's identifier.
    pub netdev_id: Option<String>,
    /// Whether its driver has changed what it receives.
    pub news: Arc<FilterNews>,
}

/// That a driver has changed what it receives, told once for each time that somebody asked what
/// that is.
#[derive(Debug)]
pub struct FilterNews {
    armed: AtomicBool,
    due: AtomicBool,
}

impl FilterNews {
    /// Somebody has asked; the next change is news.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Whether there is news, which is said once.
    pub fn take(&self) -> bool {
        self.due.swap(false, Ordering::Relaxed)
    }

    fn watch(handle: &NetHandle, departures: &Arc<Departures>) -> Arc<Self> {
        let news = Arc::new(Self {
            armed: AtomicBool::new(true),
            due: AtomicBool::new(false),
        });
        let (heard, departures) = (Arc::clone(&news), Arc::clone(departures));
        handle.watch_filter(move || {
            if heard.armed.swap(false, Ordering::Relaxed) {
                heard.due.store(true, Ordering::Relaxed);
                departures.wake();
            }
        });
        news
    }
}

impl ModelProps for NetProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        let id = self.netdev.clone();
        let netdev = id
            .as_deref()
            .map(|id| parts.backends.netdev(option, "netdev", id));
        let netdev = netdev.transpose()?;
        let mac = parts.backends.macs.assign(self.mac);
        self.mac = Some(mac);
        let host = |error| BadOption::new(option, error, "fewer devices");
        let lines = match &netdev {
            Some(netdev) => netdev.lines(),
            None => NetLine::loose().map(|line| vec![line]),
        };
        let lines = lines.map_err(host)?;
        let pairs = lines.len();
        let made = match &netdev {
            Some(netdev) => Net::new(self, netdev.clone(), lines),
            None => Net::new(self, Plain, lines),
        };
        let device = made.map_err(|error| match error {
            NetError::Property(error) => bad_property(option, error),
            error => BadOption::new(option, error, "another back-end"),
        })?;
        let handle = device.handle();
        if let Some(netdev) = &netdev {
            handle.set_link(netdev.link());
        }
        parts.control = Control::Net(Box::new(NetControl {
            name: parts.backends.clients.name(parts.driver, pairs),
            news: FilterNews::watch(&handle, parts.backends.departures()),
            handle,
            netdev,
            netdev_id: id,
        }));
        Ok(Box::new(device))
    }
}
