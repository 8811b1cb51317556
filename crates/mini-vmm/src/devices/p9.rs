//! `virtio-9p`: what an `-fsdev` shares.

use std::sync::Arc;

use p9_server::FileSystem;
use virtio_9p::{NineP, NinePProps};

use super::Parts;
use super::virtio::{Device, Model, ModelProps, bad_property};
use crate::options::BadOption;
use crate::share::{Files, Share};

pub(super) const MODEL: Model = Model {
    help: "shared directory, on an -fsdev",
    props: || Box::new(NinePProps::default()),
};

impl ModelProps for NinePProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        let id = self.fsdev.clone().unwrap_or_default();
        let share = parts.backends.share(option, "fsdev", &id)?;
        parts.workers = Some(Arc::clone(share.workers()));
        match share.files() {
            Files::Local(files) => make(self, option, share, files),
            Files::Synth(files) => make(self, option, share, files),
        }
    }
}

fn make<F: FileSystem>(
    props: &NinePProps,
    option: &str,
    share: &Share,
    files: &Arc<F>,
) -> Result<Device, BadOption> {
    let device = NineP::new(props, Arc::clone(files), share.limits());
    let device = device.map_err(|error| bad_property(option, error))?;
    Ok(Box::new(device.with_executor(share.pool())))
}
