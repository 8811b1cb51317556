//! Requests, parsed as a whole before any of it is acted on.

use crate::name::Component;
use crate::wire::{Kind, Message, Reader};
use crate::{Change, Changes, Errno, Result, Timestamp, XattrFlags};

/// A fid: the client's name for a file.
pub(crate) type FidNumber = u32;

/// A request.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Version {
        msize: u32,
        version: &'a [u8],
    },
    Attach {
        fid: FidNumber,
        uid: u32,
    },
    /// Nothing is in flight by the time that one comes here.
    Flush,
    Walk {
        fid: FidNumber,
        newfid: FidNumber,
        names: Vec<Component<'a>>,
    },
    Read {
        fid: FidNumber,
        offset: u64,
        count: u32,
    },
    Write {
        fid: FidNumber,
        offset: u64,
        count: u32,
    },
    Clunk(FidNumber),
    Remove(FidNumber),
    Statfs(FidNumber),
    Lopen {
        fid: FidNumber,
        flags: u32,
    },
    Lcreate {
        fid: FidNumber,
        name: Component<'a>,
        flags: u32,
        mode: u32,
        gid: u32,
    },
    Symlink {
        directory: FidNumber,
        name: Component<'a>,
        target: &'a [u8],
        gid: u32,
    },
    Mknod {
        directory: FidNumber,
        name: Component<'a>,
        mode: u32,
        major: u32,
        minor: u32,
        gid: u32,
    },
    Mkdir {
        directory: FidNumber,
        name: Component<'a>,
        mode: u32,
        gid: u32,
    },
    Rename {
        fid: FidNumber,
        directory: FidNumber,
        name: Component<'a>,
    },
    RenameAt {
        from: (FidNumber, Component<'a>),
        to: (FidNumber, Component<'a>),
    },
    Link {
        directory: FidNumber,
        fid: FidNumber,
        name: Component<'a>,
    },
    UnlinkAt {
        directory: FidNumber,
        name: Component<'a>,
        flags: u32,
    },
    ReadLink(FidNumber),
    GetAttr(FidNumber),
    SetAttr {
        fid: FidNumber,
        changes: Changes,
    },
    XattrWalk {
        fid: FidNumber,
        newfid: FidNumber,
        name: &'a [u8],
    },
    XattrCreate {
        fid: FidNumber,
        name: &'a [u8],
        size: u64,
        flags: XattrFlags,
    },
    ReadDir {
        fid: FidNumber,
        offset: u64,
        count: u32,
    },
    Fsync {
        fid: FidNumber,
        data_only: bool,
    },
    Lock {
        fid: FidNumber,
        lock: Lock<'a>,
    },
    GetLock {
        fid: FidNumber,
        lock: Lock<'a>,
    },
}

/// A record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lock<'a> {
    /// One of the `F_` values: 0 read, 1 write, 2 none.
    pub(crate) kind: u8,
    pub(crate) start: u64,
    /// 0: to the end.
    pub(crate) length: u64,
    pub(crate) process: u32,
    pub(crate) client: &'a [u8],
}

impl<'a> Request<'a> {
    /// Parses the head of a message, whose start is `message`.
    pub(crate) fn parse(message: &Message, head: &'a [u8]) -> Result<Self> {
        let body = head.get(HEADER..).ok_or(Errno::INVAL)?;
        let mut reader = Reader::new(body);
        let request = Self::read(message, &mut reader)?;
        reader.end()?;
        Ok(request)
    }

    fn read(message: &Message, r: &mut Reader<'a>) -> Result<Self> {
        let found = match Self::session(message, r)? {
            None => Self::files(message, r)?,
            found => found,
        };
        let found = match found {
            None => Self::directories(message, r)?,
            found => found,
        };
        found.ok_or(Errno::OPNOTSUPP)
    }

    fn session(message: &Message, r: &mut Reader<'a>) -> Result<Option<Self>> {
        Ok(Some(if message.is(Kind::Tversion) {
            Self::Version {
                msize: r.u32()?,
                version: r.string()?,
            }
        } else if message.is(Kind::Tattach) {
            let (fid, _afid) = (r.u32()?, r.u32()?);
            let (_uname, _aname) = (r.string()?, r.string()?);
            Self::Attach { fid, uid: r.u32()? }
        } else if message.is(Kind::Tflush) {
            let _oldtag = r.u16()?;
            Self::Flush
        } else if message.is(Kind::Twalk) {
            let (fid, newfid, count) = (r.u32()?, r.u32()?, r.u16()?);
            if count > WALK_MAX {
                return Err(Errno::INVAL);
            }
            let names = (0..count).map(|_| Component::new(r.string()?));
            Self::Walk {
                fid,
                newfid,
                names: names.collect::<Result<_>>()?,
            }
        } else if message.is(Kind::Tclunk) {
            Self::Clunk(r.u32()?)
        } else if message.is(Kind::Tremove) {
            Self::Remove(r.u32()?)
        } else if message.is(Kind::Tstatfs) {
            Self::Statfs(r.u32()?)
        } else {
            return Ok(None);
        }))
    }

    fn files(message: &Message, r: &mut Reader<'a>) -> Result<Option<Self>> {
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

    fn directories(message: &Message, r: &mut Reader<'a>) -> Result<Option<Self>> {
        let name = |r: &mut Reader<'a>| Component::new(r.string()?);
        Ok(Some(if message.is(Kind::Tlcreate) {
            Self::Lcreate {
                fid: r.u32()?,
                name: name(r)?,
                flags: r.u32()?,
                mode: r.u32()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Tsymlink) {
            Self::Symlink {
                directory: r.u32()?,
                name: name(r)?,
                target: r.string()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Tmknod) {
            Self::Mknod {
                directory: r.u32()?,
                name: name(r)?,
                mode: r.u32()?,
                major: r.u32()?,
                minor: r.u32()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Tmkdir) {
            Self::Mkdir {
                directory: r.u32()?,
                name: name(r)?,
                mode: r.u32()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Trename) {
            Self::Rename {
                fid: r.u32()?,
                directory: r.u32()?,
                name: name(r)?,
            }
        } else if message.is(Kind::Trenameat) {
            Self::RenameAt {
                from: (r.u32()?, name(r)?),
                to: (r.u32()?, name(r)?),
            }
        } else if message.is(Kind::Tlink) {
            Self::Link {
                directory: r.u32()?,
                fid: r.u32()?,
                name: name(r)?,
            }
        } else if message.is(Kind::Tunlinkat) {
            Self::UnlinkAt {
                directory: r.u32()?,
                name: name(r)?,
                flags: r.u32()?,
            }
        } else if message.is(Kind::Treadlink) {
            Self::ReadLink(r.u32()?)
        } else if message.is(Kind::Treaddir) {
            Self::ReadDir {
                fid: r.u32()?,
                offset: r.u64()?,
                count: r.u32()?,
            }
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

/// Bytes of the start of every message.
const HEADER: usize = Message::LEN;
/// Names that a Twalk may have (MAXWELEM).
const WALK_MAX: u16 = 16;
const WRITE_HEAD: u32 = crate::WRITE_DATA as u32;
/// Bytes of the name of a client that has locks: HOST_NAME_MAX is 64.
const CLIENT_MAX: usize = 255;
const XATTR_NAME_MAX: usize = 255;
