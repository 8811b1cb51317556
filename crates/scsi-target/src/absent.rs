//! A unit that is not there, of a target that is.

use guest_io::MemoryGuard;

use crate::command::Command;
use crate::inquiry::no_unit;
use crate::reply::reply;
use crate::{Buffers, Cdb, Ending, Lun, Sense};

/// Does `cdb` for a logical unit that its target does not have: the target answers INQUIRY,
/// REPORT LUNS and REQUEST SENSE itself, and refuses everything else (SPC-4 section 5.11). `luns`
/// are those that it has.
pub fn absent<G: MemoryGuard>(cdb: &Cdb, buffers: &mut impl Buffers<G>, luns: &[Lun]) -> Ending {
    match Command::parse(cdb, false) {
        Ok(Command::Inquiry { page: None, room }) => reply(buffers, &no_unit(), room),
        Ok(Command::ReportLuns { select, room }) => report_luns(select, room, buffers, luns),
        Ok(Command::RequestSense { descriptor, room }) => {
            let sense = match descriptor {
                true => Sense::NO_UNIT.descriptor(),
                false => Sense::NO_UNIT.fixed(),
            };
            reply(buffers, sense.as_ref(), room)
        }
        _ => Sense::NO_UNIT.into(),
    }
}

/// REPORT LUNS (SPC-4 section 6.33). LUN 0 is reported in any case.
pub(crate) fn report_luns<G: MemoryGuard>(
    select: u8,
    room: u32,
    buffers: &mut impl Buffers<G>,
    luns: &[Lun],
) -> Ending {
    // 1 asks for well known units, of which there are none.
    let all = match select {
        0 | 2 => true,
        1 => false,
        _ => return Sense::INVALID_CDB.into(),
    };
    if room < 16 {
        return Sense::INVALID_CDB.into();
    }
    let zero = Lun::default();
    let others = luns.iter().copied().filter(|&lun| lun != zero);
    let list = std::iter::once(zero).chain(others).filter(|_| all);
    let list: Vec<u8> = list.flat_map(Lun::encode).collect();
    let mut bytes = (list.len() as u32).to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(list);
    reply(buffers, &bytes, room)
}
