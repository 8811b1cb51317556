//! Who is on the bus.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scsi_target::{LogicalUnit, Lun};
use virtio_device::props::{PropError, refuse};

use crate::{Address, Wish};

/// The units of a device, shared by the device, its workers and the VMM.
pub(crate) struct Roster<B> {
    units: Mutex<Arc<Units<B>>>,
    generation: AtomicU32,
}

/// A state of the roster.
pub(crate) type Units<B> = BTreeMap<Address, Arc<LogicalUnit<B>>>;

/// One reader's copy of the roster.
pub(crate) struct Seen<B> {
    pub(crate) units: Arc<Units<B>>,
    generation: u32,
}

impl<B> Roster<B> {
    pub(crate) fn new() -> Self {
        Self {
            units: Mutex::new(Arc::default()),
            generation: AtomicU32::new(0),
        }
    }

    /// Gives `unit` a place, as near to `wish` as there is one.
    pub(crate) fn enter(
        &self,
        wish: Wish,
        unit: Arc<LogicalUnit<B>>,
    ) -> Result<Address, PropError> {
        let mut units = self.lock();
        let address = choose(&units, wish)?;
        let mut new = Units::clone(&units);
        new.insert(address, unit);
        self.set(&mut units, new);
        Ok(address)
    }

    /// Takes the unit off the roster.
    pub(crate) fn leave(&self, address: Address) -> Option<Arc<LogicalUnit<B>>> {
        let mut units = self.lock();
        let mut new = Units::clone(&units);
        let unit = new.remove(&address)?;
        self.set(&mut units, new);
        Some(unit)
    }

    pub(crate) fn units(&self) -> Arc<Units<B>> {
        self.lock().clone()
    }

    pub(crate) fn look(&self) -> Seen<B> {
        // Before the units: a change in between is seen as one.
        let generation = self.generation.load(Ordering::Acquire);
        Seen {
            units: self.units(),
            generation,
        }
    }

    /// Brings `seen` up to date; true if it was not.
    pub(crate) fn refresh(&self, seen: &mut Seen<B>) -> bool {
        let stale = self.generation.load(Ordering::Acquire) != seen.generation;
        if stale {
            *seen = self.look();
        }
        stale
    }

    fn set(&self, units: &mut Arc<Units<B>>, new: Units<B>) {
        *units = Arc::new(new);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Units<B>>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Units of the same target, in order.
pub(crate) fn luns_of<B>(units: &Units<B>, target: u8) -> Vec<Lun> {
    let (first, last) = (Lun::default(), Lun::MAX);
    let range = Address { target, lun: first }..=Address { target, lun: last };
    units.range(range).map(|(address, _)| address.lun).collect()
}

fn choose<B>(units: &Units<B>, wish: Wish) -> Result<Address, PropError> {
    let free = |&address: &Address| !units.contains_key(&address);
    match wish {
        Wish {
            target: None, lun, ..
        } => {
            let lun = lun.unwrap_or_default();
            let mut places = (0..=u8::MAX).map(|target| Address { target, lun });
            let none = || refuse("scsi-id", "4294967295", "a bus with a free target");
            places.find(free).ok_or_else(none)
        }
        Wish {
            target: Some(target),
            lun: None,
        } => {
            let luns = (0..=Lun::MAX.number()).filter_map(Lun::new);
            let mut places = luns.map(|lun| Address { target, lun });
            let none = || refuse("lun", "4294967295", "a target with a free unit");
            places.find(free).ok_or_else(none)
        }
        Wish {
            target: Some(target),
            lun: Some(lun),
        } => {
            let address = Address { target, lun };
            let taken = || refuse("lun", lun.number(), "a unit of the target that is free");
            free(&address).then_some(address).ok_or_else(taken)
        }
    }
}
