//! `virtio-rng`: entropy, from the host's kernel or from an `-object rng-random`.

use virtio_rng::{FileSource, HostRandom, Rng, RngProps};

use super::Parts;
use super::virtio::{Device, Model, ModelProps, bad_property};
use crate::options::BadOption;

pub(super) const MODEL: Model = Model {
    help: "entropy, of the host's kernel or an -object rng-random",
    props: || Box::new(RngProps::default()),
};

impl ModelProps for RngProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        let device = match &self.rng {
            None => Rng::new(self, HostRandom).map(|device| Box::new(device) as Device),
            Some(id) => {
                let file = parts.backends.entropy(option, "rng", id)?.try_clone();
                let source = file.and_then(FileSource::new).map_err(|error| {
                    BadOption::property(option, "rng", id, error, "an object that can be read")
                })?;
                Rng::new(self, source).map(|device| Box::new(device) as Device)
            }
        };
        device.map_err(|error| bad_property(option, error))
    }
}
