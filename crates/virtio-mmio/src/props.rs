//! Properties of the transport.

virtio_device::props! {
    /// Properties of the MMIO transport, under the names that QEMU's `virtio-mmio` has for them.
    ///
    /// One default differs: QEMU starts out with `force-legacy` on, for the sake of kernels older
    /// than Linux 4.0. Here a device is one of VIRTIO 1.x unless told otherwise.
    pub struct MmioProps {
        /// Show the legacy interface (version 1) instead of version 2.
        "force-legacy" => force_legacy: bool = false,
        /// Let the kernel turn notifications into events, where the VMM supplies the means.
        "ioeventfd" => ioeventfd: bool = true,
    }
}
