//! Qids: what a client knows a file by.

/// A file's identity: two files with the same `path` are the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Qid {
    /// What the file is, as far as a qid tells.
    pub kind: QidKind,
    /// Changes with the contents.
    pub version: u32,
    /// Unique in the file system.
    pub path: u64,
}

/// What a qid says of the kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum QidKind {
    /// Anything that is none of the others.
    File = 0,
    /// A symbolic link.
    Symlink = 0x02,
    /// A directory.
    Directory = 0x80,
}

impl Qid {
    /// The qid of a file with these properties. `mode` is as in `st_mode`.
    pub(crate) fn new(mode: u32, version: u32, path: u64) -> Self {
        Self {
            kind: QidKind::of(mode),
            version,
            path,
        }
    }
}

impl QidKind {
    /// That of a file with this `st_mode`.
    pub fn of(mode: u32) -> Self {
        match mode & S_IFMT {
            S_IFDIR => Self::Directory,
            S_IFLNK => Self::Symlink,
            _ => Self::File,
        }
    }
}

/// The part of `st_mode` that says what a file is, and its values.
pub(crate) const S_IFMT: u32 = 0o170_000;
pub(crate) const S_IFDIR: u32 = 0o040_000;
pub(crate) const S_IFREG: u32 = 0o100_000;
pub(crate) const S_IFLNK: u32 = 0o120_000;
pub(crate) const S_IFBLK: u32 = 0o060_000;
pub(crate) const S_IFCHR: u32 = 0o020_000;
pub(crate) const S_IFIFO: u32 = 0o010_000;
pub(crate) const S_IFSOCK: u32 = 0o140_000;
/// The rest of it: permissions and the three bits above them.
pub(crate) const PERMISSIONS: u32 = 0o7777;
