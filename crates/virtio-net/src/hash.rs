//! The hash of a frame (section 5.1.6.4.3).

use crate::flow::{Flow, Transport};

/// The key of the Toeplitz function, as the driver gave it.
pub(crate) type Key = [u8; MAX_KEY];

/// A hash, and what it was calculated over (VIRTIO_NET_HASH_REPORT_*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) value: u32,
    pub(crate) report: u16,
}

/// The hash of the frame that begins with `frame`, by the best of the types (VIRTIO_NET_HASH_TYPE_*)
/// in `types` that fits it; `None` where none does.
pub(crate) fn hash(frame: &[u8], types: u32, key: &Key) -> Option<Hash> {
    let flow = Flow::of(frame)?;
    let (candidates, addresses) = match &flow {
        Flow::V4 {
            addresses,
            transport,
        } => (v4(*transport), [&addresses[..]; 2]),
        Flow::V6 {
            addresses,
            extended,
            transport,
        } => {
            let candidates = v6(*transport, extended.is_some());
            (
                candidates,
                [&addresses[..], extended.as_ref().unwrap_or(addresses)],
            )
        }
    };
    let chosen = candidates.into_iter().flatten();
    let mut chosen = chosen.filter(|candidate| types >> candidate.kind & 1 != 0);
    chosen.next().map(|candidate| {
        let [plain, extended] = addresses;
        let addresses = if candidate.extended { extended } else { plain };
        let mut input = [0; MAX_INPUT];
        let len = fill(&mut input, addresses, &candidate.ports);
        Hash {
            value: toeplitz(input.get(..len).unwrap_or_default(), key),
            report: candidate.report,
        }
    })
}

/// A way to hash a frame.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Bit in the hash types.
    kind: u32,
    report: u16,
    extended: bool,
    ports: Option<[u8; 4]>,
}

impl Candidate {
    fn new(kind: u32, report: u16, extended: bool, ports: Option<[u8; 4]>) -> Option<Self> {
        Some(Self {
            kind,
            report,
            extended,
            ports,
        })
    }
}

/// The ways for IPv4, best first (section 5.1.6.4.3.1).
fn v4(transport: Option<Transport>) -> [Option<Candidate>; 4] {
    let with_ports = match transport {
        Some(Transport::Tcp(ports)) => Candidate::new(1, 2, false, Some(ports)),
        Some(Transport::Udp(ports)) => Candidate::new(2, 3, false, Some(ports)),
        None => None,
    };
    [with_ports, Candidate::new(0, 1, false, None), None, None]
}

/// The ways for IPv6, best first: with extension headers those of section 5.1.6.4.3.3, then those
/// of 5.1.6.4.3.2.
fn v6(transport: Option<Transport>, extensions: bool) -> [Option<Candidate>; 4] {
    let [extended, plain] = match transport {
        Some(Transport::Tcp(ports)) => [
            Candidate::new(7, 8, true, Some(ports)),
            Candidate::new(4, 5, false, Some(ports)),
        ],
        Some(Transport::Udp(ports)) => [
            Candidate::new(8, 9, true, Some(ports)),
            Candidate::new(5, 6, false, Some(ports)),
        ],
        None => [None, None],
    };
    let address = Candidate::new(6, 7, true, None);
    [
        extended.filter(|_| extensions),
        plain,
        address.filter(|_| extensions),
        Candidate::new(3, 4, false, None),
    ]
}

fn fill(input: &mut [u8; MAX_INPUT], addresses: &[u8], ports: &Option<[u8; 4]>) -> usize {
    let bytes = addresses.iter().chain(ports.iter().flatten());
    let places = input.iter_mut().zip(bytes);
    places.map(|(to, from)| *to = *from).count()
}

/// For each bit of the input that is set, the 32 bits of the key that begin at its place, added
/// without carry.
fn toeplitz(input: &[u8], key: &Key) -> u32 {
    let mut window = u64::from_be_bytes(*key.first_chunk().unwrap_or(&[0; 8]));
    let mut next = key.iter().skip(8);
    let mut hash = 0;
    for &byte in input {
        for bit in (0..8).rev() {
            if byte >> bit & 1 != 0 {
                hash ^= (window >> 32) as u32;
            }
            window <<= 1;
        }
        // Eight bits have gone out at the top; as many come in at the bottom.
        window |= u64::from(next.next().copied().unwrap_or(0));
    }
    hash
}

/// All hash types that the device knows: IPv4, TCPv4, UDPv4, IPv6, TCPv6, UDPv6, and the three for
/// IPv6 with extension headers.
pub(crate) const TYPES: u32 = 0x1ff;
/// Bytes of a key at most: enough for two IPv6 addresses, two ports and the window behind.
pub(crate) const MAX_KEY: usize = 40;
/// Two IPv6 addresses and two ports.
const MAX_INPUT: usize = 36;

#[cfg(test)]
#[path = "hash_tests.rs"]
mod tests;
