//! The control plane of the console device.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use virtio_device::props::PropError;
use virtio_device::{
    Activation, AddressSpace, ConfigCell, DeviceId, Error, Features, Info, Placed, Result,
    SavedState, Timer, VirtioDevice,
};

use crate::handle::Inbox;
use crate::port_state::PortState;
use crate::ports::{Negotiated, Ports};
use crate::roster::Roster;
use crate::worker::Office;
use crate::{Port, SerialHandle, SerialProps, SerialWorker, config_space, queues, saved};

/// A console device with its ports.
///
/// It has a pair of queues for each port that there can be, and a pair for control messages; all
/// of them belong to one worker.
pub struct Serial {
    info: Info,
    config: Arc<ConfigCell>,
    inbox: Arc<Inbox>,
    roster: Arc<Roster>,
    numbers: Vec<u16>,
}

/// Why a device cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerialError {
    /// A property, of the device or of a port, is out of range or at odds with another's.
    #[error(transparent)]
    Property(#[from] PropError),
    /// The host has no descriptors left.
    #[error("console device: {0}")]
    Host(#[from] io::Error),
}

impl Serial {
    /// A device with these ports. Those without a number get the first that is free, in order; 0
    /// goes to a console.
    ///
    /// # Errors
    /// [`SerialError::Property`] for the first property that is not acceptable, and
    /// [`SerialError::Host`].
    pub fn new(props: &SerialProps, ports: Vec<Port>) -> Result<Self, SerialError> {
        props.check()?;
        let max_ports = props.max_ports as u16;
        let (roster, numbers) = Roster::new(ports, max_ports)?;
        roster.entries().give_back(Ports {
            by_number: BTreeMap::new(),
            removed: BTreeSet::new(),
            device_ready: false,
            timer: Timer::new()?,
            patience: PATIENCE,
        });
        let features = MULTIPORT.when(max_ports > 1)
            | EMERG_WRITE.when(props.emergency_write)
            | SIZE.when(props.console_size);
        Ok(Self {
            info: Info {
                id: DeviceId::CONSOLE,
                features,
                dependencies: &[],
                queue_sizes: queues::sizes(max_ports),
            },
            config: Arc::new(config_space::new(max_ports, props.emergency_write)),
            inbox: Arc::new(Inbox::new()?),
            roster: Arc::new(roster),
            numbers,
        })
    }

    /// Offers VIRTIO_CONSOLE_F_SIZE, as the property `console-size` does: the terminal behind the
    /// consoles has this size, in characters.
    #[must_use]
    pub fn with_size(mut self, cols: u16, rows: u16) -> Self {
        self.info.features |= SIZE;
        config_space::set_size(&self.config, cols, rows);
        self
    }

    /// How long a console whose back-end takes no bytes holds its guest up, a second by default.
    /// From then on what the guest prints is dropped, until the back-end takes bytes again: a
    /// guest prints with interrupts off, and one terminal that is not read must not stop it. Serial
    /// ports wait for as long as it takes.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        if let Some(ports) = &mut self.roster.entries().ports {
            ports.patience = patience;
        }
        self
    }

    /// Numbers of the ports that it was made with, in the order in which they were given.
    pub fn numbers(&self) -> Vec<u16> {
        self.numbers.clone()
    }

    /// A hold on the device for when a transport owns it.
    pub fn handle(&self) -> SerialHandle {
        SerialHandle::new(self.config.clone(), self.inbox.clone(), self.roster.clone())
    }
}

impl VirtioDevice for Serial {
    type Worker<AS: AddressSpace> = SerialWorker;

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    /// The only field that a driver writes is `emerg_wr`: its lowest 8 bits are a character for
    /// port 0, at any time (section 5.3.4).
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let offered = self.info.features.contains(EMERG_WRITE);
        let Some(character) = config_space::emergency(offset, data).filter(|_| offered) else {
            return;
        };
        match &mut self.roster.entries().ports {
            None => self.inbox.put_character(character),
            Some(ports) => {
                if let Some(console) = ports.by_number.get_mut(&0) {
                    console.emergency(character);
                }
            }
        }
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<SerialWorker>>> {
        let mut ports = self.roster.entries().ports.take().ok_or(AT_WORK)?;
        let negotiated = Negotiated {
            multiport: activation.features.contains(MULTIPORT),
            size: activation.features.contains(SIZE),
            order: activation.order,
        };
        // A driver that knows one port only has no words for opening it.
        let only = ports
            .by_number
            .get_mut(&0)
            .filter(|_| !negotiated.multiport);
        if let Some(port) = only {
            port.set_guest_open(true);
        }
        let office = Office {
            config: self.config.clone(),
            inbox: self.inbox.clone(),
            roster: self.roster.clone(),
        };
        Ok(vec![Placed {
            worker: SerialWorker::new(ports, office, negotiated),
            queues: (0..self.info.queue_sizes.len() as u16).collect(),
        }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<SerialWorker>) {
        for worker in workers {
            self.roster.entries().give_back(worker.into_ports());
        }
    }

    fn reset(&mut self) {
        let Self {
            info: _,
            // The size is the host's.
            config: _,
            inbox: _,
            roster,
            numbers: _,
        } = self;
        let Some(Ports {
            by_number,
            removed,
            device_ready,
            timer,
            patience: _,
        }) = &mut roster.entries().ports
        else {
            return;
        };
        by_number.values_mut().for_each(PortState::reset);
        removed.clear();
        *device_ready = false;
        timer.disarm();
    }

    fn save(&self) -> Result<SavedState> {
        let entries = self.roster.entries();
        let ports = entries.ports.as_ref().ok_or(AT_WORK)?;
        if !ports.removed.is_empty() {
            return Err(UNTOLD);
        }
        let bytes = saved::encode(ports).ok_or(HALF_WRITTEN)?;
        Ok(SavedState::new(saved::KIND, saved::VERSION, bytes))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        let bytes = state.expect(saved::KIND, saved::VERSION)?;
        let mut entries = self.roster.entries();
        saved::restore(entries.ports.as_mut().ok_or(AT_WORK)?, bytes)?;
        drop(entries);
        // The terminal may be another than the one that the guest knew.
        self.inbox.put(|letters| letters.resized = true);
        Ok(())
    }
}

/// VIRTIO_CONSOLE_F_SIZE: `cols` and `rows` are valid.
const SIZE: Features = Features::bit(0);
/// VIRTIO_CONSOLE_F_MULTIPORT: several ports, and control queues.
const MULTIPORT: Features = Features::bit(1);
/// VIRTIO_CONSOLE_F_EMERG_WRITE: `emerg_wr` is there.
const EMERG_WRITE: Features = Features::bit(2);
const PATIENCE: Duration = Duration::from_secs(1);
const AT_WORK: Error = Error::Misuse("the ports are with a worker");
const UNTOLD: Error = Error::Misuse("the driver has not heard yet that a port is gone");
const HALF_WRITTEN: Error =
    Error::Misuse("a port is in the middle of a write of more than 1 MiB that nobody reads");
