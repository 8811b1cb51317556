//! Requests on contents, attributes and locks of files.

use super::{Lock, Request};
use crate::wire::{Kind, Message, Reader};
use crate::{Change, Changes, Errno, Result, Timestamp, XattrFlags};

impl<'a> Request<'a> {
    pub(super) fn files(message: &Message, r: &mut Reader<'a>) -> Result<Option<Self>> {
        Ok(Some(if message.is(Kind::Tread) {
            Self::Read {
                fid: r.u32()?,
                offset: r.u64()?,
                count: r.u32()?,
            }
        } else if message.is(Kind::Twrite) {
            let (fid, offset, count) = (r.u32()?, r.u64()?, r.u32()?);
            // The data is not here, but must be in the message, all of it and nothing else.
            let size = count.checked_add(WRITE_HEAD);
            match size == Some(message.size) {
                true => Self::Write { fid, offset, count },
                false => return Err(Errno::INVAL),
            }
        } else if message.is(Kind::Tlopen) {
            Self::Lopen {
                fid: r.u32()?,
                flags: r.u32()?,
            }
        } else if message.is(Kind::Tgetattr) {
            let (fid, _mask) = (r.u32()?, r.u64()?);
            Self::GetAttr(fid)
        } else if message.is(Kind::Tsetattr) {
            Self::SetAttr {
                fid: r.u32()?,
                changes: changes(r)?,
            }
        } else if message.is(Kind::Txattrwalk) {
            Self::XattrWalk {
                fid: r.u32()?,
                newfid: r.u32()?,
                name: xattr_name(r.string()?)?,
            }
        } else if message.is(Kind::Txattrcreate) {
            Self::XattrCreate {
                fid: r.u32()?,
                name: xattr_name(r.string()?)?,
                size: r.u64()?,
                flags: xattr_flags(r.u32()?)?,
            }
        } else if message.is(Kind::Tfsync) {
            Self::Fsync {
                fid: r.u32()?,
                data_only: r.u32()? != 0,
            }
        } else if message.is(Kind::Tlock) {
            let (fid, kind, _flags) = (r.u32()?, r.u8()?, r.u32()?);
            let lock = lock(kind, r)?;
            Self::Lock { fid, lock }
        } else if message.is(Kind::Tgetlock) {
            let (fid, kind) = (r.u32()?, r.u8()?);
            let lock = lock(kind, r)?;
            Self::GetLock { fid, lock }
        } else {
            return Ok(None);
        }))
    }
}

fn changes(r: &mut Reader<'_>) -> Result<Changes> {
    let (valid, mode, uid, gid, size) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?, r.u64()?);
    let [accessed, modified] = [time(r)?, time(r)?];
    let has = |bit: u32| valid & bit != 0;
    let change = |set: u32, to: u32, given| match (has(set), has(to)) {
        (true, true) => Some(Change::To(given)),
        (true, false) => Some(Change::Now),
        (false, _) => None,
    };
    Ok(Changes {
        mode: has(1).then_some(mode),
        uid: has(2).then_some(uid),
        gid: has(4).then_some(gid),
        size: has(8).then_some(size),
        accessed: change(0x10, 0x80, accessed),
        modified: change(0x20, 0x100, modified),
    })
}

fn time(r: &mut Reader<'_>) -> Result<Timestamp> {
    Ok(Timestamp {
        seconds: r.u64()?,
        nanoseconds: r.u64()?,
    })
}

fn lock<'a>(kind: u8, r: &mut Reader<'a>) -> Result<Lock<'a>> {
    let lock = Lock {
        kind,
        start: r.u64()?,
        length: r.u64()?,
        process: r.u32()?,
        client: r.string()?,
    };
    let name = lock.client.len() <= CLIENT_MAX;
    let range = lock.start.checked_add(lock.length).is_some();
    match kind <= 2 && name && range {
        true => Ok(lock),
        false => Err(Errno::INVAL),
    }
}

fn xattr_name(name: &[u8]) -> Result<&[u8]> {
    match name {
        _ if name.len() > XATTR_NAME_MAX => Err(Errno::RANGE),
        _ if name.contains(&0) => Err(Errno::INVAL),
        _ => Ok(name),
    }
}

fn xattr_flags(flags: u32) -> Result<XattrFlags> {
    match flags {
        0 => Ok(XattrFlags::Any),
        1 => Ok(XattrFlags::Create),
        2 => Ok(XattrFlags::Replace),
        _ => Err(Errno::INVAL),
    }
}

const WRITE_HEAD: u32 = crate::WRITE_DATA as u32;
/// Bytes of the name of a client that has locks: HOST_NAME_MAX is 64.
const CLIENT_MAX: usize = 255;
const XATTR_NAME_MAX: usize = 255;
