//! The table of commands: what is parsed, and what REPORT SUPPORTED OPERATION CODES tells.

use crate::Sense;
use crate::cdb::Cdb;
use crate::command::{Command, Extent, ModeSense, Motion, Opcodes, Operation, extent};

/// One command, or one service action of it.
pub(crate) struct Opcode {
    pub(crate) code: u8,
    pub(crate) action: Option<u8>,
    pub(crate) devices: Devices,
    /// CDB USAGE DATA: as long as the descriptor block; bits that mean something are set.
    pub(crate) usage: &'static [u8],
    pub(crate) parse: fn(&Cdb) -> Result<Command, Sense>,
}

/// Which devices know a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    All,
    Disks,
    Cdroms,
}

impl Devices {
    pub(crate) fn include(self, cdrom: bool) -> bool {
        match self {
            Self::All => true,
            Self::Disks => !cdrom,
            Self::Cdroms => cdrom,
        }
    }
}

/// The row of `cdb`.
#[inline]
pub(crate) fn find(cdb: &Cdb, cdrom: bool) -> Result<&'static Opcode, Sense> {
    let first = usize::from(FIRST[usize::from(cdb.opcode())]);
    let rows = OPCODES.get(first..).unwrap_or_default();
    let mut rows = rows
        .iter()
        .take_while(|row| row.code == cdb.opcode())
        .filter(|row| row.devices.include(cdrom))
        .peekable();
    if rows.peek().is_none() {
        return Err(Sense::INVALID_OPCODE);
    }
    let action = cdb.u8(1) & 0x1f;
    rows.find(|row| row.action.is_none_or(|own| own == action))
        .ok_or(Sense::INVALID_CDB)
}

const fn row(
    code: u8,
    devices: Devices,
    usage: &'static [u8],
    parse: fn(&Cdb) -> Result<Command, Sense>,
) -> Opcode {
    Opcode {
        code,
        action: None,
        devices,
        usage,
        parse,
    }
}

const fn action(
    code: u8,
    action: u8,
    devices: Devices,
    usage: &'static [u8],
    parse: fn(&Cdb) -> Result<Command, Sense>,
) -> Opcode {
    Opcode {
        code,
        action: Some(action),
        devices,
        usage,
        parse,
    }
}

/// Sorted by operation code.
#[rustfmt::skip]
pub(crate) const OPCODES: &[Opcode] = &[
    // TEST UNIT READY
    row(0x00, Devices::All, &[0x00, 0, 0, 0, 0, 0x04], |_| Ok(Command::TestUnitReady)),
    // REQUEST SENSE
    row(0x03, Devices::All, &[0x03, 0x01, 0, 0, 0xff, 0x04], |cdb| Ok(Command::RequestSense {
        descriptor: cdb.has(1, 0x01), room: cdb.u8(4).into(),
    })),
    // READ (6)
    row(0x08, Devices::All, &[0x08, 0x1f, 0xff, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Read(extent::six(cdb))))
    }),
    // WRITE (6)
    row(0x0a, Devices::All, &[0x0a, 0x1f, 0xff, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::six(cdb), stable: false }))
    }),
    // INQUIRY
    row(0x12, Devices::All, &[0x12, 0x01, 0xff, 0xff, 0xff, 0x04], inquiry),
    // MODE SELECT (6)
    row(0x15, Devices::All, &[0x15, 0x11, 0, 0, 0xff, 0x04], |cdb| mode_select(cdb, cdb.u8(4).into(), false)),
    // MODE SENSE (6)
    row(0x1a, Devices::All, &[0x1a, 0x08, 0xff, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::ModeSense(mode_sense(cdb, cdb.u8(4).into(), false)))
    }),
    // START STOP UNIT
    row(0x1b, Devices::All, &[0x1b, 0x01, 0, 0, 0xf3, 0x04], start_stop),
    // PREVENT ALLOW MEDIUM REMOVAL
    row(0x1e, Devices::All, &[0x1e, 0, 0, 0, 0x03, 0x04], |cdb| {
        Ok(Command::PreventAllow { prevent: cdb.has(4, 0x01) })
    }),
    // READ CAPACITY (10)
    row(0x25, Devices::All, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0x04], |cdb| match cdb.u32(2) {
        0 => Ok(Command::ReadCapacity10),
        _ => Err(Sense::INVALID_CDB),
    }),
    // READ (10)
    row(0x28, Devices::All, &[0x28, 0x18, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Read(extent::ten(cdb)?)))
    }),
    // WRITE (10)
    row(0x2a, Devices::All, &[0x2a, 0x18, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::ten(cdb)?, stable: cdb.has(1, FUA) }))
    }),
    // SEEK (10)
    row(0x2b, Devices::Cdroms, &[0x2b, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x04], |cdb| {
        Ok(Command::Seek { lba: cdb.u32(2).into() })
    }),
    // WRITE AND VERIFY (10)
    row(0x2e, Devices::All, &[0x2e, 0x10, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::ten(cdb)?, stable: true }))
    }),
    // VERIFY (10)
    row(0x2f, Devices::All, &[0x2f, 0x16, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04], |cdb| {
        verify(cdb, extent::ten(cdb)?)
    }),
    // SYNCHRONIZE CACHE (10)
    row(0x35, Devices::All, &[0x35, 0x06, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Synchronize(extent::ten(cdb)?)))
    }),
    // WRITE SAME (10), with NDOB as in QEMU; the standard has that in WRITE SAME (16) only.
    row(0x41, Devices::Disks, &[0x41, 0x09, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04], |cdb| {
        write_same(cdb, extent::ten(cdb)?)
    }),
    // UNMAP
    row(0x42, Devices::Disks, &[0x42, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], |cdb| match cdb.has(1, 0x01) {
        // ANCHOR
        true => Err(Sense::INVALID_CDB),
        false => Ok(Command::Medium(Operation::Unmap { len: cdb.u16(7).into() })),
    }),
    // READ TOC/PMA/ATIP
    row(0x43, Devices::Cdroms, &[0x43, 0x02, 0x0f, 0, 0, 0, 0xff, 0xff, 0xff, 0xc4], |cdb| Ok(Command::ReadToc {
        msf: cdb.has(1, 0x02),
        // Drives of old have the format in the upper bits of CONTROL.
        format: match cdb.u8(2) & 0x0f {
            0 => cdb.u8(9) >> 6,
            format => format,
        },
        track: cdb.u8(6),
        room: cdb.u16(7).into(),
    })),
    // GET CONFIGURATION
    row(0x46, Devices::Cdroms, &[0x46, 0x03, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0x04], |cdb| Ok(Command::Configuration {
        selection: cdb.u8(1) & 0x03, from: cdb.u16(2), room: cdb.u16(7).into(),
    })),
    // GET EVENT STATUS NOTIFICATION
    row(0x4a, Devices::Cdroms, &[0x4a, 0x01, 0, 0, 0xff, 0, 0, 0xff, 0xff, 0x04], |cdb| Ok(Command::EventStatus {
        polled: cdb.has(1, 0x01), classes: cdb.u8(4), room: cdb.u16(7).into(),
    })),
    // READ DISC INFORMATION
    row(0x51, Devices::Cdroms, &[0x51, 0x07, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], |cdb| Ok(Command::DiscInformation {
        kind: cdb.u8(1) & 0x07, room: cdb.u16(7).into(),
    })),
    // MODE SELECT (10)
    row(0x55, Devices::All, &[0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], |cdb| {
        mode_select(cdb, cdb.u16(7).into(), true)
    }),
    // MODE SENSE (10)
    row(0x5a, Devices::All, &[0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0x04], |cdb| {
        Ok(Command::ModeSense(mode_sense(cdb, cdb.u16(7).into(), true)))
    }),
    // PERSISTENT RESERVE IN: READ KEYS, READ RESERVATION, REPORT CAPABILITIES, READ FULL STATUS
    action(0x5e, 0x00, Devices::Disks, &[0x5e, 0x00, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], persistent_in),
    action(0x5e, 0x01, Devices::Disks, &[0x5e, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], persistent_in),
    action(0x5e, 0x02, Devices::Disks, &[0x5e, 0x02, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], persistent_in),
    action(0x5e, 0x03, Devices::Disks, &[0x5e, 0x03, 0, 0, 0, 0, 0, 0xff, 0xff, 0x04], persistent_in),
    // PERSISTENT RESERVE OUT: REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT AND ABORT,
    // REGISTER AND IGNORE EXISTING KEY
    action(0x5f, 0x00, Devices::Disks, &[0x5f, 0x00, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    action(0x5f, 0x01, Devices::Disks, &[0x5f, 0x01, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    action(0x5f, 0x02, Devices::Disks, &[0x5f, 0x02, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    action(0x5f, 0x03, Devices::Disks, &[0x5f, 0x03, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    action(0x5f, 0x04, Devices::Disks, &[0x5f, 0x04, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    action(0x5f, 0x05, Devices::Disks, &[0x5f, 0x05, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    action(0x5f, 0x06, Devices::Disks, &[0x5f, 0x06, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x04], persistent_out),
    // READ (16)
    row(0x88, Devices::Disks, &[0x88, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Read(extent::sixteen(cdb)?)))
    }),
    // COMPARE AND WRITE
    row(0x89, Devices::Disks, &[0x89, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::CompareAndWrite { extent: extent::compare(cdb)?, stable: cdb.has(1, FUA) }))
    }),
    // WRITE (16)
    row(0x8a, Devices::Disks, &[0x8a, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::sixteen(cdb)?, stable: cdb.has(1, FUA) }))
    }),
    // WRITE AND VERIFY (16)
    row(0x8e, Devices::Disks, &[0x8e, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::sixteen(cdb)?, stable: true }))
    }),
    // VERIFY (16)
    row(0x8f, Devices::Disks, &[0x8f, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        verify(cdb, extent::sixteen(cdb)?)
    }),
    // SYNCHRONIZE CACHE (16)
    row(0x91, Devices::Disks, &[0x91, 0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Synchronize(extent::sixteen(cdb)?)))
    }),
    // WRITE SAME (16)
    row(0x93, Devices::Disks, &[0x93, 0x09, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        write_same(cdb, extent::sixteen(cdb)?)
    }),
    // SERVICE ACTION IN (16): READ CAPACITY (16), GET LBA STATUS
    action(0x9e, 0x10, Devices::Disks, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| match cdb.u64(2) {
        0 => Ok(Command::ReadCapacity16 { room: cdb.u32(10) }),
        _ => Err(Sense::INVALID_CDB),
    }),
    action(0x9e, 0x12, Devices::Disks, &[0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::LbaStatus { lba: cdb.u64(2), room: cdb.u32(10) })
    }),
    // REPORT LUNS
    row(0xa0, Devices::All, &[0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| Ok(Command::ReportLuns {
        select: cdb.u8(2), room: cdb.u32(6),
    })),
    // MAINTENANCE IN: REPORT SUPPORTED OPERATION CODES, REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
    action(0xa3, 0x0c, Devices::All, &[0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::SupportedOpcodes(Opcodes {
            timeouts: cdb.has(2, 0x80), options: cdb.u8(2) & 0x07, code: cdb.u8(3), action: cdb.u16(4), room: cdb.u32(6),
        }))
    }),
    action(0xa3, 0x0d, Devices::All, &[0xa3, 0x0d, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::SupportedTaskManagement { room: cdb.u32(6) })
    }),
    // READ (12)
    row(0xa8, Devices::All, &[0xa8, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Read(extent::twelve(cdb)?)))
    }),
    // WRITE (12)
    row(0xaa, Devices::All, &[0xaa, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::twelve(cdb)?, stable: cdb.has(1, FUA) }))
    }),
    // WRITE AND VERIFY (12)
    row(0xae, Devices::All, &[0xae, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::Medium(Operation::Write { extent: extent::twelve(cdb)?, stable: true }))
    }),
    // VERIFY (12)
    row(0xaf, Devices::All, &[0xaf, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x04], |cdb| {
        verify(cdb, extent::twelve(cdb)?)
    }),
    // MECHANISM STATUS
    row(0xbd, Devices::Cdroms, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0x04], |cdb| {
        Ok(Command::MechanismStatus { room: cdb.u16(8).into() })
    }),
];

fn inquiry(cdb: &Cdb) -> Result<Command, Sense> {
    let (vital, page) = (cdb.has(1, 0x01), cdb.u8(2));
    if cdb.has(1, 0x02) || (!vital && page != 0) {
        return Err(Sense::INVALID_CDB);
    }
    Ok(Command::Inquiry {
        page: vital.then_some(page),
        room: cdb.u16(3).into(),
    })
}

fn mode_sense(cdb: &Cdb, room: u32, long: bool) -> ModeSense {
    ModeSense {
        long,
        bare: cdb.has(1, 0x08),
        control: cdb.u8(2) >> 6,
        page: cdb.u8(2) & 0x3f,
        subpage: cdb.u8(3),
        room,
    }
}

/// PF must be set: the pages are the standard's. SP must not: nothing is saved.
fn mode_select(cdb: &Cdb, len: u32, long: bool) -> Result<Command, Sense> {
    match cdb.u8(1) & 0x11 {
        0x10 => Ok(Command::ModeSelect { long, len }),
        _ => Err(Sense::INVALID_CDB),
    }
}

/// POWER CONDITION other than START_VALID changes nothing: there is one power condition.
fn start_stop(cdb: &Cdb) -> Result<Command, Sense> {
    let powered = cdb.has(4, 0xf0);
    let (start, load_or_eject) = (cdb.has(4, 0x01), cdb.has(4, 0x02));
    Ok(Command::StartStop(match (start, load_or_eject) {
        _ if powered => Motion::Start,
        (true, false) => Motion::Start,
        (false, false) => Motion::Stop,
        (true, true) => Motion::Load,
        (false, true) => Motion::Eject,
    }))
}

fn verify(cdb: &Cdb, extent: Extent) -> Result<Command, Sense> {
    let compare = match cdb.u8(1) >> 1 & 0x03 {
        0 => false,
        1 => true,
        _ => return Err(Sense::INVALID_CDB),
    };
    Ok(Command::Medium(Operation::Verify { extent, compare }))
}

/// ANCHOR must not be set, and no block count stands for all (WSNZ).
fn write_same(cdb: &Cdb, extent: Extent) -> Result<Command, Sense> {
    if cdb.has(1, 0x10) || extent.blocks == 0 {
        return Err(Sense::INVALID_CDB);
    }
    Ok(Command::Medium(Operation::WriteSame {
        extent,
        unmap: cdb.has(1, 0x08),
        data: !cdb.has(1, NDOB),
    }))
}

fn persistent_in(cdb: &Cdb) -> Result<Command, Sense> {
    Ok(Command::PersistentIn {
        action: cdb.u8(1) & 0x1f,
        room: cdb.u16(7).into(),
    })
}

fn persistent_out(cdb: &Cdb) -> Result<Command, Sense> {
    Ok(Command::PersistentOut {
        action: cdb.u8(1) & 0x1f,
        scope_and_type: cdb.u8(2),
        len: cdb.u32(5),
    })
}

/// Where the rows of an operation code begin.
const fn first_rows() -> [u8; 256] {
    let mut first = [u8::MAX; 256];
    let mut row = OPCODES.len();
    while row > 0 {
        row -= 1;
        first[OPCODES[row].code as usize] = row as u8;
    }
    first
}

static FIRST: [u8; 256] = first_rows();
const FUA: u8 = 0x08;
const NDOB: u8 = 0x01;
