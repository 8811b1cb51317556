//! Where a device does its work, if its user says so: `iothread=`.

use virtio_device::props::{DynProps, PropError, PropHelp, Props};

use super::fixed::is_among;
use crate::objects::{Objects, Place};
use crate::options::BadOption;

virtio_device::props! {
    /// Where a device does its work.
    struct ThreadProps {
        /// Object of that type whose thread does the work; without one each worker has its own.
        "iothread" => iothread: Option<String> = None,
    }
}

/// The property of the types that have it.
pub(super) struct Threads(Option<ThreadProps>);

impl Threads {
    /// Those of the type called `driver`.
    pub(super) fn of(driver: &str) -> Self {
        Self(is_among(driver, TYPES).then(ThreadProps::default))
    }

    /// The place that the property names.
    pub(super) fn place(
        &self,
        option: &str,
        objects: &Objects,
    ) -> Result<Option<Place>, BadOption> {
        let id = self.0.as_ref().and_then(|props| props.iothread.as_deref());
        id.map(|id| objects.iothread(option, "iothread", id))
            .transpose()
    }
}

impl DynProps for Threads {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError> {
        match &mut self.0 {
            Some(props) => Props::set(props, name, value),
            None => Ok(false),
        }
    }

    fn describe(&self) -> Vec<PropHelp> {
        self.0.iter().flat_map(Props::describe).collect()
    }
}

const TYPES: &str = "virtio-balloon-* virtio-blk-* virtio-scsi-*";
