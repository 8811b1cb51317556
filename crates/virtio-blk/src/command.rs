//! What a request header says (section 5.2.6).

use guest_io::FileRange;
use guest_io::block::ZoneAction;
use virtio_device::ByteOrder;
use virtio_device::virtio_bindings::virtio_blk as abi;

use crate::limits::{Limits, RangeLimit, SECTOR};

/// The answer to a request: its status byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// VIRTIO_BLK_S_OK.
    Ok = abi::VIRTIO_BLK_S_OK as u8,
    /// VIRTIO_BLK_S_IOERR: device or driver error.
    IoErr = abi::VIRTIO_BLK_S_IOERR as u8,
    /// VIRTIO_BLK_S_UNSUPP.
    Unsupp = abi::VIRTIO_BLK_S_UNSUPP as u8,
    /// VIRTIO_BLK_S_ZONE_INVALID_CMD: not to this zone, or not in its state.
    ZoneInvalid = abi::VIRTIO_BLK_S_ZONE_INVALID_CMD as u8,
    /// VIRTIO_BLK_S_ZONE_UNALIGNED_WP: a write elsewhere than at the write pointer.
    ZoneUnaligned = abi::VIRTIO_BLK_S_ZONE_UNALIGNED_WP as u8,
    /// VIRTIO_BLK_S_ZONE_OPEN_RESOURCE: too many open zones.
    ZoneOpenResource = abi::VIRTIO_BLK_S_ZONE_OPEN_RESOURCE as u8,
    /// VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE: too many active zones.
    ZoneActiveResource = abi::VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE as u8,
}

/// A request, apart from its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// VIRTIO_BLK_T_IN.
    Read { sector: u64 },
    /// VIRTIO_BLK_T_OUT.
    Write { sector: u64 },
    /// VIRTIO_BLK_T_FLUSH.
    Flush,
    /// VIRTIO_BLK_T_GET_ID.
    Identify,
    /// VIRTIO_BLK_T_GET_LIFETIME.
    Lifetime([u16; 3]),
    /// VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES and VIRTIO_BLK_T_SECURE_ERASE.
    Ranges(Operation, RangeLimit),
    /// VIRTIO_BLK_T_ZONE_APPEND.
    Append { sector: u64 },
    /// VIRTIO_BLK_T_ZONE_REPORT.
    Report { sector: u64 },
    /// VIRTIO_BLK_T_ZONE_OPEN, CLOSE, FINISH and RESET.
    Zone(ZoneAction, u64),
    /// VIRTIO_BLK_T_ZONE_RESET_ALL.
    ResetZones,
}

/// What is done to a range of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Discard,
    WriteZeroes,
    SecureErase,
}

/// A range of such a request, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) range: FileRange,
    pub(crate) may_unmap: bool,
}

impl Command {
    /// Parses a header. Whether the device can do it at all is decided here, whether it fits the
    /// disk where its data is known.
    #[inline]
    pub(crate) fn parse(
        header: [u8; HEADER as usize],
        order: ByteOrder,
        limits: &Limits,
    ) -> Result<Self, Status> {
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = order.u64(sector);
        match order.u32([t0, t1, t2, t3]) {
            abi::VIRTIO_BLK_T_IN => Ok(Self::Read { sector }),
            abi::VIRTIO_BLK_T_OUT => limits.writable().map(|()| Self::Write { sector }),
            abi::VIRTIO_BLK_T_FLUSH => Ok(Self::Flush),
            abi::VIRTIO_BLK_T_GET_ID => Ok(Self::Identify),
            GET_LIFETIME => limits.lifetime.map(Self::Lifetime).ok_or(Status::Unsupp),
            abi::VIRTIO_BLK_T_DISCARD => limits.ranges(Operation::Discard, limits.discard),
            abi::VIRTIO_BLK_T_WRITE_ZEROES => {
                limits.ranges(Operation::WriteZeroes, limits.write_zeroes)
            }
            abi::VIRTIO_BLK_T_SECURE_ERASE => {
                limits.ranges(Operation::SecureErase, limits.secure_erase)
            }
            _ if limits.zones.is_none() => Err(Status::Unsupp),
            kind => Self::parse_zoned(kind, sector, limits),
        }
    }

    /// The same of types that only zoned disks have.
    fn parse_zoned(kind: u32, sector: u64, limits: &Limits) -> Result<Self, Status> {
        let act = |action| Ok(Self::Zone(action, sector));
        let command = match kind {
            abi::VIRTIO_BLK_T_ZONE_REPORT => return Ok(Self::Report { sector }),
            abi::VIRTIO_BLK_T_ZONE_APPEND => Ok(Self::Append { sector }),
            abi::VIRTIO_BLK_T_ZONE_OPEN => act(ZoneAction::Open),
            abi::VIRTIO_BLK_T_ZONE_CLOSE => act(ZoneAction::Close),
            abi::VIRTIO_BLK_T_ZONE_FINISH => act(ZoneAction::Finish),
            abi::VIRTIO_BLK_T_ZONE_RESET => act(ZoneAction::Reset),
            abi::VIRTIO_BLK_T_ZONE_RESET_ALL => Ok(Self::ResetZones),
            _ => Err(Status::Unsupp),
        }?;
        limits.writable().map(|()| command)
    }
}

impl Range {
    /// Parses one `virtio_blk_discard_write_zeroes` (section 5.2.6).
    pub(crate) fn parse(
        segment: [u8; SEGMENT as usize],
        order: ByteOrder,
        operation: Operation,
        limit: RangeLimit,
        limits: &Limits,
    ) -> Result<Self, Status> {
        let [sector @ .., n0, n1, n2, n3, f0, f1, f2, f3] = segment;
        let sectors = order.u32([n0, n1, n2, n3]);
        let flags = order.u32([f0, f1, f2, f3]);
        // Section 5.2.6.2: unknown flags, and unmap where nothing is zeroed.
        if flags & !operation.flags() != 0 {
            return Err(Status::Unsupp);
        }
        if sectors > limit.sectors {
            return Err(Status::IoErr);
        }
        let len = u64::from(sectors) * SECTOR;
        Ok(Self {
            range: limits.range(order.u64(sector), len)?,
            may_unmap: flags & abi::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0,
        })
    }
}

impl Operation {
    /// The flags that a range may have.
    fn flags(self) -> u32 {
        match self {
            Self::Discard | Self::SecureErase => 0,
            Self::WriteZeroes => abi::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
        }
    }
}

impl Limits {
    /// Whatever was negotiated: a driver may not know VIRTIO_BLK_F_RO (section 5.2.6.2).
    fn writable(&self) -> Result<(), Status> {
        if self.read_only {
            Err(Status::IoErr)
        } else {
            Ok(())
        }
    }

    fn ranges(&self, operation: Operation, limit: Option<RangeLimit>) -> Result<Command, Status> {
        self.writable()?;
        let limit = limit.ok_or(Status::Unsupp)?;
        Ok(Command::Ranges(operation, limit))
    }
}

/// Bytes of a request header.
pub(crate) const HEADER: u32 = 16;
/// Bytes of a range in a discard or write zeroes request.
pub(crate) const SEGMENT: u32 = 16;
/// VIRTIO_BLK_T_GET_LIFETIME, which virtio-bindings does not name.
const GET_LIFETIME: u32 = 10;
