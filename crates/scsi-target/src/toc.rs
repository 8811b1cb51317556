//! READ TOC/PMA/ATIP (MMC-6 section 6.25) of a disc with one session of one data track.

use crate::Sense;

/// The table of contents of a disc of `blocks`, with addresses as minute, second and frame if
/// `msf`.
pub(crate) fn read(format: u8, msf: bool, track: u8, blocks: u64) -> Result<Vec<u8>, Sense> {
    let end = u32::try_from(blocks).unwrap_or(u32::MAX);
    let list = match format {
        0 => tracks(msf, track, end)?,
        1 => descriptor(FIRST, address(msf, 0)).to_vec(),
        2 => full(end),
        _ => return Err(Sense::INVALID_CDB),
    };
    // The two bytes after the length: first and last track, or session.
    let mut bytes = (list.len() as u16 + 2).to_be_bytes().to_vec();
    bytes.extend([FIRST, FIRST]);
    bytes.extend(list);
    Ok(bytes)
}

fn tracks(msf: bool, from: u8, end: u32) -> Result<Vec<u8>, Sense> {
    let mut list = Vec::new();
    match from {
        0 | FIRST => list.extend(descriptor(FIRST, address(msf, 0))),
        LEAD_OUT => {}
        _ => return Err(Sense::INVALID_CDB),
    }
    list.extend(descriptor(LEAD_OUT, address(msf, end)));
    Ok(list)
}

fn descriptor(track: u8, [a, b, c, d]: [u8; 4]) -> [u8; 8] {
    [0, DATA, track, 0, a, b, c, d]
}

/// The lead-in's view: first track, last track, lead-out, and the track.
fn full(end: u32) -> Vec<u8> {
    let entry = |point, [_, minute, second, frame]: [u8; 4]| {
        [FIRST, DATA, 0, point, 0, 0, 0, 0, minute, second, frame]
    };
    let number = [0, FIRST, 0, 0];
    let entries = [
        entry(0xa0, number),
        entry(0xa1, number),
        entry(0xa2, address(true, end)),
        entry(FIRST, address(true, 0)),
    ];
    entries.concat()
}

fn address(msf: bool, lba: u32) -> [u8; 4] {
    if !msf {
        return lba.to_be_bytes();
    }
    // The first two seconds are before block 0.
    let frame = lba.saturating_add(2 * 75);
    let minute = u8::try_from(frame / 75 / 60).unwrap_or(u8::MAX);
    [0, minute, (frame / 75 % 60) as u8, (frame % 75) as u8]
}

const FIRST: u8 = 1;
const LEAD_OUT: u8 = 0xaa;
/// ADR 1, a data track that may not be copied or written.
const DATA: u8 = 0x14;
