//! QEMU's properties of the device.

use virtio_device::props;
use virtio_device::props::PropError;

props! {
    /// Properties of a [`NineP`](crate::NineP), as `-device virtio-9p-*` has them.
    pub struct NinePProps {
        /// What is shared: the id of an -fsdev.
        "fsdev" => fsdev: Option<String> = None,
        /// Name by which the guest mounts it, 1 to 31 bytes.
        "mount_tag" => mount_tag: Option<String> = None,
    }
}

impl NinePProps {
    /// The tag.
    ///
    /// # Errors
    /// [`PropError::Value`] where there is none, or it is too long.
    pub fn tag(&self) -> Result<&str, PropError> {
        let tag = self.mount_tag.as_deref().unwrap_or_default();
        match (1..=TAG_MAX).contains(&tag.len()) {
            true => Ok(tag),
            false => Err(PropError::Value {
                name: "mount_tag",
                value: tag.to_owned(),
                accepts: "1 to 31 bytes",
            }),
        }
    }
}

/// QEMU's limit.
const TAG_MAX: usize = 31;
