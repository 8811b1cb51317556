//! What is in files, links and directories.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::PoisonError;

use rustix::fs::{FileType, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::node::{Identity, Node};
use super::open::{File, reopen};
use super::{Local, SecurityModel, metadata};
use crate::limits::LINK_SIZE;
use crate::qid::{S_IFLNK, S_IFMT};
use crate::{Entry, Patience, Payload, Qid, QidKind, Result, Statistics};

impl File {
    pub(super) fn read(
        &self,
        offset: u64,
        len: u32,
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32> {
        let (offset, waits) = (file_offset(offset)?, patience.waits());
        later(payload.read_from(self.as_fd(), offset, len, waits), waits)
    }

    pub(super) fn sync(&self, data_only: bool) -> Result<()> {
        match data_only {
            true => rustix::fs::fdatasync(self),
            false => rustix::fs::fsync(self),
        }
    }
}

impl Local {
    pub(super) fn write_file(
        &self,
        file: &File,
        (offset, len): (u64, u32),
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32> {
        let (sync, waits) = (self.options.write_through, patience.waits());
        if sync && !waits {
            return Err(Errno::AGAIN);
        }
        let offset = file_offset(offset)?;
        if file.takes_set_id() {
            self.strip_set_id(&file.node)?;
        }
        later(
            payload.write_to(file.as_fd(), offset, len, sync, waits),
            waits,
        )
    }

    /// One request at a time reads a directory: the position is the descriptor's.
    pub(super) fn list(
        &self,
        file: &File,
        offset: u64,
        take: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<()> {
        let _turn = file.position.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::fs::seek(file, SeekFrom::Start(file_offset(offset)?))?;
        let device = file.node.identity().device;
        let mut buffer = vec![MaybeUninit::uninit(); LIST_BUFFER];
        let mut entries = RawDir::new(file, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if self.hides(name) {
                continue;
            }
            let inode = self.shown_inode(&file.node, name, entry.ino());
            let path = self.devices.path(Identity { device, inode })?;
            let (next, kind) = (entry.next_entry_cookie(), entry.file_type());
            let (qid, kind) = self.shown_kind(kind, path);
            if !take(&Entry {
                qid,
                next,
                kind,
                name,
            }) {
                break;
            }
        }
        Ok(())
    }

    fn hides(&self, name: &[u8]) -> bool {
        self.model() == SecurityModel::MappedFile && metadata::is_own(name)
    }

    /// What is above the root is not shown, its number neither.
    fn shown_inode(&self, directory: &Node, name: &[u8], inode: u64) -> u64 {
        let root = self.root.identity();
        match name == b".." && directory.identity() == root {
            true => root.inode,
            false => inode,
        }
    }

    /// Where links and nodes are files, only a look at each would tell.
    fn shown_kind(&self, kind: FileType, path: u64) -> (Qid, u8) {
        let (qid_kind, number) = match kind {
            FileType::Directory => (QidKind::Directory, DT_DIR),
            _ if self.model().is_mapped() => (QidKind::File, DT_UNKNOWN),
            FileType::Symlink => (QidKind::Symlink, DT_LNK),
            FileType::RegularFile => (QidKind::File, DT_REG),
            _ => (QidKind::File, DT_UNKNOWN),
        };
        let qid = Qid {
            kind: qid_kind,
            version: 0,
            path,
        };
        (qid, number)
    }

    pub(super) fn link_target(&self, node: &Node) -> Result<Vec<u8>> {
        if node.is_symlink() {
            let target = rustix::fs::readlinkat(node, "", Vec::new())?;
            return Ok(target.into_bytes());
        }
        if self.mode(node, &node.stat()?)? & S_IFMT != S_IFLNK {
            return Err(Errno::INVAL);
        }
        let mut target = vec![0; LINK_SIZE];
        let file = reopen(node, OFlags::RDONLY)?;
        let len = rustix::io::pread(&file, &mut target[..], 0)?;
        target.truncate(len);
        Ok(target)
    }
}

pub(super) fn statistics(node: &Node) -> Result<Statistics> {
    let stat = rustix::fs::fstatfs(node)?;
    Ok(Statistics {
        kind: stat.f_type as u32,
        block_size: stat.f_bsize as u32,
        blocks: stat.f_blocks as u64,
        blocks_free: stat.f_bfree as u64,
        blocks_available: stat.f_bavail as u64,
        files: stat.f_files as u64,
        files_free: stat.f_ffree as u64,
        id: rustix::fs::fstatvfs(node)?.f_fsid,
        name_length: stat.f_namelen as u32,
    })
}

/// `offset`, if a file can have it: the kernel takes -1 for the descriptor's own position.
fn file_offset(offset: u64) -> Result<u64> {
    match i64::try_from(offset) {
        Ok(_) => Ok(offset),
        Err(_) => Err(Errno::INVAL),
    }
}

/// Not every file system can say what would wait.
fn later(result: Result<u32>, waits: bool) -> Result<u32> {
    match result {
        Err(Errno::OPNOTSUPP) if !waits => Err(Errno::AGAIN),
        result => result,
    }
}

/// Bytes of entries that are read at once.
const LIST_BUFFER: usize = 32 << 10;
const DT_UNKNOWN: u8 = 0;
const DT_DIR: u8 = 4;
const DT_REG: u8 = 8;
const DT_LNK: u8 = 10;
