//! What hashes are calculated over: the addresses and ports of a frame (section 5.1.6.4.3).

/// Addresses and ports of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    V4 {
        /// Source, then destination.
        addresses: [u8; 8],
        transport: Option<Transport>,
    },
    V6 {
        addresses: [u8; 32],
        /// Where there are extension headers: with the home address and the routing header's address
        /// in place of source and destination.
        extended: Option<[u8; 32]>,
        transport: Option<Transport>,
    },
}

/// Ports: source, then destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp([u8; 4]),
    Udp([u8; 4]),
}

impl Flow {
    /// The flow of the frame that begins with `frame`; `None` where that is no IP packet.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let (kind, mut packet) = ethernet(frame.get(12..)?)?;
        // One tag more is common, and there are no more than two.
        let mut kind = kind;
        for _ in 0..2 {
            if VLANS.contains(&kind) {
                (kind, packet) = ethernet(packet.get(2..)?)?;
            }
        }
        match kind {
            IPV4 => v4(packet),
            IPV6 => v6(packet),
            _ => None,
        }
    }
}

fn ethernet(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (kind, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*kind), rest))
}

fn v4(packet: &[u8]) -> Option<Flow> {
    let header = packet.first_chunk::<20>()?;
    let len = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || len < 20 {
        return None;
    }
    let addresses = *header.last_chunk()?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let rest = packet.get(len..).filter(|_| !fragment);
    let transport = rest.and_then(|rest| transport(header[9], rest));
    Some(Flow::V4 {
        addresses,
        transport,
    })
}

fn v6(packet: &[u8]) -> Option<Flow> {
    let (header, mut rest) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let addresses: [u8; 32] = *header.last_chunk()?;
    let (mut extended, mut next) = (addresses, header[6]);
    let (mut fragment, plain) = (false, header[6]);
    for _ in 0..MOST_HEADERS {
        let Some((extension, after)) = extension(next, rest) else {
            break;
        };
        match next {
            ROUTING => routing_address(extension, &mut extended),
            DESTINATION => home_address(extension, &mut extended),
            _ => fragment |= next == FRAGMENT,
        }
        (next, rest) = (extension.first().copied()?, after);
    }
    let transport = transport(next, rest).filter(|_| !fragment);
    Some(Flow::V6 {
        addresses,
        extended: (next != plain).then_some(extended),
        transport,
    })
}

/// The extension header of type `kind` at the start of `bytes`, and what follows it.
fn extension(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = match kind {
        HOP_BY_HOP | ROUTING | DESTINATION => 8 + 8 * usize::from(*bytes.get(1)?),
        FRAGMENT => 8,
        _ => return None,
    };
    bytes.split_at_checked(len)
}

/// The final address of a type 2 routing header takes the place of the destination.
fn routing_address(header: &[u8], addresses: &mut [u8; 32]) {
    let is_home = header.get(2..4) == Some(&[2, 1]);
    if let (Some(address), true) = (header.get(8..24), is_home) {
        addresses[16..].copy_from_slice(address);
    }
}

/// The home address option takes the place of the source.
fn home_address(header: &[u8], addresses: &mut [u8; 32]) {
    let mut options = header.get(2..).unwrap_or_default();
    loop {
        options = match *options {
            [0, ref rest @ ..] => rest,
            [HOME_ADDRESS, 16, ref rest @ ..] if rest.len() >= 16 => {
                addresses[..16].copy_from_slice(&rest[..16]);
                return;
            }
            [_, len, ref rest @ ..] => rest.get(len.into()..).unwrap_or_default(),
            _ => return,
        };
    }
}

fn transport(protocol: u8, bytes: &[u8]) -> Option<Transport> {
    let ports = bytes.first_chunk().copied()?;
    match protocol {
        TCP => Some(Transport::Tcp(ports)),
        UDP => Some(Transport::Udp(ports)),
        _ => None,
    }
}

/// Bytes from the start of a frame that are looked at.
pub(crate) const LOOKS_AT: u32 = 256;
const VLANS: [u16; 2] = [0x8100, 0x88a8];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const HOME_ADDRESS: u8 = 0xc9;
const MOST_HEADERS: usize = 8;
