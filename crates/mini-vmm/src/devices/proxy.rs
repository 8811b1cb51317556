//! Transports: the part of a virtio device that its type name ends with.

use std::sync::Arc;

use virtio_bus::Runner;
use virtio_ccw::{CcwParts, CcwProps, CcwTransport};
use virtio_device::Features;
use virtio_device::props::{DynProps, OnOffAuto, PropError, PropHelp, Props};
use virtio_mmio::{MmioParts, MmioProps, MmioTransport};
use virtio_pci::{Error, PciParts, PciProps, PciTransport};

use super::virtio::{Device, bad_property};
use super::{Bay, Board, Control, Pc, Plug, Plugged, Seat};
use crate::memory::SharedMemory;
use crate::objects::Place;
use crate::options::BadOption;
use crate::workers::Workers;

/// How a virtio device meets its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    /// PCI, with the interfaces that properties and place ask for.
    Pci,
    /// PCI, legacy and modern interface.
    PciTransitional,
    /// PCI, modern interface.
    PciModern,
    /// MMIO.
    Mmio,
    /// Channel I/O.
    Ccw,
}

impl Proxy {
    pub(super) fn bus(self) -> &'static str {
        match self {
            Self::Mmio => "virtio-mmio",
            Self::Ccw => "channel I/O",
            _ => "PCI",
        }
    }

    /// Its properties, at their defaults.
    pub(super) fn props(self) -> ProxyProps {
        let legacy = match self {
            Self::Pci => OnOffAuto::Auto,
            Self::PciTransitional => OnOffAuto::Off,
            Self::PciModern => OnOffAuto::On,
            Self::Mmio => return ProxyProps::Mmio(MmioProps::default()),
            Self::Ccw => return ProxyProps::Ccw(CcwProps::default()),
        };
        ProxyProps::Pci {
            props: PciProps::default().disable_legacy(legacy),
            bus: None,
            fixed: self != Self::Pci,
        }
    }
}

/// Properties of a transport.
pub(super) enum ProxyProps {
    Pci {
        props: PciProps,
        bus: Option<String>,
        /// The type's name says which interfaces there are.
        fixed: bool,
    },
    Mmio(MmioProps),
    Ccw(CcwProps),
}

/// A device on its way to a transport.
pub(super) struct VirtioPart {
    pub(super) device: Device,
    pub(super) features: Features,
    /// Of all layers, with their values.
    pub(super) properties: Vec<PropHelp>,
    pub(super) id: Option<String>,
    /// Its path among QEMU's objects.
    pub(super) path: String,
    /// Name of its type.
    pub(super) driver: &'static str,
    pub(super) control: Control,
    /// Where it does its work, if not where others do.
    pub(super) workers: Option<Arc<Workers>>,
    /// The thread that does all its work, if there is one.
    pub(super) iothread: Option<Place>,
    /// What errors call it.
    pub(super) option: String,
}

impl VirtioPart {
    /// What its threads are called.
    fn name(&self) -> &str {
        self.id.as_deref().unwrap_or(self.driver)
    }

    /// What runs its workers, those of `others` unless it has its own.
    fn runner(&self, others: &Workers) -> Arc<dyn Runner<SharedMemory>> {
        let workers = self.workers.as_deref().unwrap_or(others);
        match &self.iothread {
            Some(place) => place.runner(workers),
            None => workers.runner(self.name()),
        }
    }
}

impl ProxyProps {
    /// A plug for `part` that goes where these properties say.
    pub(super) fn plug(self, part: VirtioPart) -> Plug {
        match self {
            Self::Pci { props, bus, .. } => {
                let option = part.option.clone();
                let plug = move |bay: &mut Bay<'_>| plug_pci(bay, part, &props, bus.as_deref());
                Plug::Pci(option, Box::new(plug))
            }
            Self::Ccw(props) => Plug::Board(Box::new(move |board| {
                plug_ccw(board, part, &props).map(Some)
            })),
            Self::Mmio(props) => Plug::Board(Box::new(move |board| {
                plug_mmio(board, part, &props).map(Some)
            })),
        }
    }
}

impl DynProps for ProxyProps {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError> {
        match self {
            Self::Pci { fixed: true, .. } if INTERFACES.contains(&name) => Ok(false),
            Self::Pci { bus, .. } if name == BUS => {
                *bus = Some(value.to_owned());
                Ok(true)
            }
            Self::Pci { props, .. } => Props::set(props, name, value),
            Self::Mmio(props) => Props::set(props, name, value),
            Self::Ccw(props) => Props::set(props, name, value),
        }
    }

    fn describe(&self) -> Vec<PropHelp> {
        let (props, fixed) = match self {
            Self::Mmio(props) => return Props::describe(props),
            Self::Ccw(props) => return Props::describe(props),
            Self::Pci { props, fixed, .. } => (props, *fixed),
        };
        let mut described = Props::describe(props);
        described.retain(|property| !fixed || !INTERFACES.contains(&property.name));
        described.push(PropHelp {
            name: BUS,
            accepts: "text",
            value: "pcie.0".to_owned(),
            help: "Bus: pcie.0, or the id of a pcie-root-port.",
        });
        described
    }
}

fn plug_pci(
    bay: &mut Bay<'_>,
    part: VirtioPart,
    props: &PciProps,
    bus: Option<&str>,
) -> Result<Plugged, BadOption> {
    let option = &part.option;
    let place = bay.pci.locate(option, bus, props.addr.map(|addr| addr.0))?;
    let runner = part.runner(bay.workers);
    let parts = PciParts {
        device: part.device,
        runner,
        memory: bay.memory.clone(),
        features: part.features,
    };
    let transport = PciTransport::new(bay.pci.wires(place), props, parts);
    let transport = transport.map_err(|error| match error {
        Error::Property(error) => bad_property(option, error),
        error => BadOption::new(option, error, "another set of properties"),
    })?;
    let transport = Arc::new(transport);
    bay.pci.attach(option, place, Arc::clone(&transport) as _)?;
    Ok(Plugged {
        id: part.id,
        path: part.path,
        driver: part.driver,
        properties: part.properties,
        seat: Seat::Pci(place, transport),
        control: part.control,
        leaving: None,
    })
}

fn plug_mmio(
    board: &mut Board<'_>,
    part: VirtioPart,
    props: &MmioProps,
) -> Result<Plugged, BadOption> {
    let runner = part.runner(board.workers);
    let parts = MmioParts {
        device: part.device,
        runner,
        memory: board.memory.clone(),
        features: part.features,
    };
    let bad =
        |error: &dyn std::fmt::Display, accepted| BadOption::new(&part.option, error, accepted);
    let Pc {
        bus,
        mmio,
        platform,
        ..
    } = board.buses.pc(&part.option)?;
    let (place, slot) = mmio
        .slot()
        .map_err(|error| bad(&error, "virtio-mmio devices up to the number of slots"))?;
    let transport = MmioTransport::new(slot, props, parts);
    let transport = transport.map_err(|error| bad(&error, "another set of properties"))?;
    let transport = Arc::new(transport);
    mmio.attach(bus, place, Arc::clone(&transport))
        .map_err(|error| bad(&error, ""))?;
    platform.virtio_mmio.push(place);
    Ok(Plugged {
        id: part.id,
        path: part.path,
        driver: part.driver,
        properties: part.properties,
        seat: Seat::Mmio(transport),
        control: part.control,
        leaving: None,
    })
}

fn plug_ccw(
    board: &mut Board<'_>,
    part: VirtioPart,
    props: &CcwProps,
) -> Result<Plugged, BadOption> {
    let option = &part.option;
    let css = board.buses.channels(option)?;
    let runner = part.runner(board.workers);
    let parts = CcwParts {
        device: part.device,
        runner,
        memory: board.memory.clone(),
        features: part.features,
        ioeventfds: None,
    };
    let transport = CcwTransport::new(css, props, parts);
    let transport = transport.map_err(|error| match error {
        virtio_ccw::Error::Property(error) => bad_property(option, error),
        error => BadOption::new(option, error, "another place, or other properties"),
    })?;
    Ok(Plugged {
        id: part.id,
        path: part.path,
        driver: part.driver,
        properties: part.properties,
        seat: Seat::Ccw(transport),
        control: part.control,
        leaving: None,
    })
}

const BUS: &str = "bus";
/// Properties that the names `*-transitional` and `*-non-transitional` decide.
const INTERFACES: [&str; 2] = ["disable-legacy", "disable-modern"];
