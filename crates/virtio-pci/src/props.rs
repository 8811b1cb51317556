//! Properties of the transport.

use virtio_device::props::{OnOffAuto, PropValue};
use vm_pci::Slot;

virtio_device::props! {
    /// Properties of the PCI transport, under the names that QEMU's `virtio-*-pci` have for them.
    pub struct PciProps {
        /// Leave out the legacy interface; auto: behind a root port only.
        "disable-legacy" => disable_legacy: OnOffAuto = OnOffAuto::Auto,
        /// Leave out the modern interface.
        "disable-modern" => disable_modern: bool = false,
        /// Number of MSI-X vectors, at most 2048, 0 for none; what suits the device if unset.
        "vectors" => vectors: Option<u32> = None,
        /// Let the kernel turn notifications into events, where the VMM supplies the means.
        "ioeventfd" => ioeventfd: bool = true,
        /// Give each queue's notifications a page of their own.
        "page-per-vq" => page_per_vq: bool = false,
        /// Offer notifications through an I/O port as well.
        "modern-pio-notify" => modern_pio_notify: bool = false,
        /// Slot and function, such as 06.0 or 06; the first free slot if unset.
        "addr" => addr: Option<Addr> = None,
    }
}

/// A device and function number as users write it: in hexadecimal, with or without `0x`, the
/// function optional.
///
/// ```
/// use virtio_device::props::PropValue;
/// use virtio_pci::{Addr, vm_pci::Slot};
/// assert_eq!(Addr::parse("1f.2"), Some(Addr(Slot::new(31, 2))));
/// assert_eq!(Addr::parse("06"), Some(Addr(Slot::new(6, 0))));
/// assert_eq!(Addr::parse("0x06"), Some(Addr(Slot::new(6, 0))));
/// assert_eq!(Addr::parse("20.0"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr(pub Slot);

impl PropValue for Addr {
    const ACCEPTS: &'static str = "a slot and optional function in hexadecimal, 00.0 to 1f.7";

    fn parse(text: &str) -> Option<Self> {
        let (device, function) = text.split_once('.').unwrap_or((text, "0"));
        let (device, function) = (hex(device)?, hex(function)?);
        (device < 32 && function < 8).then(|| Self(Slot::new(device, function)))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

fn hex(text: &str) -> Option<u8> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}
