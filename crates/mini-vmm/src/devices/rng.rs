//! `virtio-rng`: entropy, from the host's kernel or from an `-object`.

use virtio_rng::{EntropySource, HostRandom, Rng, RngProps};

use super::Parts;
use super::virtio::{Device, Model, ModelProps, bad_property};
use crate::options::BadOption;

pub(super) const MODEL: Model = Model {
    help: "entropy, of the host's kernel or an -object rng-*",
    props: || Box::new(RngProps::default()),
};

impl ModelProps for RngProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        let source: Box<dyn EntropySource> = match &self.rng {
            None => Box::new(HostRandom),
            Some(id) => parts.backends.objects.entropy(option, "rng", id)?,
        };
        let device = Rng::new(self, source).map(|device| Box::new(device) as Device);
        device.map_err(|error| bad_property(option, error))
    }
}
