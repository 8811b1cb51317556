//! What a virtio device is, apart from the transport that carries it.
#![forbid(unsafe_code)]
