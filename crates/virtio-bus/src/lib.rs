//! The core that all virtio transports share: status machine, queue registers, runners.
#![forbid(unsafe_code)]
