//! The frame that tells the network where a device is.

use crate::Mac;

/// A request of reverse ARP (RFC 903) from `mac` for its own address, to everybody: bridges learn
/// from it, and nobody needs to answer.
pub(crate) fn frame(mac: Mac) -> [u8; LEN] {
    let mut frame = [0; LEN];
    let parts: [&[u8]; 8] = [
        &Mac::BROADCAST.0,
        &mac.0,
        // Type, then hardware and protocol with the lengths of their addresses, and the operation.
        &[0x80, 0x35],
        &[0, 1, 8, 0, 6, 4, 0, 3],
        &mac.0,
        &[0; 4],
        &mac.0,
        &[0; 4],
    ];
    let bytes = parts.into_iter().flatten();
    frame
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    frame
}

/// The shortest Ethernet frame.
const LEN: usize = 60;
