//! `virtio-balloon`: memory that the guest can be asked to give back.

use std::sync::Arc;

use virtio_balloon::{Balloon, BalloonProps, HostMemory};

use super::virtio::{Device, Model, ModelProps};
use super::{Control, Parts};
use crate::options::BadOption;

pub(super) const MODEL: Model = Model {
    help: "memory that the guest can be asked to give back",
    props: || Box::new(BalloonProps::default()),
};

impl ModelProps for BalloonProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        let made = Balloon::new(self, HostMemory);
        let device =
            made.map_err(|error| BadOption::new(option, error, "a host with descriptors left"))?;
        let (handle, main_thread) = (device.handle(), Arc::clone(parts.backends.departures()));
        handle.on_change(move || main_thread.wake());
        parts.control = Control::Balloon(handle);
        Ok(Box::new(device))
    }
}
