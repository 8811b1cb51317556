//! A small reference VMM for x86-64 and KVM that wires the virtio crates together.
fn main() {}
