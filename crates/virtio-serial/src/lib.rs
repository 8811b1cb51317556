//! The virtio console and serial-port device.
#![forbid(unsafe_code)]
