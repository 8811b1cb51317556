//! Who is on the device: the numbers and names that are taken, the ports while no worker has them,
//! and changes for the worker that has.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use virtio_device::props::PropError;

use crate::Port;
use crate::numbering;
use crate::port_state::PortState;
use crate::ports::Ports;

/// The roster of one device, shared by the device, its worker and the VMM.
pub(crate) struct Roster(Mutex<Entries>);

/// What a [`Roster`] holds.
pub(crate) struct Entries {
    max_ports: u16,
    /// Names by number.
    names: BTreeMap<u16, Option<String>>,
    /// Away while a worker has them.
    pub(crate) ports: Option<Ports>,
    changes: Vec<Change>,
}

/// A port that comes or goes.
pub(crate) enum Change {
    Add(u16, Box<PortState>),
    Remove(u16),
}

impl Roster {
    /// Numbers `ports`, in order.
    pub(crate) fn new(ports: Vec<Port>, max_ports: u16) -> Result<(Self, Vec<u16>), PropError> {
        let mut entries = Entries {
            max_ports,
            names: BTreeMap::new(),
            ports: None,
            changes: Vec::new(),
        };
        let numbers = ports.into_iter().map(|port| entries.enter(port));
        let numbers = numbers.collect::<Result<_, _>>()?;
        Ok((Self(Mutex::new(entries)), numbers))
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Gives `port` a number, and the port to whoever has the others.
    pub(crate) fn enter(&mut self, port: Port) -> Result<u16, PropError> {
        let number = numbering::choose(&self.names, &port, self.max_ports)?;
        self.names.insert(number, port.props.name.clone());
        let state = Box::new(PortState::new(number, port));
        self.change(Change::Add(number, state));
        Ok(number)
    }

    /// Takes the port `number` off the roster, and from whoever has it. False if there is none.
    pub(crate) fn leave(&mut self, number: u16) -> bool {
        let there = self.names.remove(&number).is_some();
        if there {
            self.change(Change::Remove(number));
        }
        there
    }

    /// The changes that a worker has to make.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A worker gives the ports back.
    pub(crate) fn give_back(&mut self, mut ports: Ports) {
        for change in self.take_changes() {
            ports.change(change);
        }
        self.ports = Some(ports);
    }

    fn change(&mut self, change: Change) {
        match &mut self.ports {
            Some(ports) => ports.change(change),
            None => self.changes.push(change),
        }
    }
}
