//! The requests that 9P2000.L has others for, as 9P2000.u has them.

use super::{FidNumber, Request};
use crate::name::Component;
use crate::qid::{S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK};
use crate::stat::Wanted;
use crate::wire::{Kind, Message, Reader};
use crate::{Errno, Result, mode};

/// What a Tcreate makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum New<'a> {
    /// A file with these permissions, opened with flags of `open(2)`.
    File(u32, u32),
    /// A directory with these permissions, opened.
    Directory(u32),
    /// A symbolic link to this.
    Symlink(&'a [u8]),
    /// One more name of the file of a fid.
    Link(FidNumber),
    /// A node of this mode; a device as `st_rdev` has it.
    Node(u32, u64),
}

impl<'a> Request<'a> {
    pub(super) fn unix(message: &Message, r: &mut Reader<'a>) -> Result<Option<Self>> {
        Ok(Some(if message.is(Kind::Topen) {
            Self::Lopen {
                fid: r.u32()?,
                flags: flags(r.u8()?)?,
            }
        } else if message.is(Kind::Tcreate) {
            let (fid, name) = (r.u32()?, Component::new(r.string()?)?);
            let (mode, open, extension) = (r.u32()?, r.u8()?, r.string()?);
            let new = New::parse(mode, open, extension)?;
            Self::Create { fid, name, new }
        } else if message.is(Kind::Tstat) {
            Self::Stat(r.u32()?)
        } else if message.is(Kind::Twstat) {
            let (fid, wanted) = (r.u32()?, Wanted::read(r)?);
            match wanted == Wanted::default() {
                // That is how this dialect says it.
                true => Self::Fsync {
                    fid,
                    data_only: false,
                },
                false => Self::Wstat { fid, wanted },
            }
        } else {
            return Ok(None);
        }))
    }
}

impl<'a> New<'a> {
    fn parse(mode: u32, open: u8, extension: &'a [u8]) -> Result<Self> {
        let permissions = mode::permissions(mode);
        match mode & mode::KIND {
            0 => Ok(Self::File(permissions, flags(open)?)),
            mode::DIRECTORY if flags(open)? & ACCESS != 0 => Err(Errno::ISDIR),
            mode::DIRECTORY => Ok(Self::Directory(permissions)),
            mode::SYMLINK => Ok(Self::Symlink(extension)),
            mode::LINK => number(extension).map(Self::Link),
            mode::DEVICE => {
                let (kind, device) = device(extension)?;
                Ok(Self::Node(kind | permissions, device))
            }
            mode::FIFO => Ok(Self::Node(S_IFIFO | permissions, 0)),
            mode::SOCKET => Ok(Self::Node(S_IFSOCK | permissions, 0)),
            _ => Err(Errno::INVAL),
        }
    }
}

/// The flags of `open(2)` that the mode of a Topen or Tcreate stands for.
fn flags(mode: u8) -> Result<u32> {
    // It would have to be removed with its last fid, which QEMU does not do either.
    if mode & REMOVE_ON_CLOSE != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let access = match mode & 3 {
        EXECUTE => 0,
        access => access.into(),
    };
    let bit = |own: u8, host: u32| if mode & own != 0 { host } else { 0 };
    Ok(access | bit(TRUNCATE, O_TRUNC) | bit(APPEND, O_APPEND))
}

/// A device, `c 5 1`: its kind in `st_mode`, and its number.
fn device(extension: &[u8]) -> Result<(u32, u64)> {
    let mut words = extension.split(|byte| *byte == b' ');
    let kind = match words.next() {
        Some(b"c") => S_IFCHR,
        Some(b"b") => S_IFBLK,
        _ => return Err(Errno::INVAL),
    };
    let mut next = || words.next().ok_or(Errno::INVAL).and_then(number);
    let device = rustix::fs::makedev(next()?, next()?);
    match words.next() {
        None => Ok((kind, device)),
        Some(_) => Err(Errno::INVAL),
    }
}

/// A decimal number; Linux ends one with a line feed.
fn number(text: &[u8]) -> Result<u32> {
    let text = str::from_utf8(text.trim_ascii_end()).map_err(|_| Errno::INVAL)?;
    text.parse().map_err(|_| Errno::INVAL)
}

const EXECUTE: u8 = 3;
const TRUNCATE: u8 = 0x10;
const REMOVE_ON_CLOSE: u8 = 0x40;
const APPEND: u8 = 0x80;
const ACCESS: u32 = 0o3;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_opening_are_flags() {
        assert_eq!(flags(0), Ok(0));
        assert_eq!(flags(3), Ok(0), "to execute is to read");
        assert_eq!(flags(0x91), Ok(0o3001));
        assert_eq!(flags(0x22), Ok(2), "closing on exec is the client's");
        assert_eq!(flags(0x40), Err(Errno::OPNOTSUPP));
    }

    #[test]
    fn extensions_say_what_is_made() {
        let new = |mode, extension| New::parse(mode | 0o640, 0, extension);
        assert_eq!(new(0, b"ignored"), Ok(New::File(0o640, 0)));
        assert_eq!(new(mode::SYMLINK, b"to"), Ok(New::Symlink(b"to")));
        assert_eq!(new(mode::LINK, b"17\n"), Ok(New::Link(17)));
        let null = New::Node(S_IFCHR | 0o640, rustix::fs::makedev(1, 3));
        assert_eq!(new(mode::DEVICE, b"c 1 3"), Ok(null));
        assert_eq!(New::parse(mode::DIRECTORY, 1, b""), Err(Errno::ISDIR));
        for (mode, bad) in [
            (mode::DEVICE, &b""[..]),
            (mode::DEVICE, b"c 1"),
            (mode::DEVICE, b"d 1 3"),
            (mode::DEVICE, b"c 1 3 5"),
            (mode::DEVICE, b"c 1 4294967296"),
            (mode::DEVICE, b"c -1 3"),
            (mode::LINK, b""),
            (mode::LINK, b"\xff"),
            (mode::LINK | mode::FIFO, b"1"),
        ] {
            assert_eq!(new(mode, bad), Err(Errno::INVAL), "{bad:?}");
        }
    }
}
