//! Entries of directories.

use super::Session;
use crate::limits::LINK_SIZE;
use crate::request::FidNumber;
use crate::wire::put_entry;
use crate::{Creation, Errno, FileSystem, Name, Owner, Payload, Reply, Result};

impl<F: FileSystem> Session<F> {
    pub(super) fn read_directory(
        &self,
        (fid, offset, count): (FidNumber, u64, u32),
        payload: &mut impl Payload,
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(fid)?;
        let room = self.fit(count, payload) as usize;
        let (mut entries, mut full) = (Vec::new(), false);
        self.fs.read_directory(fid.file()?, offset, &mut |entry| {
            full = !put_entry(&mut entries, room, entry);
            !full
        })?;
        // Nothing at all would mean the end.
        if full && entries.is_empty() {
            return Err(Errno::INVAL);
        }
        payload.put(&entries)?;
        reply.count(entries.len() as u32);
        Ok(())
    }

    pub(super) fn make_directory(
        &self,
        directory: FidNumber,
        name: Name<'_>,
        (mode, gid): (u32, u32),
        reply: &mut Reply,
    ) -> Result<()> {
        self.make(directory, name, Creation::Directory(mode), gid, reply)
    }

    pub(super) fn symlink(
        &self,
        directory: FidNumber,
        name: Name<'_>,
        (target, gid): (&[u8], u32),
        reply: &mut Reply,
    ) -> Result<()> {
        self.make(directory, name, link_to(target)?, gid, reply)
    }

    pub(super) fn make_node(
        &self,
        directory: FidNumber,
        name: Name<'_>,
        (mode, device, gid): (u32, u64, u32),
        reply: &mut Reply,
    ) -> Result<()> {
        self.make(directory, name, Creation::Node(mode, device), gid, reply)
    }

    pub(super) fn rename(
        &self,
        fid: FidNumber,
        directory: FidNumber,
        name: Name<'_>,
    ) -> Result<()> {
        let (fid, directory) = (self.fids.find(fid)?, self.fids.find(directory)?);
        self.fs.rename_node(fid.node()?, (directory.node()?, name))
    }

    pub(super) fn rename_at(
        &self,
        (from, old): (FidNumber, Name<'_>),
        (to, new): (FidNumber, Name<'_>),
    ) -> Result<()> {
        let (from, to) = (self.fids.find(from)?, self.fids.find(to)?);
        self.fs.rename((from.node()?, old), (to.node()?, new))
    }

    pub(super) fn link(&self, directory: FidNumber, fid: FidNumber, name: Name<'_>) -> Result<()> {
        let (directory, fid) = (self.fids.find(directory)?, self.fids.find(fid)?);
        self.fs.link(fid.node()?, directory.node()?, name)
    }

    pub(super) fn unlink(&self, directory: FidNumber, name: Name<'_>, flags: u32) -> Result<()> {
        if flags & !AT_REMOVEDIR != 0 {
            return Err(Errno::INVAL);
        }
        let directory = self.fids.find(directory)?;
        self.fs
            .unlink(directory.node()?, name, flags & AT_REMOVEDIR != 0)
    }

    fn make(
        &self,
        directory: FidNumber,
        name: Name<'_>,
        what: Creation<'_>,
        gid: u32,
        reply: &mut Reply,
    ) -> Result<()> {
        let directory = self.fids.find(directory)?;
        let owner = Owner {
            uid: directory.uid,
            gid: Some(gid),
        };
        let made = self.fs.make(directory.node()?, name, what, owner)?;
        reply.qid(&made.qid);
        Ok(())
    }
}

/// A symbolic link to `target`, if there can be one.
pub(super) fn link_to(target: &[u8]) -> Result<Creation<'_>> {
    match target {
        [] => Err(Errno::NOENT),
        _ if target.len() > LINK_SIZE => Err(Errno::NAMETOOLONG),
        _ if target.contains(&0) => Err(Errno::INVAL),
        _ => Ok(Creation::Symlink(target)),
    }
}

/// P9_DOTL_AT_REMOVEDIR.
const AT_REMOVEDIR: u32 = 0x200;
