//! Requests, parsed as a whole before any of it is acted on.

mod directories;
mod files;
mod unix;

pub(crate) use self::unix::New;
use crate::name::Component;
use crate::stat::Wanted;
use crate::wire::{Kind, Message, Reader};
use crate::{Changes, Errno, Result, XattrFlags};

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
        uid: Option<u32>,
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
    Create {
        fid: FidNumber,
        name: Component<'a>,
        new: New<'a>,
    },
    Stat(FidNumber),
    Wstat {
        fid: FidNumber,
        wanted: Wanted<'a>,
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
        if let Some(request) = Self::files(message, r)? {
            return Ok(request);
        }
        if let Some(request) = Self::session(message, r)? {
            return Ok(request);
        }
        if let Some(request) = Self::directories(message, r)? {
            return Ok(request);
        }
        Self::unix(message, r)?.ok_or(Errno::OPNOTSUPP)
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
            let uid = Some(r.u32()?).filter(|uid| *uid != NO_USER);
            Self::Attach { fid, uid }
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
}

/// Bytes of the start of every message.
const HEADER: usize = Message::LEN;
/// Names that a Twalk may have (MAXWELEM).
const WALK_MAX: u16 = 16;
/// A Tattach of nobody in particular.
const NO_USER: u32 = u32::MAX;
