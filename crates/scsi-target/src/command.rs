//! Commands, as their descriptor blocks say.

use crate::Sense;
use crate::cdb::Cdb;
use crate::opcode;

/// A command that a logical unit knows. A `room` is an ALLOCATION LENGTH, a `len` a PARAMETER LIST
/// LENGTH, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    TestUnitReady,
    RequestSense {
        descriptor: bool,
        room: u32,
    },
    Inquiry {
        page: Option<u8>,
        room: u32,
    },
    ReportLuns {
        select: u8,
        room: u32,
    },
    ModeSense(ModeSense),
    ModeSelect {
        long: bool,
        len: u32,
    },
    StartStop(Motion),
    PreventAllow {
        prevent: bool,
    },
    ReadCapacity10,
    ReadCapacity16 {
        room: u32,
    },
    LbaStatus {
        lba: u64,
        room: u32,
    },
    PersistentIn {
        action: u8,
        room: u32,
    },
    PersistentOut {
        action: u8,
        scope_and_type: u8,
        len: u32,
    },
    SupportedOpcodes(Opcodes),
    SupportedTaskManagement {
        room: u32,
    },
    ReadToc {
        msf: bool,
        format: u8,
        track: u8,
        room: u32,
    },
    Configuration {
        selection: u8,
        from: u16,
        room: u32,
    },
    EventStatus {
        polled: bool,
        classes: u8,
        room: u32,
    },
    DiscInformation {
        kind: u8,
        room: u32,
    },
    MechanismStatus {
        room: u32,
    },
    Seek {
        lba: u64,
    },
    Medium(Operation),
}

/// A command that concerns the blocks of a medium, for [`Path::start`](crate::Path::start).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub(crate) Operation);

/// What is done to the blocks of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read(Extent),
    Write {
        extent: Extent,
        /// FUA, or a verification afterwards.
        stable: bool,
    },
    Verify {
        extent: Extent,
        /// With the data of the initiator.
        compare: bool,
    },
    Synchronize(Extent),
    Unmap {
        len: u32,
    },
    WriteSame {
        extent: Extent,
        unmap: bool,
        /// Without data, it is zeroes.
        data: bool,
    },
    CompareAndWrite {
        extent: Extent,
        stable: bool,
    },
}

/// What START STOP UNIT moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    Start,
    Stop,
    Load,
    Eject,
}

/// Blocks of a medium: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
}

/// MODE SENSE (6) and (10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModeSense {
    pub(crate) long: bool,
    /// DBD: no block descriptors.
    pub(crate) bare: bool,
    /// PC: current, changeable, default, saved.
    pub(crate) control: u8,
    pub(crate) page: u8,
    pub(crate) subpage: u8,
    pub(crate) room: u32,
}

/// REPORT SUPPORTED OPERATION CODES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opcodes {
    /// RCTD: with command timeouts descriptors.
    pub(crate) timeouts: bool,
    pub(crate) options: u8,
    pub(crate) code: u8,
    pub(crate) action: u16,
    pub(crate) room: u32,
}

impl Command {
    /// Parses `cdb` for a device of this type.
    #[inline]
    pub(crate) fn parse(cdb: &Cdb, cdrom: bool) -> Result<Self, Sense> {
        let opcode = opcode::find(cdb, cdrom)?;
        // NACA asks for auto contingent allegiance, which INQUIRY says there is none of.
        if cdb.control() & NACA != 0 {
            return Err(Sense::INVALID_CDB);
        }
        (opcode.parse)(cdb)
    }

    /// Whether it is done though a unit attention condition is pending (SPC-4 section 5.14).
    pub(crate) fn ignores_attention(&self) -> bool {
        matches!(
            self,
            Self::Inquiry { .. } | Self::ReportLuns { .. } | Self::RequestSense { .. }
        )
    }
}

/// Bytes 1 to the last but one of the transfer commands (SBC-3 section 5), by length.
pub(crate) mod extent {
    use super::{Cdb, Extent, Sense};

    pub(crate) fn six(cdb: &Cdb) -> Extent {
        let blocks = match cdb.u8(4) {
            0 => 256,
            blocks => blocks.into(),
        };
        let lba = u64::from(cdb.u24(1) & 0x1f_ffff);
        Extent { lba, blocks }
    }

    pub(crate) fn ten(cdb: &Cdb) -> Result<Extent, Sense> {
        let (lba, blocks) = (cdb.u32(2).into(), cdb.u16(7).into());
        unprotected(cdb, Extent { lba, blocks })
    }

    pub(crate) fn twelve(cdb: &Cdb) -> Result<Extent, Sense> {
        let (lba, blocks) = (cdb.u32(2).into(), cdb.u32(6));
        unprotected(cdb, Extent { lba, blocks })
    }

    pub(crate) fn sixteen(cdb: &Cdb) -> Result<Extent, Sense> {
        let (lba, blocks) = (cdb.u64(2), cdb.u32(10));
        unprotected(cdb, Extent { lba, blocks })
    }

    /// COMPARE AND WRITE has a block count of one byte.
    pub(crate) fn compare(cdb: &Cdb) -> Result<Extent, Sense> {
        let (lba, blocks) = (cdb.u64(2), cdb.u8(13).into());
        unprotected(cdb, Extent { lba, blocks })
    }

    /// RDPROTECT, WRPROTECT and VRPROTECT: no medium here has protection information.
    fn unprotected(cdb: &Cdb, extent: Extent) -> Result<Extent, Sense> {
        match cdb.has(1, 0xe0) {
            true => Err(Sense::INVALID_CDB),
            false => Ok(extent),
        }
    }
}

const NACA: u8 = 0x04;
