//! The virtio PCI transport: modern, transitional and legacy.
#![forbid(unsafe_code)]
