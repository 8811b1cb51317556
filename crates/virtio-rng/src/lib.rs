//! The virtio entropy device.
#![forbid(unsafe_code)]
