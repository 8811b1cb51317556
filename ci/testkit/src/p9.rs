//! A client of 9P2000.L and 9P2000.u, over any transport.

/// What carries messages.
pub trait Wire {
    /// Sends a request, and returns its reply.
    fn exchange(&mut self, request: &[u8]) -> Vec<u8>;
}

/// A client. What fails is `Err` with the error number that it was told.
pub struct Client<W> {
    /// What it speaks over.
    pub wire: W,
    tag: u16,
}

/// The body of a message in the making.
#[derive(Clone, Debug, Default)]
pub struct Body(Vec<u8>);

/// A reply, read from its start.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    at: usize,
}

/// A qid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qid {
    /// 0x80 for a directory, 2 for a symbolic link.
    pub kind: u8,
    /// Changes with the contents.
    pub version: u32,
    /// Identity.
    pub path: u64,
}

/// Some attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in struct stat")]
pub struct Attr {
    pub qid: Qid,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    pub rdev: u64,
    pub size: u64,
    pub mtime: u64,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its qid.
    pub qid: Qid,
    /// Where the next one is.
    pub next: u64,
    /// Its `d_type`.
    pub kind: u8,
    /// Its name.
    pub name: Vec<u8>,
}

/// A stat record of 9P2000.u.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in stat(5)")]
pub struct Stat {
    pub qid: Qid,
    pub mode: u32,
    pub mtime: u32,
    pub length: u64,
    pub name: Vec<u8>,
    pub extension: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
}

/// What a Tsetattr or Twstat is to change.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "as in struct stat")]
pub struct Set {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub mtime: Option<u64>,
    /// By a Twstat only.
    pub name: Option<&'static str>,
}

impl<W: Wire> Client<W> {
    /// A client that has not said anything yet.
    pub fn new(wire: W) -> Self {
        Self { wire, tag: 0 }
    }

    /// A client that has agreed on 9P2000.L and attached as root, with fid 0.
    pub fn attached(wire: W) -> Self {
        Self::attached_as(wire, "9P2000.L")
    }

    /// A client that has agreed on a version and attached as root, with fid 0.
    pub fn attached_as(wire: W, version: &str) -> Self {
        let mut this = Self::new(wire);
        let agreed = this.version(32 << 10, version);
        assert_eq!(agreed, Ok((32 << 10, version.to_owned())));
        this.attach(0, 0).unwrap();
        this
    }

    /// Sends a request of `kind`.
    ///
    /// # Errors
    /// That of an Rlerror or Rerror.
    pub fn ask(&mut self, kind: u8, body: Body) -> Result<Reply, u32> {
        self.tag = (self.tag + 1) % 0x7fff;
        let message = message(kind, self.tag, &body);
        let bytes = self.wire.exchange(&message);
        let mut reply = Reply { bytes, at: 0 };
        let (size, answer, tag) = (reply.u32(), reply.u8(), reply.u16());
        assert_eq!(
            size as usize,
            reply.bytes.len(),
            "the size of a reply to {kind}"
        );
        assert_eq!(tag, self.tag, "the tag of a reply to {kind}");
        match answer {
            RLERROR => Err(reply.u32()),
            RERROR => {
                assert!(!reply.string().is_empty(), "an error in words");
                Err(reply.u32())
            }
            _ => {
                assert_eq!(answer, kind + 1, "the kind of a reply");
                Ok(reply)
            }
        }
    }

    /// Tversion: the message size and the version that the server has it at.
    #[allow(
        missing_docs,
        clippy::missing_errors_doc,
        reason = "named after its request"
    )]
    pub fn version(&mut self, msize: u32, version: &str) -> Result<(u32, String), u32> {
        let mut reply = self.ask(100, Body::new().u32(msize).string(version))?;
        let size = reply.u32();
        Ok((size, String::from_utf8(reply.string()).unwrap()))
    }
}

/// One method for each request, in the order of its fields; errors are the server's.
#[allow(
    missing_docs,
    clippy::missing_errors_doc,
    reason = "they are named after requests"
)]
impl<W: Wire> Client<W> {
    pub fn attach(&mut self, fid: u32, uid: u32) -> Result<Qid, u32> {
        let body = Body::new()
            .u32(fid)
            .u32(u32::MAX)
            .string("")
            .string("")
            .u32(uid);
        self.ask(104, body).map(|mut reply| reply.qid())
    }

    pub fn walk(&mut self, fid: u32, newfid: u32, names: &[&[u8]]) -> Result<Vec<Qid>, u32> {
        let body = Body::new().u32(fid).u32(newfid).u16(names.len() as u16);
        let body = names.iter().fold(body, |body, name| body.string(name));
        let mut reply = self.ask(110, body)?;
        Ok((0..reply.u16()).map(|_| reply.qid()).collect())
    }

    pub fn lopen(&mut self, fid: u32, flags: u32) -> Result<Qid, u32> {
        let mut reply = self.ask(12, Body::new().u32(fid).u32(flags))?;
        Ok(reply.qid())
    }

    pub fn lcreate(&mut self, fid: u32, name: &str, flags: u32, mode: u32) -> Result<Qid, u32> {
        let body = Body::new()
            .u32(fid)
            .string(name)
            .u32(flags)
            .u32(mode)
            .u32(0);
        self.ask(14, body).map(|mut reply| reply.qid())
    }

    pub fn read(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>, u32> {
        let mut reply = self.ask(116, Body::new().u32(fid).u64(offset).u32(count))?;
        let count = reply.u32() as usize;
        Ok(reply.take(count))
    }

    pub fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<u32, u32> {
        self.ask(118, Body::write(fid, offset, data))
            .map(|mut reply| reply.u32())
    }

    pub fn clunk(&mut self, fid: u32) -> Result<(), u32> {
        self.ask(120, Body::new().u32(fid)).map(drop)
    }

    pub fn remove(&mut self, fid: u32) -> Result<(), u32> {
        self.ask(122, Body::new().u32(fid)).map(drop)
    }

    pub fn getattr(&mut self, fid: u32) -> Result<Attr, u32> {
        let mut reply = self.ask(24, Body::new().u32(fid).u64(0x7ff))?;
        assert_eq!(reply.u64(), 0x7ff);
        let (qid, mode, uid, gid) = (reply.qid(), reply.u32(), reply.u32(), reply.u32());
        let (nlink, rdev, size) = (reply.u64(), reply.u64(), reply.u64());
        let [_, _, _, _, mtime] = [(); 5].map(|()| reply.u64());
        Ok(Attr {
            qid,
            mode,
            uid,
            gid,
            nlink,
            rdev,
            size,
            mtime,
        })
    }

    pub fn setattr(&mut self, fid: u32, set: Set) -> Result<(), u32> {
        let Set {
            mode,
            uid,
            gid,
            size,
            mtime,
            name: _,
        } = set;
        let bit = |given: bool, bit: u32| if given { bit } else { 0 };
        let valid = bit(mode.is_some(), 1)
            | bit(uid.is_some(), 2)
            | bit(gid.is_some(), 4)
            | bit(size.is_some(), 8)
            | bit(mtime.is_some(), 0x120);
        let ids = [mode, uid, gid].map(Option::unwrap_or_default);
        let body = Body::new().u32(fid).u32(valid);
        let body = ids
            .into_iter()
            .fold(body, Body::u32)
            .u64(size.unwrap_or_default());
        let times = [0, 0, mtime.unwrap_or_default(), 0];
        self.ask(26, times.into_iter().fold(body, Body::u64))
            .map(drop)
    }

    pub fn readdir(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<Entry>, u32> {
        let mut reply = self.ask(40, Body::new().u32(fid).u64(offset).u32(count))?;
        assert_eq!(reply.u32() as usize, reply.bytes.len() - 11);
        let mut entries = Vec::new();
        while reply.at < reply.bytes.len() {
            let (qid, next, kind) = (reply.qid(), reply.u64(), reply.u8());
            entries.push(Entry {
                qid,
                next,
                kind,
                name: reply.string(),
            });
        }
        Ok(entries)
    }

    pub fn open(&mut self, fid: u32, mode: u8) -> Result<Qid, u32> {
        let mut reply = self.ask(112, Body::new().u32(fid).u8(mode))?;
        Ok(reply.qid())
    }

    pub fn create(
        &mut self,
        fid: u32,
        name: &str,
        perm: u32,
        mode: u8,
        extension: &str,
    ) -> Result<Qid, u32> {
        let body = Body::new().u32(fid).string(name).u32(perm).u8(mode);
        self.ask(114, body.string(extension))
            .map(|mut reply| reply.qid())
    }

    pub fn stat(&mut self, fid: u32) -> Result<Stat, u32> {
        let mut reply = self.ask(124, Body::new().u32(fid))?;
        let len: usize = reply.u16().into();
        assert_eq!(len, reply.bytes.len() - reply.at, "the length of a record");
        Ok(reply.stat())
    }

    pub fn wstat(&mut self, fid: u32, set: Set) -> Result<(), u32> {
        self.ask(126, Body::wstat(fid, set)).map(drop)
    }

    /// The records of a directory from `offset` on.
    pub fn read_stats(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<Stat>, u32> {
        let bytes = self.read(fid, offset, count)?;
        let mut reply = Reply { bytes, at: 0 };
        let mut records = Vec::new();
        while reply.at < reply.bytes.len() {
            records.push(reply.stat());
        }
        Ok(records)
    }

    pub fn mkdir(&mut self, dfid: u32, name: &str, mode: u32) -> Result<Qid, u32> {
        let body = Body::new().u32(dfid).string(name).u32(mode).u32(0);
        self.ask(72, body).map(|mut reply| reply.qid())
    }

    pub fn symlink(&mut self, dfid: u32, name: &str, target: &str) -> Result<Qid, u32> {
        let body = Body::new().u32(dfid).string(name).string(target).u32(0);
        self.ask(16, body).map(|mut reply| reply.qid())
    }

    pub fn mknod(&mut self, dfid: u32, name: &str, mode: u32, dev: (u32, u32)) -> Result<Qid, u32> {
        let body = Body::new().u32(dfid).string(name).u32(mode);
        let body = body.u32(dev.0).u32(dev.1).u32(0);
        self.ask(18, body).map(|mut reply| reply.qid())
    }

    pub fn readlink(&mut self, fid: u32) -> Result<Vec<u8>, u32> {
        self.ask(22, Body::new().u32(fid))
            .map(|mut reply| reply.string())
    }

    pub fn link(&mut self, dfid: u32, fid: u32, name: &str) -> Result<(), u32> {
        self.ask(70, Body::new().u32(dfid).u32(fid).string(name))
            .map(drop)
    }

    pub fn rename(&mut self, fid: u32, dfid: u32, name: &str) -> Result<(), u32> {
        self.ask(20, Body::new().u32(fid).u32(dfid).string(name))
            .map(drop)
    }

    pub fn renameat(&mut self, from: (u32, &str), to: (u32, &str)) -> Result<(), u32> {
        let body = Body::new()
            .u32(from.0)
            .string(from.1)
            .u32(to.0)
            .string(to.1);
        self.ask(74, body).map(drop)
    }

    pub fn unlinkat(&mut self, dfid: u32, name: &str, flags: u32) -> Result<(), u32> {
        self.ask(76, Body::new().u32(dfid).string(name).u32(flags))
            .map(drop)
    }

    pub fn fsync(&mut self, fid: u32) -> Result<(), u32> {
        self.ask(50, Body::new().u32(fid).u32(0)).map(drop)
    }

    pub fn xattrwalk(&mut self, fid: u32, newfid: u32, name: &str) -> Result<u64, u32> {
        let body = Body::new().u32(fid).u32(newfid).string(name);
        self.ask(30, body).map(|mut reply| reply.u64())
    }

    pub fn xattrcreate(&mut self, fid: u32, name: &str, size: u64, flags: u32) -> Result<(), u32> {
        let body = Body::new().u32(fid).string(name).u64(size).u32(flags);
        self.ask(32, body).map(drop)
    }

    /// Tlock; the status.
    pub fn lock(
        &mut self,
        fid: u32,
        kind: u8,
        start: u64,
        length: u64,
        process: u32,
    ) -> Result<u8, u32> {
        let body = Body::new().u32(fid).u8(kind).u32(0).u64(start).u64(length);
        let body = body.u32(process).string("client");
        self.ask(52, body).map(|mut reply| reply.u8())
    }

    /// Tgetlock; kind, start, length and process of what is in the way.
    pub fn getlock(
        &mut self,
        fid: u32,
        kind: u8,
        start: u64,
        process: u32,
    ) -> Result<(u8, u64, u64, u32), u32> {
        let body = Body::new().u32(fid).u8(kind).u64(start).u64(1);
        let mut reply = self.ask(54, body.u32(process).string("client"))?;
        Ok((reply.u8(), reply.u64(), reply.u64(), reply.u32()))
    }

    /// Tstatfs; the size of blocks.
    pub fn statfs(&mut self, fid: u32) -> Result<u32, u32> {
        let mut reply = self.ask(8, Body::new().u32(fid))?;
        reply.u32();
        Ok(reply.u32())
    }

    /// Sets an extended attribute of the file of `fid`, by way of `spare`.
    pub fn set_xattr(&mut self, fid: u32, spare: u32, name: &str, value: &[u8]) -> Result<(), u32> {
        self.walk(fid, spare, &[])?;
        let made = self.xattrcreate(spare, name, value.len() as u64, 0);
        let written = made.and_then(|()| self.write(spare, 0, value));
        let clunked = self.clunk(spare);
        written.and(clunked)
    }

    /// The value of an extended attribute, or the list of names where `name` is empty.
    pub fn xattr(&mut self, fid: u32, spare: u32, name: &str) -> Result<Vec<u8>, u32> {
        let size = self.xattrwalk(fid, spare, name)?;
        let value = self.read(spare, 0, 8192);
        self.clunk(spare)?;
        assert_eq!(value.as_ref().map(|value| value.len() as u64), Ok(size));
        value
    }

    /// All entries of a directory, by way of `spare`.
    pub fn list(&mut self, fid: u32, spare: u32, count: u32) -> Result<Vec<Entry>, u32> {
        self.walk(fid, spare, &[])?;
        self.lopen(spare, 0)?;
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let offset = entries.last().map_or(0, |entry| entry.next);
            match self.readdir(spare, offset, count) {
                Ok(more) if more.is_empty() => break,
                Ok(more) => entries.extend(more),
                Err(errno) => {
                    self.clunk(spare)?;
                    return Err(errno);
                }
            }
        }
        self.clunk(spare)?;
        Ok(entries)
    }
}

impl Body {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// That of a Twrite.
    pub fn write(fid: u32, offset: u64, data: &[u8]) -> Self {
        let mut this = Self::new().u32(fid).u64(offset).u32(data.len() as u32);
        this.0.extend(data);
        this
    }

    /// That of a Twstat.
    pub fn wstat(fid: u32, set: Set) -> Self {
        let Set {
            mode,
            uid,
            gid,
            size,
            mtime,
            name,
        } = set;
        let none = u32::MAX;
        let record = Self::new().u16(u16::MAX).u32(none);
        let record = record.u8(u8::MAX).u32(none).u64(u64::MAX);
        let record = record.u32(mode.unwrap_or(none)).u32(none);
        let record = record.u32(mtime.map_or(none, |time| time as u32));
        let record = record.u64(size.unwrap_or(u64::MAX));
        let record = record.string(name.unwrap_or_default());
        let record = (0..4).fold(record, |record, _| record.string(""));
        let ids = [uid.unwrap_or(none), gid.unwrap_or(none), none];
        let Self(record) = ids.into_iter().fold(record, Self::u32);
        let len = record.len() as u16;
        let mut this = Self::new().u32(fid).u16(len + 2).u16(len);
        this.0.extend(record);
        this
    }

    /// Appends a number of 8 bits.
    #[must_use]
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Appends a number of 16 bits.
    #[must_use]
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a number of 32 bits.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a number of 64 bits.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a string and its length.
    #[must_use]
    pub fn string(mut self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.extend((value.len() as u16).to_le_bytes());
        self.0.extend(value);
        self
    }
}

impl Reply {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.bytes[self.at..self.at + count].to_vec();
        self.at += count;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as many as taken")
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn string(&mut self) -> Vec<u8> {
        let len = self.u16();
        self.take(len.into())
    }

    fn stat(&mut self) -> Stat {
        let len: usize = self.u16().into();
        let end = self.at + len;
        assert_eq!((self.u16(), self.u32()), (0, 0));
        let (qid, mode, _atime, mtime) = (self.qid(), self.u32(), self.u32(), self.u32());
        let (length, name) = (self.u64(), self.string());
        let [_, _, _, extension] = [(); 4].map(|()| self.string());
        let (uid, gid, _muid) = (self.u32(), self.u32(), self.u32());
        assert_eq!(self.at, end, "the length of a record");
        Stat {
            qid,
            mode,
            mtime,
            length,
            name,
            extension,
            uid,
            gid,
        }
    }

    fn qid(&mut self) -> Qid {
        Qid {
            kind: self.u8(),
            version: self.u32(),
            path: self.u64(),
        }
    }
}

/// A whole message.
pub fn message(kind: u8, tag: u16, body: &Body) -> Vec<u8> {
    let size = 7 + body.0.len() as u32;
    let mut bytes = size.to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(tag.to_le_bytes());
    bytes.extend(&body.0);
    bytes
}

const RLERROR: u8 = 7;
const RERROR: u8 = 107;
