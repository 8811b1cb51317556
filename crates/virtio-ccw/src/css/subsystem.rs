//! The channel subsystem: its subchannels, and what is attached to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use virtio_device::AddressSpace;

use super::attachment::Attachment;
use super::channel::Channel;
use super::crw::ChannelReports;
use super::storage::Storage;
use super::subchannel::Subchannel;
use super::{CssHost, DeviceNumber, Interruption, Isc, Signal, SubchannelId};

/// A channel subsystem.
///
/// A handle: clones are the same subsystem. All methods may be called from any thread; each
/// subchannel has a lock of its own, which is held for no longer than it takes to change its
/// status.
#[derive(Clone)]
pub struct ChannelSubsystem {
    pub(super) shared: Arc<Shared>,
}

/// Where to attach a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Subchannel set, 0 to 3.
    pub set: u8,
    /// Device number; the lowest free one by default.
    pub device: Option<DeviceNumber>,
    /// Subchannel number; the lowest free one by default.
    pub subchannel: Option<u16>,
}

/// A place that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There are four subchannel sets.
    #[error("no subchannel set {0}")]
    NoSet(u8),
    /// The device number is in use in that set.
    #[error("device number {0} is in use")]
    DeviceInUse(DeviceNumber),
    /// The subchannel is in use.
    #[error("subchannel {0} is in use")]
    SubchannelInUse(SubchannelId),
    /// All subchannels or device numbers of the set are in use.
    #[error("subchannel set {0} is full")]
    Full(u8),
}

impl ChannelSubsystem {
    /// A channel subsystem without devices. `memory` is absolute storage: where channel programs
    /// and their data are.
    pub fn new(memory: impl AddressSpace, host: Arc<dyn CssHost>) -> Self {
        Self {
            shared: Arc::new(Shared {
                storage: Box::new(memory),
                host,
                sets: RwLock::default(),
                several_sets: AtomicBool::new(false),
                reports: Mutex::default(),
            }),
        }
    }

    /// Takes a subchannel for a device, which is then [installed](Attachment::install). Until that
    /// the guest does not see it.
    ///
    /// # Errors
    /// Where the place is taken or does not exist.
    pub fn reserve(&self, place: Place) -> Result<Attachment, AttachError> {
        let subchannel = self.shared.reserve(place)?;
        Ok(Attachment::new(&self.shared, &subchannel))
    }

    /// From now on devices that come and go are reported to the guest by channel report words. A
    /// VMM calls it when the machine is put together.
    pub fn report_changes(&self) {
        self.shared.with_reports(|reports| reports.reporting = true);
    }

    /// Puts every subchannel, and what the guest has set with CHSC, back to what it is after
    /// power-on, and tells all control units ([`Signal::Reset`]).
    pub fn reset(&self) {
        self.shared.with_reports(ChannelReports::reset);
        self.shared.several_sets.store(false, Ordering::Release);
        for subchannel in self.shared.subchannels() {
            let channel = Channel::new(self.shared.clone(), subchannel);
            let unit = channel.update(|state| {
                state.reset();
                state.unit.clone()
            });
            if let Some(unit) = unit {
                unit.signal(Signal::Reset);
            }
        }
    }

    /// The adapter interruption of subclass `isc`: the device has set its indicators.
    pub fn adapter_interrupt(&self, isc: Isc) {
        self.raise(Interruption::Adapter { isc });
    }

    pub(crate) fn raise(&self, interruption: Interruption) {
        self.shared.host.raise(interruption);
    }
}

/// What all subchannels have in common.
pub(super) struct Shared {
    pub(super) storage: Box<dyn Storage>,
    pub(super) host: Arc<dyn CssHost>,
    sets: RwLock<[Set; SubchannelId::SETS as usize]>,
    /// The guest has enabled the sets other than the first.
    pub(super) several_sets: AtomicBool,
    reports: Mutex<ChannelReports>,
}

/// A subchannel set, by subchannel number.
type Set = BTreeMap<u16, Arc<Subchannel>>;

impl Shared {
    fn reserve(&self, place: Place) -> Result<Arc<Subchannel>, AttachError> {
        let Place {
            set,
            device,
            subchannel,
        } = place;
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        let full = AttachError::Full(set);
        let subchannels = sets
            .get_mut(usize::from(set))
            .ok_or(AttachError::NoSet(set))?;
        let number = subchannel
            .or_else(|| (0..=u16::MAX).find(|number| !subchannels.contains_key(number)))
            .ok_or(full)?;
        let in_use = |device| subchannels.values().any(|other| other.device == device);
        let device = device
            .or_else(|| {
                (0..=u16::MAX)
                    .map(DeviceNumber)
                    .find(|&number| !in_use(number))
            })
            .ok_or(full)?;
        let id = SubchannelId::new(set, number).ok_or(AttachError::NoSet(set))?;
        if in_use(device) {
            return Err(AttachError::DeviceInUse(device));
        }
        if subchannels.contains_key(&number) {
            return Err(AttachError::SubchannelInUse(id));
        }
        let subchannel = Arc::new(Subchannel::new(id, device));
        subchannels.insert(number, subchannel.clone());
        Ok(subchannel)
    }

    /// Gives up the place of `subchannel`.
    pub(super) fn release(&self, subchannel: &Arc<Subchannel>) {
        let id = subchannel.id;
        self.with_set_mut(id.set(), |set| {
            if set
                .get(&id.number())
                .is_some_and(|other| Arc::ptr_eq(other, subchannel))
            {
                set.remove(&id.number());
            }
        });
    }

    /// The subchannel, if the guest can name it.
    pub(super) fn find(&self, id: SubchannelId) -> Option<Arc<Subchannel>> {
        self.with_set(id.set(), |set| set.get(&id.number()).cloned())?
    }

    /// The number of the last subchannel of a set that the guest can see, if there is one.
    pub(super) fn last(&self, set: u8) -> Option<u16> {
        let has_device = |(_, subchannel): &(&_, &Arc<Subchannel>)| subchannel.has_device();
        self.with_set(set, |set| {
            let last = set.iter().rev().find(has_device);
            last.map(|(number, _)| *number)
        })?
    }

    /// The guest enables the sets other than the first.
    pub(super) fn enable_sets(&self) {
        self.several_sets.store(true, Ordering::Release);
    }

    pub(super) fn has_several_sets(&self) -> bool {
        self.several_sets.load(Ordering::Acquire)
    }

    pub(super) fn with_reports<R>(&self, f: impl FnOnce(&mut ChannelReports) -> R) -> R {
        f(&mut self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A device has come or gone.
    pub(super) fn report(&self, id: SubchannelId) {
        let several = self.has_several_sets();
        if id.set() != 0 && !several {
            return;
        }
        if self.with_reports(|reports| reports.subchannel_changed(id, several)) {
            self.host.channel_report_pending();
        }
    }

    /// Calls `f` with a set that the guest can see.
    fn with_set<R>(&self, set: u8, f: impl FnOnce(&Set) -> R) -> Option<R> {
        if set != 0 && !self.has_several_sets() {
            return None;
        }
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.get(usize::from(set)).map(f)
    }

    fn with_set_mut(&self, set: u8, f: impl FnOnce(&mut Set)) {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get_mut(usize::from(set)) {
            f(set);
        }
    }

    fn subchannels(&self) -> Vec<Arc<Subchannel>> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.iter().flat_map(|set| set.values().cloned()).collect()
    }
}
