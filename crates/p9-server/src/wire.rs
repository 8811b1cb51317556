//! Messages as bytes: little-endian numbers, strings with their length in 16 bits before them.

use crate::dialect::Dialect;
use crate::stat::Record;
use crate::{Attributes, Entry, Errno, Qid, Result, Statistics};

/// The start of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Bytes of the message, these included.
    pub size: u32,
    /// What it is.
    pub kind: u8,
    /// By what its reply is found.
    pub tag: u16,
}

/// Kinds of messages, those of requests (T) and of the replies (R) that are no more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the protocol's names")]
#[repr(u8)]
pub enum Kind {
    Rlerror = 7,
    Tstatfs = 8,
    Tlopen = 12,
    Tlcreate = 14,
    Tsymlink = 16,
    Tmknod = 18,
    Trename = 20,
    Treadlink = 22,
    Tgetattr = 24,
    Tsetattr = 26,
    Txattrwalk = 30,
    Txattrcreate = 32,
    Treaddir = 40,
    Tfsync = 50,
    Tlock = 52,
    Tgetlock = 54,
    Tlink = 70,
    Tmkdir = 72,
    Trenameat = 74,
    Tunlinkat = 76,
    Tversion = 100,
    Tauth = 102,
    Tattach = 104,
    Rerror = 107,
    Tflush = 108,
    Twalk = 110,
    Topen = 112,
    Tcreate = 114,
    Tread = 116,
    Twrite = 118,
    Tclunk = 120,
    Tremove = 122,
    Tstat = 124,
    Twstat = 126,
}

impl Message {
    /// Bytes of it.
    pub const LEN: usize = 7;
    /// The most that the part of a request before the data of a Twrite can have.
    pub const MAX_HEAD: usize = 8192;

    /// Takes the first bytes of a message for what they are.
    pub fn parse(bytes: [u8; Self::LEN]) -> Self {
        let [s0, s1, s2, s3, kind, t0, t1] = bytes;
        Self {
            size: u32::from_le_bytes([s0, s1, s2, s3]),
            kind,
            tag: u16::from_le_bytes([t0, t1]),
        }
    }

    /// Bytes from the start that [`Session::serve`](crate::Session::serve) wants to see of it: all
    /// but the data of a Twrite.
    ///
    /// # Errors
    /// Where no message of its kind has its size.
    pub fn head(&self) -> Result<usize> {
        let size = self.size as usize;
        let head = match self.is(Kind::Twrite) {
            true => WRITE_DATA,
            false => size,
        };
        match (Self::LEN..=Self::MAX_HEAD.min(size)).contains(&head) {
            true => Ok(head),
            false => Err(Errno::MSGSIZE),
        }
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }
}

/// Takes a message apart. What is short is [`Errno::INVAL`].
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8]> {
        let len = self.u16()?.into();
        let (string, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(string)
    }

    /// Bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<()> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Errno::INVAL),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// A reply in the making: its bytes, and how much data follows them.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    data: u32,
    failure: Option<Errno>,
}

impl Reply {
    /// An empty one, to be used for one reply after another.
    pub fn new() -> Self {
        Self::default()
    }

    /// The reply that says `errno` to the request `tag`, as `dialect` has it.
    pub(crate) fn error(&mut self, tag: u16, errno: Errno, dialect: Dialect) {
        match dialect {
            Dialect::Linux => self.begin(Kind::Rlerror as u8, tag),
            Dialect::Unix => {
                self.begin(Kind::Rerror as u8, tag);
                self.string(text(errno).as_bytes());
            }
        }
        self.u32(errno.raw_os_error().unsigned_abs());
        self.failure = Some(errno);
        self.finish();
    }

    /// An Rflush to the request `tag`.
    pub fn flushed(&mut self, tag: u16) {
        self.begin(Kind::Tflush as u8 + 1, tag);
        self.finish();
    }

    /// Its bytes; those of [`data`](Self::data) come after them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of data that the payload was given.
    pub fn data(&self) -> u32 {
        self.data
    }

    /// The error, if it is one.
    pub fn failure(&self) -> Option<Errno> {
        self.failure
    }

    /// Bytes of all of it.
    pub fn size(&self) -> u32 {
        self.bytes.len() as u32 + self.data
    }

    pub(crate) fn begin(&mut self, kind: u8, tag: u16) {
        self.bytes.clear();
        (self.data, self.failure) = (0, None);
        self.u32(0);
        self.u8(kind);
        self.u16(tag);
    }

    /// The size is known now.
    pub(crate) fn finish(&mut self) {
        let size = self.size().to_le_bytes();
        if let Some(field) = self.bytes.first_chunk_mut() {
            *field = size;
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn string(&mut self, string: &[u8]) {
        put_string(&mut self.bytes, string);
    }

    /// A stat record, with its length once more.
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        self.u16(record.len() as u16);
        record.put(&mut self.bytes);
    }

    pub(crate) fn qid(&mut self, qid: &Qid) {
        put_qid(&mut self.bytes, qid);
    }

    pub(crate) fn qids(&mut self, qids: &[Qid]) {
        self.u16(qids.len() as u16);
        qids.iter().for_each(|qid| self.qid(qid));
    }

    /// `count` bytes of data follow.
    pub(crate) fn count(&mut self, count: u32) {
        self.u32(count);
        self.data = count;
    }

    pub(crate) fn attributes(&mut self, attributes: &Attributes) {
        let Attributes {
            qid,
            mode,
            uid,
            gid,
            nlink,
            rdev,
            size,
            block_size,
            blocks,
            accessed,
            modified,
            changed,
        } = attributes;
        self.u64(GETATTR_BASIC);
        self.qid(qid);
        [*mode, *uid, *gid]
            .into_iter()
            .for_each(|value| self.u32(value));
        [*nlink, *rdev, *size, *block_size, *blocks]
            .into_iter()
            .for_each(|value| self.u64(value));
        for time in [accessed, modified, changed] {
            self.u64(time.seconds);
            self.u64(time.nanoseconds);
        }
        // The time of birth, the generation and the data's version are not among the valid ones.
        [0; 4].into_iter().for_each(|value| self.u64(value));
    }

    pub(crate) fn statistics(&mut self, statistics: &Statistics) {
        let Statistics {
            kind,
            block_size,
            blocks,
            blocks_free,
            blocks_available,
            files,
            files_free,
            id,
            name_length,
        } = *statistics;
        [kind, block_size]
            .into_iter()
            .for_each(|value| self.u32(value));
        [blocks, blocks_free, blocks_available, files, files_free, id]
            .into_iter()
            .for_each(|value| self.u64(value));
        self.u32(name_length);
    }
}

/// Appends an entry of a directory. False where `room` is too small for it.
pub(crate) fn put_entry(bytes: &mut Vec<u8>, room: usize, entry: &Entry<'_>) -> bool {
    if bytes.len() + ENTRY + entry.name.len() > room {
        return false;
    }
    put_qid(bytes, &entry.qid);
    bytes.extend(entry.next.to_le_bytes());
    bytes.push(entry.kind);
    bytes.extend((entry.name.len() as u16).to_le_bytes());
    bytes.extend(entry.name);
    true
}

pub(crate) fn put_qid(bytes: &mut Vec<u8>, qid: &Qid) {
    bytes.push(qid.kind as u8);
    bytes.extend(qid.version.to_le_bytes());
    bytes.extend(qid.path.to_le_bytes());
}

/// `string` comes from a message or from the host, whose strings are shorter than 64 KiB.
pub(crate) fn put_string(bytes: &mut Vec<u8>, string: &[u8]) {
    let len = u16::try_from(string.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(string.get(..len.into()).unwrap_or(string));
}

/// What `errno` is in words.
fn text(errno: Errno) -> String {
    let mut text = errno.to_string();
    if let Some(number) = text.find(" (os error") {
        text.truncate(number);
    }
    text
}

/// Where the data of a Twrite begins.
pub const WRITE_DATA: usize = 23;
/// Where the data of an Rread and an Rreaddir begins.
pub(crate) const READ_DATA: usize = 11;
/// Bytes of an entry of a directory without its name.
const ENTRY: usize = 24;
/// The fields of an Rgetattr up to the number of blocks.
const GETATTR_BASIC: u64 = 0x7ff;
