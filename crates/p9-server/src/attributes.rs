//! Attributes of files, as Tgetattr asks for and Tsetattr changes them.

use crate::Qid;

/// The attributes of a file, as `stat(2)` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its qid.
    pub qid: Qid,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub nlink: u64,
    /// The device that a device node stands for.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Preferred size of transfers in bytes.
    pub block_size: u64,
    /// Storage in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of contents.
    pub modified: Timestamp,
    /// Last change of attributes.
    pub changed: Timestamp,
}

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: u64,
    /// And nanoseconds.
    pub nanoseconds: u64,
}

/// What a Tsetattr changes; `None` is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Permissions; bits that say what the file is are ignored.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub accessed: Option<Change>,
    /// Last change of contents.
    pub modified: Option<Change>,
}

/// Another point in time for an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The moment of the request.
    Now,
    /// A given one.
    To(Timestamp),
}

/// A file system, as `statfs(2)` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Its type, by Linux's numbers.
    pub kind: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Of those, free.
    pub blocks_free: u64,
    /// Of those, free to users without privileges.
    pub blocks_available: u64,
    /// Number of files that there can be.
    pub files: u64,
    /// Of those, free.
    pub files_free: u64,
    /// Its identity.
    pub id: u64,
    /// Bytes of a name at most.
    pub name_length: u32,
}
