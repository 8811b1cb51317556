//! Virtio devices: from `name=value` pairs to a device behind a transport.
//!
//! A pair is offered to the device first, then to what all virtio devices have, then to the
//! transport, so that one option sets up all three. What is left is QEMU's and fixed here.

use virtio_bus::VirtioProps;
use virtio_device::DynDevice;
use virtio_device::props::{self, DynProps, PropError, PropHelp};

use super::fixed::FixedProps;
use super::proxy::{Proxy, VirtioPart};
use super::threads::Threads;
use super::{Parts, Plug, option};
use crate::memory::SharedMemory;
use crate::options::{BadOption, DeviceOptions};

/// A type of virtio device, apart from its transport.
#[derive(Clone, Copy)]
pub(super) struct Model {
    /// What it is.
    pub(super) help: &'static str,
    /// Its properties, at their defaults.
    pub(super) props: fn() -> Box<dyn ModelProps>,
}

/// Properties of a virtio device, which know how to make one.
pub(super) trait ModelProps: DynProps {
    /// Makes the device; `option` is its name in errors.
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption>;
}

/// A virtio device.
pub(super) type Device = Box<dyn DynDevice<SharedMemory>>;

/// Makes the device of `options`.
pub(super) fn make(
    options: &DeviceOptions,
    model: Model,
    proxy: Proxy,
    mut parts: Parts<'_>,
) -> Result<Plug, BadOption> {
    let (option, driver) = (option(options), parts.driver);
    let (mut model, mut common, mut proxy) =
        ((model.props)(), VirtioProps::default(), proxy.props());
    let mut threads = Threads::of(driver);
    apply(
        &option,
        options,
        &mut [
            &mut *model,
            &mut common,
            &mut threads,
            &mut proxy,
            &mut FixedProps(driver),
        ],
    )?;
    let iothread = threads.place(&option, &parts.backends.objects)?;
    let device = model.device(&option, &mut parts)?;
    let layers: [&dyn DynProps; 4] = [&*model, &common, &threads, &proxy];
    let properties = layers.iter().flat_map(|layer| layer.describe()).collect();
    Ok(proxy.plug(VirtioPart {
        device,
        properties,
        features: common.features(),
        id: options.id.clone(),
        path: parts.path,
        driver,
        control: parts.control,
        workers: parts.workers,
        iothread,
        option,
    }))
}

/// Properties of all layers with types and defaults.
pub(super) fn properties(driver: &'static str, model: Model, proxy: Proxy) -> Vec<PropHelp> {
    let (model, proxy) = ((model.props)(), proxy.props());
    let (threads, fixed) = (Threads::of(driver), FixedProps(driver));
    let layers: [&dyn DynProps; 5] = [&*model, &VirtioProps::default(), &threads, &proxy, &fixed];
    layers.iter().flat_map(|layer| layer.describe()).collect()
}

/// A property as help lists it.
pub(crate) fn line(property: &PropHelp) -> String {
    let PropHelp {
        name,
        accepts,
        value,
        help,
    } = property;
    let default = if value.is_empty() {
        String::new()
    } else {
        format!(" (default {value})")
    };
    format!("  {name:<26} <{accepts}> {help}{default}\n")
}

/// Applies the pairs of `options` to `layers`.
pub(super) fn apply(
    option: &str,
    options: &DeviceOptions,
    layers: &mut [&mut dyn DynProps],
) -> Result<(), BadOption> {
    apply_pairs(option, &options.properties, layers)
}

/// Applies `pairs` to `layers`; `option` is what errors call their owner.
pub(crate) fn apply_pairs(
    option: &str,
    pairs: &[(String, String)],
    layers: &mut [&mut dyn DynProps],
) -> Result<(), BadOption> {
    for (name, value) in pairs {
        let pair = [(name.as_str(), value.as_str())];
        props::apply(pair, layers).map_err(|error| match error {
            PropError::Unknown { near, .. } => {
                let names = match near.as_slice() {
                    [] => format!("what {option},help lists"),
                    near => near.join(", "),
                };
                BadOption::property(option, name, value, "unknown name", names)
            }
            error => bad_property(option, error),
        })?;
    }
    Ok(())
}

/// The error of a property in the words of the command line.
pub(crate) fn bad_property(option: &str, error: PropError) -> BadOption {
    match error {
        PropError::Value {
            name,
            value,
            accepts,
        } => BadOption::property(option, name, &value, "not accepted", accepts),
        error => BadOption::new(option, error, ""),
    }
}
