//! What the device, its workers and the VMM's handle have in common.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::event::{EventfdFlags, eventfd};
use virtio_device::{ConfigCell, DeviceHost};

use crate::config_space::{ANNOUNCE, LINK_UP, set_mac, set_status};
use crate::negotiated::Negotiated;
use crate::rules::Rules;
use crate::terms::Terms;
use crate::{Backend, Facts, Mac};

/// One of each device.
pub(crate) struct Shared {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) facts: Facts,
    pub(crate) config: Arc<ConfigCell>,
    /// The address that it has after a reset.
    pub(crate) mac: Mac,
    /// Of the host; 0 for none.
    pub(crate) mtu: u16,
    pub(crate) pairs: u16,
    rules: RwLock<Rules>,
    link: AtomicBool,
    bell: Bell,
    /// Wakes the worker of a pair.
    wakes: Vec<OwnedFd>,
    /// By queue: whether the driver has enabled it.
    enabled: Vec<AtomicBool>,
    /// A frame that announces the device is to be sent.
    announce: AtomicBool,
    /// The driver announces itself when asked to.
    driver_announces: AtomicBool,
    watcher: Mutex<Option<Watcher>>,
}

/// Called when the driver has changed what it receives.
pub(crate) type Watcher = Arc<dyn Fn() + Send + Sync>;

impl Shared {
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        config: ConfigCell,
        (mac, mtu, pairs): (Mac, u16, u16),
    ) -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let wakes = (0..pairs).map(|_| eventfd(0, flags));
        Ok(Self {
            facts: backend.facts(),
            backend,
            config: Arc::new(config),
            mac,
            mtu,
            pairs,
            rules: RwLock::new(Rules::new(mac, pairs)),
            link: AtomicBool::new(true),
            bell: Bell::default(),
            wakes: wakes.collect::<Result<_, _>>()?,
            enabled: (0..2 * pairs).map(|_| AtomicBool::new(false)).collect(),
            announce: AtomicBool::new(false),
            driver_announces: AtomicBool::new(false),
            watcher: Mutex::default(),
        })
    }

    /// The rules, as long as a batch of frames is moved by them.
    pub(crate) fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What frames are treated by, while `rules` are held.
    pub(crate) fn terms<'a>(
        &self,
        rules: &'a Rules,
        negotiated: &'a Negotiated,
        host: &'a dyn DeviceHost,
    ) -> Terms<'a> {
        Terms {
            rules,
            negotiated,
            facts: self.facts,
            link: self.link(),
            mtu: self.mtu,
            host,
        }
    }

    /// The rules, to change them once every batch has ended.
    pub(crate) fn change(&self) -> RwLockWriteGuard<'_, Rules> {
        self.rules.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the rules back to those of a new device.
    pub(crate) fn reset(&self) {
        *self.change() = Rules::new(self.mac, self.pairs);
        self.config.update(|bytes| set_mac(bytes, self.mac));
        set_status(&self.config, ANNOUNCE, false);
    }

    /// Whether frames go over the link.
    pub(crate) fn link(&self) -> bool {
        self.link.load(Ordering::Acquire)
    }

    /// The link goes up or down; the driver is told (section 5.1.6.5.4 and `status`).
    pub(crate) fn set_link(&self, up: bool) {
        self.link.store(up, Ordering::Release);
        if set_status(&self.config, LINK_UP, up) {
            self.bell.ring();
        }
    }

    /// Has the device announced: by a frame of its own, and by the driver if that can.
    pub(crate) fn announce(&self) {
        self.announce.store(true, Ordering::Release);
        self.wake(0);
        let asks = self.driver_announces.load(Ordering::Acquire) && self.link();
        if asks && set_status(&self.config, ANNOUNCE, true) {
            self.bell.ring();
        }
    }

    /// Whether the device is to be announced, which is asked once.
    pub(crate) fn take_announcement(&self) -> bool {
        self.announce.swap(false, Ordering::AcqRel)
    }

    /// A driver runs the device, or does so no longer (`None`).
    pub(crate) fn connect(&self, host: Option<Arc<dyn DeviceHost>>, announces: bool) {
        self.driver_announces.store(announces, Ordering::Release);
        self.bell.connect(host);
    }

    /// Whether the driver has enabled `queue`.
    pub(crate) fn is_enabled(&self, queue: u16) -> bool {
        let queue = self.enabled.get(usize::from(queue));
        queue.is_some_and(|queue| queue.load(Ordering::Acquire))
    }

    pub(crate) fn set_enabled(&self, queue: u16, enabled: bool) {
        if let Some(queue) = self.enabled.get(usize::from(queue)) {
            queue.store(enabled, Ordering::Release);
        }
    }

    /// Wakes the worker of `pair`.
    pub(crate) fn wake(&self, pair: u16) {
        if let Some(wake) = self.wakes.get(usize::from(pair)) {
            // A counter that is full has woken the worker already.
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }

    /// Readable once the worker of `pair` is to wake.
    pub(crate) fn wake_fd(&self, pair: u16) -> Option<BorrowedFd<'_>> {
        self.wakes.get(usize::from(pair)).map(AsFd::as_fd)
    }

    /// The worker of `pair` is awake.
    pub(crate) fn woke(&self, pair: u16) {
        if let Some(wake) = self.wakes.get(usize::from(pair)) {
            let _ = rustix::io::read(wake, &mut [0; 8]);
        }
    }

    /// Has `watcher` called when the driver changes what it receives.
    pub(crate) fn watch_filter(&self, watcher: Watcher) {
        *lock(&self.watcher) = Some(watcher);
    }

    /// The driver has changed what it receives.
    pub(crate) fn filter_changed(&self) {
        let watcher = lock(&self.watcher).clone();
        if let Some(watcher) = watcher {
            watcher();
        }
    }
}

/// How the driver is told of changes, while there is one.
#[derive(Default)]
struct Bell(Mutex<Option<Arc<dyn DeviceHost>>>);

impl Bell {
    fn connect(&self, host: Option<Arc<dyn DeviceHost>>) {
        *lock(&self.0) = host;
    }

    fn ring(&self) {
        if let Some(host) = &*lock(&self.0) {
            host.config_changed();
        }
    }
}

/// Whoever panicked with the lock has left something or nothing, both of which are good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
