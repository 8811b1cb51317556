//! `virtio-scsi` and what sits on it, `scsi-hd` and `scsi-cd`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use scsi_target::{LogicalUnit, Setup, UnitError};
use virtio_blk::BlkError;
use virtio_device::props::{DynProps, OnErrorAuto, PropError, PropHelp, Props};
use virtio_scsi::{CdProps, HdProps, Scsi, ScsiError, ScsiHandle, ScsiProps, Wish};

use super::child::{BUS, Controllers, OnBus};
use super::fixed::FixedProps;
use super::table::{Kind, Row};
use super::tenant::Tenancy;
use super::virtio::{Device, Model, ModelProps, apply, bad_property};
use super::{Control, Parts, Plugged, PluggedUnit, option};
use crate::backends::Backends;
use crate::drive::Drive;
use crate::options::{BadOption, DeviceOptions};
use crate::storage::{Storage, unit_storage};

pub(super) const MODEL: Model = Model {
    help: "a SCSI bus for disks: scsi-hd, scsi-cd",
    props: || Box::new(ScsiProps::default()),
};

/// What sits on a SCSI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitKind {
    Disk,
    Cdrom,
}

/// The units of a bus.
pub(super) type Units = Vec<NamedUnit>;

/// A unit and what errors call it.
pub(super) struct NamedUnit {
    option: String,
    id: Option<String>,
    path: String,
    wish: Wish,
    unit: Arc<LogicalUnit<Storage>>,
    drive: Option<Drive>,
    tenancy: Weak<Tenancy>,
}

impl ModelProps for ScsiProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        if self.num_queues == Self::AUTO_QUEUES {
            self.num_queues = parts.cpus.into();
        }
        let device = Scsi::new(self).map_err(|error| match error {
            ScsiError::Property(error) => bad_property(option, error),
            error => BadOption::new(option, error, "fewer devices"),
        })?;
        let (handle, mut plugged) = (device.handle(), Vec::new());
        for unit in std::mem::take(&mut parts.units) {
            plugged.push(plug(unit, &handle, parts.backends)?);
        }
        parts.control = Control::Scsi(handle, plugged);
        Ok(Box::new(device))
    }
}

/// The units among `devices`, whose paths are `paths`, by their controller's place in the list.
pub(super) fn units(
    devices: &[(&DeviceOptions, &Row)],
    paths: &[String],
    backends: &mut Backends,
) -> Result<BTreeMap<usize, Units>, BadOption> {
    let mut units = BTreeMap::<usize, Units>::new();
    for (index, ((options, row), path)) in devices.iter().zip(paths).enumerate() {
        if let Kind::Unit(kind) = row.kind {
            let (bus, unit) = unit((options, row.name, path.clone()), kind, backends)?;
            let controller = BUSES.find(devices, index, bus.as_deref())?;
            units.entry(controller).or_default().push(unit);
        }
    }
    Ok(units)
}

/// Properties of a unit.
pub(super) fn unit_properties(driver: &'static str, kind: UnitKind) -> Vec<PropHelp> {
    let mut described = match kind {
        UnitKind::Disk => OnBus::<HdProps>::default().describe(),
        UnitKind::Cdrom => OnBus::<CdProps>::default().describe(),
    };
    described.extend(FixedProps(driver).describe());
    described
}

/// Adds a unit to the device whose bus it names, or the first one.
pub(super) fn add_unit(
    options: (&DeviceOptions, &'static str, String),
    kind: UnitKind,
    backends: &mut Backends,
    devices: &mut [Plugged],
) -> Result<(), BadOption> {
    let (bus, named) = unit(options, kind, backends)?;
    let mut controllers = devices.iter_mut().filter_map(|device| {
        let own = device.id.as_ref().map(|id| format!("{id}.0"));
        let wanted = bus.is_none() || bus == own;
        match &mut device.control {
            Control::Scsi(handle, units) if wanted => Some((handle, units)),
            _ => None,
        }
    });
    let (handle, units) = controllers.next().ok_or_else(|| {
        let bus = bus.as_deref().unwrap_or_default();
        let accepted = "ID.0 of a virtio-scsi device";
        BadOption::property(&named.option, BUS, bus, "no such bus", accepted)
    })?;
    units.push(plug(named, handle, backends)?);
    Ok(())
}

/// Puts a unit on its bus.
fn plug(
    named: NamedUnit,
    handle: &ScsiHandle<Storage>,
    backends: &mut Backends,
) -> Result<PluggedUnit, BadOption> {
    let added = handle.add(named.wish, named.unit);
    let address = added.map_err(|error| bad_property(&named.option, error))?;
    if let Some(drive) = &named.drive {
        let handle = handle.clone();
        let resize = move |size| match handle.resize(address, size) {
            Err(UnitError::Length { size, multiple }) => Err(BlkError::Length { size, multiple }),
            _ => Ok(()),
        };
        backends
            .drives
            .keep_resizer(&drive.options.id, Box::new(resize));
    }
    let host_end = named.drive.as_ref().map(|drive| drive.options.id.clone());
    Ok(PluggedUnit {
        id: named.id,
        path: named.path,
        address,
        leaving: false,
        drive: named.drive,
        host_end: host_end.unwrap_or_default(),
        tenancy: named.tenancy,
    })
}

fn unit(
    (options, driver, path): (&DeviceOptions, &'static str, String),
    kind: UnitKind,
    backends: &mut Backends,
) -> Result<(Option<String>, NamedUnit), BadOption> {
    let (option, given) = (option(options), Given::read(options, driver, kind)?);
    let drive = match &given.drive {
        Some(id) => Some(backends.drives.take(&option, "drive", id)?),
        None if kind == UnitKind::Cdrom => None,
        None => {
            let accepted = "the id of a -drive";
            return Err(BadOption::property(
                &option, "drive", "", "missing", accepted,
            ));
        }
    };
    let storage = drive
        .as_ref()
        .map(|drive| unit_storage(drive, kind == UnitKind::Cdrom));
    let storage = storage.transpose().map_err(UnitError::from);
    let unit = storage.and_then(|storage| LogicalUnit::new(given.setup, storage));
    let mut unit = unit.map_err(|error| refused(&option, drive.as_ref(), &error))?;
    if let Some(incidents) = backends.incidents() {
        let policy = Drive::errors(drive.as_ref(), given.rerror, given.werror);
        unit = unit.judged(policy, incidents.witness(&path));
    }
    let name = options.id.as_deref().unwrap_or(&path);
    let tenancy = watch(&unit, name, drive.as_ref(), backends);
    let named = NamedUnit {
        option,
        id: options.id.clone(),
        path,
        wish: given.wish,
        unit: Arc::new(unit),
        drive,
        tenancy,
    };
    Ok((given.bus, named))
}

/// Has monitors hear of the tray, and the main thread of the end of the unit.
fn watch(
    unit: &LogicalUnit<Storage>,
    id: &str,
    drive: Option<&Drive>,
    backends: &Backends,
) -> Weak<Tenancy> {
    let departures = backends.departures();
    let tenancy = Arc::new(Tenancy::new(departures));
    let weak = Arc::downgrade(&tenancy);
    let (id, drive) = (id.to_owned(), drive.map(|drive| drive.options.id.clone()));
    let departures = Arc::clone(departures);
    unit.watch_tray(move |open| {
        // It lives as long as the unit does.
        let _ = &tenancy;
        departures.tray_moved(id.clone(), drive.clone().unwrap_or_default(), open);
    });
    weak
}

/// What the options of a unit come to.
struct Given {
    bus: Option<String>,
    drive: Option<String>,
    wish: Wish,
    setup: Setup,
    rerror: OnErrorAuto,
    werror: OnErrorAuto,
}

impl Given {
    fn read(
        options: &DeviceOptions,
        driver: &'static str,
        kind: UnitKind,
    ) -> Result<Self, BadOption> {
        let (setup, unit, bus) = match kind {
            UnitKind::Disk => {
                let OnBus { props, bus } = set::<HdProps>(options, driver)?;
                (props.setup(), props.unit, bus)
            }
            UnitKind::Cdrom => {
                let OnBus { props, bus } = set::<CdProps>(options, driver)?;
                (props.setup(), props.unit, bus)
            }
        };
        let bad = |error: PropError| bad_property(&option(options), error);
        Ok(Self {
            bus,
            wish: unit.wish().map_err(bad)?,
            setup: setup.map_err(bad)?,
            drive: unit.drive,
            rerror: unit.rerror,
            werror: unit.werror,
        })
    }
}

/// Properties as `options` have them.
fn set<P: Props>(options: &DeviceOptions, driver: &'static str) -> Result<OnBus<P>, BadOption> {
    let (mut on, mut fixed) = (OnBus::<P>::default(), FixedProps(driver));
    apply(&option(options), options, &mut [&mut on, &mut fixed])?;
    Ok(on)
}

/// What is wrong with the drive of a unit.
pub(crate) fn refused(option: &str, drive: Option<&Drive>, error: &UnitError) -> BadOption {
    let path = drive.map(|drive| drive.options.source.to_string());
    let (why, accepted) = match error {
        UnitError::InUse => (
            "in use elsewhere".to_owned(),
            "an image that nobody else has open, or share-rw=on for all its devices",
        ),
        UnitError::Length { size, multiple } => (
            format!("size {size} is not a multiple of {multiple}"),
            "an image of whole logical blocks",
        ),
        error => (error.to_string(), "a raw image"),
    };
    match path {
        Some(path) => BadOption::property("-drive", "file", &path, why, accepted),
        None => BadOption::new(option, why, accepted),
    }
}

const BUSES: Controllers = Controllers {
    prefix: "virtio-scsi-",
    example: "virtio-scsi-pci",
};
