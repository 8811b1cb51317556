//! Ethernet addresses.

use std::fmt;

use virtio_device::props::PropValue;

/// An Ethernet address.
///
/// ```
/// use virtio_device::props::PropValue;
/// use virtio_net::Mac;
/// let mac = Mac::parse("52:54:00:12:34:56").unwrap();
/// assert_eq!(mac.to_string(), "52:54:00:12:34:56");
/// assert_eq!(Mac::parse("52:54:00:12:34"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All ones: every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group of stations, broadcast included.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl PropValue for Mac {
    const ACCEPTS: &'static str = "six bytes in hexadecimal, such as 52:54:00:12:34:56";

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next()?;
            let digits = part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| digits && part.len() <= 2)?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
