//! GET CONFIGURATION (MMC-6 sections 5 and 6.6).

use crate::Sense;

/// Features from `from` on, as `selection` says, of a drive with a disc of so many blocks, if any.
pub(crate) fn configuration(
    selection: u8,
    from: u16,
    blocks: Option<u64>,
) -> Result<Vec<u8>, Sense> {
    let current = profile(blocks);
    let features = [
        (0x0000, true, profiles(current)),
        // Core: SCSI family, DBEVENT.
        (0x0001, true, vec![0, 0, 0, 1, 1, 0, 0, 0]),
        // Removable medium: a tray that can be ejected and locked.
        (0x0003, true, vec![0x29, 0, 0, 0]),
        // Random readable: blocks of 2048 bytes, one at a time.
        (0x0010, current != 0, vec![0, 0, 8, 0, 0, 1, 0, 0]),
        (0x001e, current == CD_ROM, vec![0; 4]),
        (0x001f, current == DVD_ROM, Vec::new()),
    ];
    let wanted = |&(code, is_current, _): &(u16, bool, Vec<u8>)| match selection {
        0 => code >= from,
        1 => code >= from && is_current,
        _ => code == from,
    };
    if selection > 2 {
        return Err(Sense::INVALID_CDB);
    }
    let list = features.into_iter().filter(wanted).flat_map(encode);
    let list: Vec<u8> = list.collect();
    let mut bytes = (list.len() as u32 + 4).to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(current.to_be_bytes());
    bytes.extend(list);
    Ok(bytes)
}

fn encode((code, current, data): (u16, bool, Vec<u8>)) -> Vec<u8> {
    // Those that do not depend on the disc are persistent.
    let persistent = if code < 0x0010 { 0x02 } else { 0 };
    let mut bytes = code.to_be_bytes().to_vec();
    bytes.extend([persistent | u8::from(current), data.len() as u8]);
    bytes.extend(data);
    bytes
}

fn profiles(current: u16) -> Vec<u8> {
    let entry = |profile: u16| {
        let [high, low] = profile.to_be_bytes();
        [high, low, u8::from(profile == current), 0]
    };
    [entry(DVD_ROM), entry(CD_ROM)].concat()
}

/// What kind of disc it must be, by its size; 0 for none.
fn profile(blocks: Option<u64>) -> u16 {
    match blocks {
        None => 0,
        Some(blocks) if blocks <= LARGEST_CD => CD_ROM,
        Some(_) => DVD_ROM,
    }
}

const CD_ROM: u16 = 0x0008;
const DVD_ROM: u16 = 0x0010;
/// Blocks of 80 minutes.
const LARGEST_CD: u64 = 80 * 60 * 75;
