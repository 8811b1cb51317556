//! Mode pages (SPC-4 section 7.5) and MODE SENSE.

use crate::Sense;
use crate::command::ModeSense;

/// What mode pages let an initiator change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    /// WCE: the write cache is on.
    pub(crate) write_back: bool,
    /// D_SENSE: sense data in descriptor format.
    pub(crate) descriptor_sense: bool,
}

/// What they say besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) cdrom: bool,
    /// Of the drive's door.
    pub(crate) locked: bool,
    pub(crate) read_only: bool,
    pub(crate) dpofua: bool,
    /// Number and size of blocks; `None` without a medium.
    pub(crate) blocks: Option<(u64, u32)>,
}

/// The data of MODE SENSE.
pub(crate) fn sense(
    wanted: ModeSense,
    current: Modes,
    default: Modes,
    facts: Facts,
) -> Result<Vec<u8>, Sense> {
    let render = |code: u8| match wanted.control {
        CHANGEABLE => mask(code, facts),
        DEFAULT => page(code, default, facts),
        _ => page(code, current, facts),
    };
    if wanted.control == SAVED {
        return Err(Sense::NOTHING_SAVED);
    }
    let pages = match (wanted.page, wanted.subpage) {
        (ALL, 0 | ALL_SUBPAGES) => codes(facts.cdrom)
            .iter()
            .flat_map(|&code| render(code))
            .collect(),
        (code, 0) if codes(facts.cdrom).contains(&code) => render(code),
        _ => return Err(Sense::INVALID_CDB),
    };
    Ok(with_header(wanted, facts, &pages))
}

/// A whole page, for which there must be a code.
pub(crate) fn page(code: u8, modes: Modes, facts: Facts) -> Vec<u8> {
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    let body = match code {
        // AWRE
        ERROR_RECOVERY => vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        CACHING => {
            let mut body = vec![0; 18];
            body[0] = bit(modes.write_back, 0x04);
            body
        }
        // Unrestricted reordering.
        CONTROL => vec![
            bit(modes.descriptor_sense, 0x04),
            0x10,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ],
        // Immediate; no port plays.
        AUDIO => vec![0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // CAPABILITIES: reads CD-R, CD-RW and DVD-ROM; a tray that can be locked and ejected;
        // speed and buffer in kilobytes.
        _ => {
            let door = 0x29 | bit(facts.locked, 0x02);
            let mut body = vec![0x0b, 0, 0, 0, door, 0];
            for number in [SPEED, 0, BUFFER, SPEED] {
                body.extend(number.to_be_bytes());
            }
            body.resize(20, 0);
            body
        }
    };
    let mut bytes = vec![code, body.len() as u8];
    bytes.extend(body);
    bytes
}

/// Codes of the pages that there are, ascending.
pub(crate) fn codes(cdrom: bool) -> &'static [u8] {
    match cdrom {
        true => &[ERROR_RECOVERY, CONTROL, AUDIO, CAPABILITIES],
        false => &[ERROR_RECOVERY, CACHING, CONTROL],
    }
}

/// The bits of a page that can be changed.
pub(crate) fn mask(code: u8, facts: Facts) -> Vec<u8> {
    let with = |on| {
        let modes = Modes {
            write_back: on,
            descriptor_sense: on,
        };
        page(code, modes, facts)
    };
    let (on, mut mask) = (with(true), with(false));
    let body = mask.iter_mut().zip(on).skip(2);
    body.for_each(|(off, on)| *off ^= on);
    mask
}

fn with_header(wanted: ModeSense, facts: Facts, pages: &[u8]) -> Vec<u8> {
    let descriptor = facts.blocks.filter(|_| !wanted.bare && !facts.cdrom);
    let descriptor = descriptor.map(block_descriptor);
    let descriptor = descriptor.as_ref().map_or(&[][..], |bytes| bytes);
    let specific = match facts.cdrom {
        true => 0,
        false => u8::from(facts.read_only) << 7 | u8::from(facts.dpofua) << 4,
    };
    let rest = descriptor.len() + pages.len();
    let mut bytes = match wanted.long {
        true => {
            let [high, low] = (rest as u16 + 6).to_be_bytes();
            vec![high, low, 0, specific, 0, 0, 0, descriptor.len() as u8]
        }
        false => vec![rest as u8 + 3, 0, specific, descriptor.len() as u8],
    };
    bytes.extend(descriptor);
    bytes.extend(pages);
    bytes
}

/// The short LBA mode parameter block descriptor (SBC-3 section 6.5.2.2).
fn block_descriptor((blocks, size): (u64, u32)) -> [u8; 8] {
    let [a, b, c, d] = u32::try_from(blocks).unwrap_or(u32::MAX).to_be_bytes();
    let [_, e, f, g] = size.to_be_bytes();
    [a, b, c, d, 0, e, f, g]
}

const CHANGEABLE: u8 = 1;
const DEFAULT: u8 = 2;
const SAVED: u8 = 3;

const ERROR_RECOVERY: u8 = 0x01;
pub(crate) const CACHING: u8 = 0x08;
pub(crate) const CONTROL: u8 = 0x0a;
const AUDIO: u8 = 0x0e;
const CAPABILITIES: u8 = 0x2a;
const ALL: u8 = 0x3f;
const ALL_SUBPAGES: u8 = 0xff;

/// 50 times that of an audio CD.
const SPEED: u16 = 50 * 176;
const BUFFER: u16 = 2048;
