//! The virtio MMIO transport, versions 2 and 1.
#![forbid(unsafe_code)]
