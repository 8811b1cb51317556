//! Everything in the machine but processors and memory: buses and devices.

use std::io;
use std::sync::Arc;

use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::{IoManager, PioManager};

use crate::acpi::Platform;
use crate::backends::Backends;
use crate::chardev::Chardev;
use crate::devices::{self, Board, Buses, Pc, Plug, Plugged};
use crate::error::{Error, host};
use crate::event_device::{BoardEvent, EventDevice};
use crate::exit::Wishes;
use crate::fw_cfg::FwCfg;
use crate::hotplug::Departures;
use crate::layout;
use crate::memory::{self, SharedMemory};
use crate::mmio::Mmio;
use crate::options::{BadOption, Config};
use crate::pci::Pci;
use crate::ports::{KeyboardReset, Power};
use crate::serial::SerialPort;
use crate::wires::{Lines, Wires};
use crate::workers::Workers;

/// Devices that are made, before there is a machine to plug them into.
pub struct Kit {
    serials: Vec<Arc<Chardev>>,
    devices: Vec<Plug>,
    departures: Arc<Departures>,
}

impl Kit {
    /// Makes all devices of `config`, connected to `backends`.
    ///
    /// # Errors
    /// An option that is wrong.
    pub fn new(config: &Config, backends: &mut Backends) -> Result<Self, BadOption> {
        let wanted: Vec<_> = config.serials.iter().flatten().collect();
        let most = layout::SERIAL_PORTS.len();
        if wanted.len() > most {
            let accepted = format!("{most} at most");
            return Err(BadOption::new("-serial", "too many serial ports", accepted));
        }
        let serials = wanted.into_iter().enumerate();
        Ok(Self {
            serials: serials
                .map(|(index, target)| backends.serial(index, target))
                .collect::<Result<_, _>>()?,
            devices: devices::make(config, backends)?,
            departures: Arc::clone(backends.departures()),
        })
    }
}

/// The parts of a machine around its processors and memory.
pub struct Hardware {
    /// I/O ports and device memory.
    pub bus: Arc<IoManager>,
    /// The serial ports.
    pub serials: Vec<Arc<SerialPort>>,
    /// The virtio devices.
    pub devices: Vec<Plugged>,
    /// What ACPI tells the guest.
    pub platform: Platform,
    /// PCI.
    pub pci: Pci,
    mmio: Mmio,
    events: Arc<EventDevice>,
}

impl Hardware {
    /// Assembles what is in `kit`, wired to processors by `wires`.
    ///
    /// # Errors
    /// A device that does not fit, or a host that refuses something.
    pub fn new(
        config: &Config,
        kit: Kit,
        (wires, memory): (Wires, &SharedMemory),
        (workers, wishes): (&Workers, &Wishes),
    ) -> Result<Self, Error> {
        let (mut bus, mut platform) = (IoManager::new(), Platform::default());
        let events = Arc::new(EventDevice::new(Arc::clone(&wires.lines)));
        plug_ports(
            &mut bus,
            layout::EVENTS,
            EventDevice::SIZE,
            Arc::clone(&events) as _,
        )?;
        let mut pci = Pci::new(wires.clone(), config, &events, kit.departures)?;
        plug_board(&mut bus, config, wishes)?;
        let serials = plug_serials(&mut bus, &*wires.lines, kit.serials)?;
        let mut mmio = Mmio::new(wires);
        let mut devices = Vec::new();
        for plug in kit.devices {
            devices.extend(plug.plug(&mut Board {
                buses: Buses::Pc(Pc {
                    bus: &mut bus,
                    pci: &mut pci,
                    mmio: &mut mmio,
                    platform: &mut platform,
                }),
                memory,
                workers,
                wishes,
            })?);
        }
        pci.register(&mut bus)?;
        let places = layout::SERIAL_PORTS.iter().copied();
        let platform = Platform {
            cpus: config.cpus,
            memory: memory::ranges(config.memory),
            pci_buses: pci.buses(),
            pci_ports: config.has_conf1(),
            pci_express: pci.is_express(),
            pci_io: pci.ports(),
            pci_mmio64: Some(layout::pci_mmio64(config.memory)),
            serials: places.take(serials.len()).collect(),
            ..platform
        };
        Ok(Self {
            bus: Arc::new(bus),
            serials,
            devices,
            platform,
            pci,
            mmio,
            events,
        })
    }

    /// Presses the power button, which the guest may follow.
    pub fn press_power_button(&self) {
        self.events.raise(BoardEvent::PowerButton);
    }

    /// Stops the work of all virtio devices, when what they have in flight is done.
    pub fn pause(&self) {
        self.devices.iter().for_each(Plugged::pause);
    }

    /// Goes on after [`Hardware::pause`].
    pub fn resume(&self) {
        self.devices.iter().for_each(Plugged::resume);
    }

    /// Puts all devices back to their state at power-on, when what they had in flight is done.
    ///
    /// # Errors
    /// A host that refuses something.
    pub fn reset(&self) -> Result<(), Error> {
        self.events.take();
        self.mmio.reset();
        self.pci.reset()?;
        for serial in &self.serials {
            serial.reset().map_err(host("cannot reset a serial port"))?;
        }
        Ok(())
    }
}

fn plug_board(bus: &mut IoManager, config: &Config, wishes: &Wishes) -> Result<(), Error> {
    let fw_cfg = FwCfg::new(config.memory, config.cpus);
    plug_ports(bus, layout::FW_CFG, FwCfg::SIZE, Arc::new(fw_cfg))?;
    plug_ports(bus, layout::POWER, 3, Arc::new(Power(wishes.clone())))?;
    plug_ports(
        bus,
        layout::I8042_COMMAND,
        1,
        Arc::new(KeyboardReset(wishes.clone())),
    )
}

fn plug_serials(
    bus: &mut IoManager,
    lines: &dyn Lines,
    chardevs: Vec<Arc<Chardev>>,
) -> Result<Vec<Arc<SerialPort>>, Error> {
    let mut ports = Vec::new();
    for (chardev, (port, gsi)) in chardevs.into_iter().zip(layout::SERIAL_PORTS) {
        let interrupt = lines
            .edge(gsi)
            .map_err(host("cannot connect an interrupt"))?;
        let serial = SerialPort::new(interrupt, chardev).map_err(host("cannot make an event"))?;
        let serial = Arc::new(serial);
        plug_ports(bus, port, 8, Arc::clone(&serial) as _)?;
        ports.push(serial);
    }
    Ok(ports)
}

fn plug_ports(
    bus: &mut IoManager,
    port: u16,
    size: u16,
    device: Arc<dyn DevicePio + Send + Sync>,
) -> Result<(), Error> {
    let range = PioRange::new(PioAddress(port), size);
    let plugged = range.and_then(|range| bus.register_pio(range, device));
    plugged.map_err(|error| Error::Host("cannot register I/O ports", io::Error::other(error)))
}
