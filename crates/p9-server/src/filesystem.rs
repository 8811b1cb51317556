//! What a session serves.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::{Attributes, Changes, Name, Patience, Payload, Qid, Result, Statistics};

/// A tree of files.
///
/// A `Node` is a file itself, whatever becomes of its name; a `File` is one that was opened. Both
/// are used from several threads at once.
pub trait FileSystem: Send + Sync + 'static {
    /// A file, open or not.
    type Node: Send + Sync + 'static;
    /// What reading and writing needs.
    type File: Send + Sync + 'static;

    /// The root.
    fn root(&self) -> Arc<Self::Node>;

    /// The directory that `node` was found in; the root's is the root.
    fn parent(&self, node: &Arc<Self::Node>) -> Arc<Self::Node>;

    /// The name that `node` has where it was found or moved to; empty for the root.
    fn name(&self, node: &Self::Node) -> Vec<u8>;

    /// Finds `name` in `directory`.
    ///
    /// # Errors
    /// The host's.
    fn lookup(&self, directory: &Arc<Self::Node>, name: Name<'_>) -> Result<Found<Self::Node>>;

    /// The qid of a file.
    ///
    /// # Errors
    /// The host's.
    fn qid(&self, node: &Self::Node) -> Result<Qid>;

    /// The attributes of a file.
    ///
    /// # Errors
    /// The host's.
    fn attributes(&self, node: &Self::Node) -> Result<Attributes>;

    /// Changes attributes of a file, which may be open as `file`.
    ///
    /// # Errors
    /// The host's; some of the changes may have been made then.
    fn change(&self, node: &Self::Node, file: Option<&Self::File>, changes: &Changes)
    -> Result<()>;

    /// Opens a file or a directory with `flags`, those of `open(2)` on x86.
    ///
    /// # Errors
    /// The host's, and where it is neither of both.
    fn open(&self, node: &Arc<Self::Node>, flags: u32) -> Result<Self::File>;

    /// Creates and opens a file, or opens the one that is there unless `flags` have O_EXCL.
    ///
    /// # Errors
    /// The host's.
    fn create(
        &self,
        directory: &Arc<Self::Node>,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        owner: Owner,
    ) -> Result<(Found<Self::Node>, Self::File)>;

    /// Makes something that is not opened.
    ///
    /// # Errors
    /// The host's.
    fn make(
        &self,
        directory: &Arc<Self::Node>,
        name: Name<'_>,
        what: Creation<'_>,
        owner: Owner,
    ) -> Result<Found<Self::Node>>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// The host's.
    fn link(&self, node: &Self::Node, directory: &Arc<Self::Node>, name: Name<'_>) -> Result<()>;

    /// Moves an entry of one directory to another.
    ///
    /// # Errors
    /// The host's.
    fn rename(
        &self,
        from: (&Arc<Self::Node>, Name<'_>),
        to: (&Arc<Self::Node>, Name<'_>),
    ) -> Result<()>;

    /// Moves a file from where it was found.
    ///
    /// # Errors
    /// The host's, and where another file is there now.
    fn rename_node(&self, node: &Arc<Self::Node>, to: (&Arc<Self::Node>, Name<'_>)) -> Result<()>;

    /// Removes an entry: a `directory`, or anything else.
    ///
    /// # Errors
    /// The host's.
    fn unlink(&self, from: &Arc<Self::Node>, name: Name<'_>, directory: bool) -> Result<()>;

    /// Removes a file from where it was found.
    ///
    /// # Errors
    /// The host's, and where another file is there now.
    fn remove(&self, node: &Arc<Self::Node>) -> Result<()>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// The host's.
    fn read_link(&self, node: &Self::Node) -> Result<Vec<u8>>;

    /// The file system that a file is on.
    ///
    /// # Errors
    /// The host's.
    fn statistics(&self, node: &Self::Node) -> Result<Statistics>;

    /// Reads up to `len` bytes from `offset` on.
    ///
    /// # Errors
    /// The host's.
    fn read(
        &self,
        file: &Self::File,
        offset: u64,
        len: u32,
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32>;

    /// Writes up to `len` bytes from `offset` on.
    ///
    /// # Errors
    /// The host's.
    fn write(
        &self,
        file: &Self::File,
        offset: u64,
        len: u32,
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32>;

    /// Hands the entries of a directory from `offset` on to `take`, until that refuses one.
    ///
    /// # Errors
    /// The host's.
    fn read_directory(
        &self,
        file: &Self::File,
        offset: u64,
        take: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<()>;

    /// Makes a file's contents durable, and its attributes unless `data_only`.
    ///
    /// # Errors
    /// The host's.
    fn sync(&self, file: &Self::File, data_only: bool) -> Result<()>;

    /// The value of an extended attribute, at most 64 KiB.
    ///
    /// # Errors
    /// The host's.
    fn xattr(&self, node: &Self::Node, name: &[u8]) -> Result<Vec<u8>>;

    /// The names of all extended attributes, each with a NUL after it, at most 64 KiB.
    ///
    /// # Errors
    /// The host's.
    fn xattr_names(&self, node: &Self::Node) -> Result<Vec<u8>>;

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// The host's.
    fn set_xattr(
        &self,
        node: &Self::Node,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<()>;

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// The host's.
    fn remove_xattr(&self, node: &Self::Node, name: &[u8]) -> Result<()>;

    /// Where a session counts its fids that stand for an attribute, for a tree that shows the count.
    fn xattr_fids(&self) -> Arc<AtomicUsize> {
        Arc::default()
    }
}

/// A file that was looked up or made.
pub struct Found<N> {
    /// The file.
    pub node: Arc<N>,
    /// Its qid at that moment.
    pub qid: Qid,
}

/// Whom something new belongs to; `None` leaves it to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// Something to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation<'a> {
    /// A directory with these permissions.
    Directory(u32),
    /// A symbolic link to this.
    Symlink(&'a [u8]),
    /// A node of this mode; a device as `st_rdev` has it.
    Node(u32, u64),
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its qid, of version 0.
    pub qid: Qid,
    /// Where the next one is found.
    pub next: u64,
    /// Its `d_type`, 0 if unknown.
    pub kind: u8,
    /// Its name, `.` and `..` included.
    pub name: &'a [u8],
}

/// How an extended attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrFlags {
    /// Whether it is there or not.
    Any,
    /// Only if it is not there.
    Create,
    /// Only if it is there.
    Replace,
}
