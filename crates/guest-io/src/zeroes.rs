//! Zeroing a range of a file, in the shortest way that the host knows.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;

use crate::disk::{Disk, FileRange, PUNCH_HOLE, is_unsupported};

/// A way to make a range read as zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Gives the storage back.
    PunchHole,
    /// Keeps the storage but not its contents.
    ZeroRange,
    /// Writes [`ZEROES`].
    Write,
}

impl Method {
    /// The way to try first.
    pub(crate) fn first(may_unmap: bool) -> Self {
        if may_unmap {
            Self::PunchHole
        } else {
            Self::ZeroRange
        }
    }

    /// The way to try when the host does not have this one.
    pub(crate) fn fallback(self) -> Option<Self> {
        match self {
            Self::PunchHole => Some(Self::ZeroRange),
            Self::ZeroRange => Some(Self::Write),
            Self::Write => None,
        }
    }

    /// The mode of `fallocate(2)`, if it is one.
    pub(crate) fn fallocate(self) -> Option<FallocateFlags> {
        match self {
            Self::PunchHole => Some(PUNCH_HOLE),
            Self::ZeroRange => Some(FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE)),
            Self::Write => None,
        }
    }
}

/// Makes `range` of `disk` read as zeroes.
pub(crate) fn write(disk: &Disk, range: FileRange, may_unmap: bool) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let mut method = Method::first(may_unmap);
    loop {
        match (write_by(method, disk, range), method.fallback()) {
            (Err(error), Some(next)) if is_unsupported(&error) => method = next,
            (result, _) => return result,
        }
    }
}

/// Writes zeroes over `range` of `disk`.
pub(crate) fn overwrite(disk: &Disk, range: FileRange) -> io::Result<()> {
    write_by(Method::Write, disk, range)
}

/// The zeroes to write next for what is left of a range.
pub(crate) fn piece(range: FileRange) -> &'static [u8] {
    let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
    ZEROES.0.get(..len).unwrap_or(&ZEROES.0)
}

fn write_by(method: Method, disk: &Disk, mut range: FileRange) -> io::Result<()> {
    if let Some(mode) = method.fallocate() {
        return disk.fallocate(mode, range);
    }
    while !range.is_empty() {
        match disk.file().write_at(piece(range), range.offset()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => range = range.skip(count as u64),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Aligned for `O_DIRECT`.
#[repr(align(4096))]
struct Zeroes([u8; 64 << 10]);

static ZEROES: Zeroes = Zeroes([0; 64 << 10]);
