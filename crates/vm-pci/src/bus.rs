//! One bus: up to 32 devices of up to 8 functions (PCI Local Bus 3.0, section 3.2.2.3).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::Slot;
use crate::error::BusError;
use crate::function::{Effects, PciFunction};
use crate::header::{HEADER_TYPE, MULTI_FUNCTION};

/// The functions of one bus. Cheap to clone: the complex replaces a bus as a whole.
#[derive(Clone, Default)]
pub(crate) struct Bus {
    functions: BTreeMap<Slot, Arc<dyn PciFunction>>,
}

impl Bus {
    /// Puts a function into a slot; function 0 of a device comes first.
    pub(crate) fn attach(
        &mut self,
        slot: Slot,
        function: Arc<dyn PciFunction>,
    ) -> Result<(), BusError> {
        if self.functions.contains_key(&slot) {
            return Err(BusError::InUse(slot));
        }
        let zero = Slot::new(slot.device(), 0);
        if slot != zero && !self.functions.contains_key(&zero) {
            return Err(BusError::NoFunctionZero(slot.device()));
        }
        self.functions.insert(slot, function);
        Ok(())
    }

    /// Takes a device out with all of its functions.
    pub(crate) fn detach(&mut self, slot: Slot) -> Vec<Arc<dyn PciFunction>> {
        let slots: Vec<Slot> = self
            .of_device(slot.device())
            .map(|(slot, _)| *slot)
            .collect();
        slots
            .iter()
            .filter_map(|slot| self.functions.remove(slot))
            .collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Arc<dyn PciFunction>)> {
        self.functions
            .iter()
            .map(|(slot, function)| (*slot, function))
    }

    pub(crate) fn function(&self, slot: Slot) -> Option<&Arc<dyn PciFunction>> {
        self.functions.get(&slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Lowest device number without a function.
    pub(crate) fn free_device(&self) -> Option<u8> {
        (0..32).find(|device| self.of_device(*device).next().is_none())
    }

    /// Reads configuration space; an empty slot gives ones. The multi-function bit is the bus's to
    /// show, as only the bus knows.
    pub(crate) fn read_config(&self, slot: Slot, offset: u16, data: &mut [u8]) {
        let Some(function) = self.function(slot) else {
            return data.fill(0xff);
        };
        function.read_config(offset, data);
        let header = HEADER_TYPE
            .checked_sub(offset)
            .and_then(|at| data.get_mut(usize::from(at)));
        if let Some(header) = header
            && self.of_device(slot.device()).nth(1).is_some()
        {
            *header |= MULTI_FUNCTION;
        }
    }

    /// Writes configuration space; an empty slot ignores it.
    pub(crate) fn write_config(&self, slot: Slot, offset: u16, data: &[u8]) -> Effects {
        let function = self.function(slot);
        function.map_or(Effects::NONE, |function| {
            function.write_config(offset, data)
        })
    }

    fn of_device(&self, device: u8) -> impl Iterator<Item = (&Slot, &Arc<dyn PciFunction>)> {
        self.functions
            .range(Slot::new(device, 0)..=Slot::new(device, 7))
    }
}
