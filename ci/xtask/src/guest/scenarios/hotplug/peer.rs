//! The only other host in the network of an interface that comes and goes: whatever address the
//! guest asks for by ARP (RFC 826), it is its own.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Result;

use crate::socket;

/// Answers on the stream socket at `path`, where each frame comes after its length in four bytes,
/// until the VMM ends.
pub(super) fn answer(path: &Path) -> Result<()> {
    let mut stream = socket::connect(path)?;
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame)?;
        if let Some(reply) = reply(&frame) {
            stream.write_all(&(reply.len() as u32).to_be_bytes())?;
            stream.write_all(&reply)?;
        }
    }
    Ok(())
}

/// The reply to an ARP request; nothing else gets one.
fn reply(request: &[u8]) -> Option<Vec<u8>> {
    let asked = request.get(..ARP)?.get(ETHERTYPE..)?;
    if !asked.starts_with(&REQUEST) {
        return None;
    }
    let (sender, target) = (asked.get(10..20)?, asked.get(26..30)?);
    let hardware = sender.get(..6)?;
    Some([hardware, OWN, &REPLY, OWN, target, sender].concat())
}

const OWN: &[u8] = &[0x52, 0x54, 0x00, 0x99, 0x00, 0x01];
/// Offset of the type in an Ethernet header.
const ETHERTYPE: usize = 12;
/// Bytes of a frame with ARP in it.
const ARP: usize = 42;
/// Type, kinds and lengths of addresses, and the operation.
const REQUEST: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
const REPLY: [u8; 10] = [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_to_whoever_asked() {
        let (guest, broadcast) = ([2, 0, 0, 0, 0, 7], [0xff; 6]);
        let (asks, asked) = ([10, 0, 0, 2], [10, 0, 0, 1]);
        let request = [
            &broadcast[..],
            &guest,
            &REQUEST,
            &guest,
            &asks,
            &[0; 6],
            &asked,
        ];
        let expected = [&guest[..], OWN, &REPLY, OWN, &asked, &guest, &asks];
        assert_eq!(reply(&request.concat()), Some(expected.concat()));
        assert_eq!(reply(&expected.concat()), None);
        assert_eq!(reply(&request.concat()[..41]), None);
    }
}
