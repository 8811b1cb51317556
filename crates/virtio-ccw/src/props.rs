//! Properties of the transport.

use virtio_device::props::PropValue;

use crate::css::{DeviceNumber, Place, SubchannelId};

virtio_device::props! {
    /// Properties of the channel I/O transport, under the names that QEMU's `virtio-*-ccw` have for
    /// them. QEMU has no `x-adapter-interrupts`: it can always make them.
    pub struct CcwProps {
        /// Device number, such as fe.0.1234; the first free one of subchannel set 0 if unset.
        "devno" => devno: Option<Devno> = None,
        /// The latest revision of the transport to offer; 0 is the legacy interface alone.
        "max_revision" => max_revision: u32 = 2,
        /// Let the kernel turn notifications into events, where the VMM supplies the means.
        "ioeventfd" => ioeventfd: bool = true,
        /// Offer adapter interrupts; without them, drivers use classic ones.
        "x-adapter-interrupts" => adapter_interrupts: bool = true,
    }
}

/// A device number as users write it: channel subsystem, which is always fe for virtual devices,
/// subchannel set, device number, all hexadecimal.
///
/// ```
/// use virtio_ccw::Devno;
/// use virtio_ccw::css::DeviceNumber;
/// use virtio_device::props::PropValue;
/// let devno = Devno::parse("fe.1.23ab").unwrap();
/// assert_eq!((devno.set, devno.device), (1, DeviceNumber(0x23ab)));
/// assert_eq!(devno.show(), "fe.1.23ab");
/// assert_eq!(Devno::parse("fe.4.0000"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devno {
    /// Subchannel set, 0 to 3.
    pub set: u8,
    /// Device number.
    pub device: DeviceNumber,
}

impl PropValue for Devno {
    const ACCEPTS: &'static str = "channel subsystem fe, subchannel set 0 to 3 and device number, \
                                   such as fe.1.23ab";

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut part = |digits| hex(parts.next()?, digits);
        let (css, set, device) = (part(2)?, part(1)?, part(4)?);
        let set = u8::try_from(set)
            .ok()
            .filter(|&set| set < SubchannelId::SETS)?;
        let whole = parts.next().is_none() && css == VIRTUAL_CSS;
        whole.then_some(Self {
            set,
            device: DeviceNumber(device),
        })
    }

    fn show(&self) -> String {
        format!("{VIRTUAL_CSS:x}.{:x}.{}", self.set, self.device)
    }
}

impl CcwProps {
    /// Where the device is to be attached.
    pub(crate) fn place(&self) -> Place {
        Place {
            set: self.devno.map_or(0, |devno| devno.set),
            device: self.devno.map(|devno| devno.device),
            subchannel: None,
        }
    }
}

/// A number of one to `digits` hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u16> {
    let good = text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

/// The channel subsystem of virtual devices.
const VIRTUAL_CSS: u16 = 0xfe;
