//! Opening: from a descriptor that stands for a file to one that reads and writes it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::Local;
use super::credentials::has_set_id;
use super::node::{Node, Permit, open_entry};
use crate::qid::{PERMISSIONS, S_IFMT, S_IFREG};
use crate::{Attributes, Change, Changes, FileSystem, Found, Name, Owner, Qid, Result, Timestamp};

/// A file or directory that is open.
pub struct File {
    fd: OwnedFd,
    pub(super) node: Arc<Node>,
    /// Whether it runs in another's name until it is written to.
    set_id: AtomicBool,
    /// Whose turn it is at the position that a directory is read from.
    pub(super) position: Mutex<()>,
    _permit: Permit,
}

impl Local {
    pub(super) fn open_node(&self, node: &Arc<Node>, flags: u32) -> Result<File> {
        let mode = access(flags)?;
        if mode != OFlags::RDONLY || flags & TRUNC != 0 {
            self.writable()?;
        }
        let permit = self.tree.permit()?;
        let fd = match (node.is_directory(), node.is_regular()) {
            (true, _) if mode != OFlags::RDONLY => return Err(Errno::ISDIR),
            (true, _) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::openat(node, ".", flags, Mode::empty())?
            }
            (_, true) if flags & DIRECTORY != 0 => return Err(Errno::NOTDIR),
            (_, true) => reopen(node, mode | kept(flags))?,
            // The client opens its own FIFOs and devices; the host's are none of its business.
            (false, false) if node.is_symlink() => return Err(Errno::LOOP),
            (false, false) => return Err(Errno::NXIO),
        };
        let set_id = mode != OFlags::RDONLY && has_set_id(self.mode(node, &node.stat()?)?);
        Ok(File::new(fd, Arc::clone(node), set_id, permit))
    }

    /// A new file; or, unless the client insists on a new one, the one that is there.
    pub(super) fn create_file(
        &self,
        directory: &Arc<Node>,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        owner: Owner,
    ) -> Result<(Found<Node>, File)> {
        let permit = self.tree.permit()?;
        let how = access(flags)? | kept(flags) | OFlags::CREATE | OFlags::EXCL;
        let fd = match open_entry(directory, name, how, self.file_mode(mode)) {
            Err(Errno::EXIST) if flags & EXCL == 0 => {
                drop(permit);
                let found = self.lookup(directory, name)?;
                let file = self.open_node(&found.node, flags)?;
                return Ok((found, file));
            }
            opened => opened?,
        };
        let new = self.enter_new(&fd, directory, name)?;
        let kind = (S_IFREG | mode & PERMISSIONS, 0);
        let found = self.finish(new, (directory, name), kind, owner)?;
        let file = File::new(fd, Arc::clone(&found.node), false, permit);
        Ok((found, file))
    }

    /// The mode that a new file has on the host, as far as it is known when it is made.
    pub(super) fn file_mode(&self, mode: u32) -> Mode {
        Mode::from_raw_mode(match self.model().is_mapped() {
            true => self.options.fmode,
            false => mode & PERMISSIONS,
        })
    }

    pub(super) fn truncate(&self, node: &Node, file: Option<&File>, size: u64) -> Result<()> {
        if !node.is_regular() {
            return Err(if node.is_directory() {
                Errno::ISDIR
            } else {
                Errno::INVAL
            });
        }
        let mode = self.mode(node, &node.stat()?)?;
        if mode & S_IFMT != S_IFREG {
            return Err(Errno::INVAL);
        }
        if has_set_id(mode) {
            self.strip_set_id(node)?;
        }
        // One that was opened for reading only does not do.
        match file.map(|file| rustix::fs::ftruncate(file, size)) {
            None | Some(Err(Errno::INVAL | Errno::BADF)) => {
                rustix::fs::ftruncate(reopen(node, OFlags::WRONLY)?, size)
            }
            Some(done) => done,
        }
    }
}

impl File {
    fn new(fd: OwnedFd, node: Arc<Node>, set_id: bool, permit: Permit) -> Self {
        Self {
            fd,
            node,
            set_id: AtomicBool::new(set_id),
            position: Mutex::default(),
            _permit: permit,
        }
    }

    /// Whether this is the first write to a file that runs in another's name.
    pub(super) fn takes_set_id(&self) -> bool {
        self.set_id.load(Ordering::Relaxed) && self.set_id.swap(false, Ordering::Relaxed)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens the regular file that `node` stands for.
pub(super) fn reopen(node: &Node, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    match node.is_regular() {
        true => rustix::fs::openat(CWD, node.path(), flags, Mode::empty()),
        false => Err(Errno::INVAL),
    }
}

pub(super) fn attributes(stat: &Stat, qid: Qid) -> Attributes {
    let time = |seconds: i64, nanoseconds: u64| Timestamp {
        seconds: seconds as u64,
        nanoseconds,
    };
    Attributes {
        qid,
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink,
        rdev: stat.st_rdev,
        size: stat.st_size as u64,
        block_size: stat.st_blksize as u64,
        blocks: stat.st_blocks as u64,
        accessed: time(stat.st_atime, stat.st_atime_nsec),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

pub(super) fn set_times(node: &Node, changes: &Changes) -> Result<()> {
    let (accessed, modified) = (changes.accessed, changes.modified);
    if accessed.is_none() && modified.is_none() {
        return Ok(());
    }
    let times = Timestamps {
        last_access: timespec(accessed),
        last_modification: timespec(modified),
    };
    rustix::fs::utimensat(CWD, node.path(), &times, AtFlags::empty())
}

fn timespec(change: Option<Change>) -> Timespec {
    let (tv_sec, tv_nsec) = match change {
        None => (0, UTIME_OMIT),
        Some(Change::Now) => (0, UTIME_NOW),
        // The kernel refuses nanoseconds that are none; of the two words above, neither is one.
        Some(Change::To(time)) => {
            let nanoseconds = time.nanoseconds.min(NANOSECONDS);
            (time.seconds as i64, nanoseconds as _)
        }
    };
    Timespec { tv_sec, tv_nsec }
}

fn access(flags: u32) -> Result<OFlags> {
    match flags & ACCESS {
        0 => Ok(OFlags::RDONLY),
        1 => Ok(OFlags::WRONLY),
        2 => Ok(OFlags::RDWR),
        _ => Err(Errno::INVAL),
    }
}

/// Flags that go to the host's open. Direct I/O would want the client's buffers aligned.
fn kept(flags: u32) -> OFlags {
    let mut kept = OFlags::empty();
    kept.set(OFlags::TRUNC, flags & TRUNC != 0);
    kept.set(OFlags::APPEND, flags & APPEND != 0);
    kept.set(OFlags::DSYNC, flags & DSYNC != 0);
    kept.set(OFlags::SYNC, flags & SYNC == SYNC);
    kept
}

/// The protocol's open flags: Linux's on x86.
const ACCESS: u32 = 0o3;
const EXCL: u32 = 0o200;
const TRUNC: u32 = 0o1000;
const APPEND: u32 = 0o2000;
const DSYNC: u32 = 0o10_000;
const DIRECTORY: u32 = 0o200_000;
const SYNC: u32 = 0o4_010_000;
const NANOSECONDS: u64 = 1_000_000_000;
