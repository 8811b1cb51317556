//! The virtio block device.
#![forbid(unsafe_code)]
