//! Making, naming and removing entries of directories.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::new::New;
use super::node::{Node, open_entry};
use super::{Local, SecurityModel, metadata};
use crate::qid::{
    PERMISSIONS, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
};
use crate::{Creation, Found, Name, Owner, Result};

impl Local {
    pub(super) fn make_entry(
        &self,
        directory: &Arc<Node>,
        name: Name<'_>,
        what: Creation<'_>,
        owner: Owner,
    ) -> Result<Found<Node>> {
        let kind = match what {
            Creation::Directory(mode) => (S_IFDIR | mode & PERMISSIONS, 0),
            Creation::Symlink(_) => (S_IFLNK | 0o777, 0),
            Creation::Node(mode, rdev) => (node_mode(mode)?, rdev),
        };
        let mapped = self.model().is_mapped();
        match what {
            Creation::Directory(_) => {
                let mode = if mapped { self.options.dmode } else { kind.0 };
                let mode = Mode::from_raw_mode(mode & PERMISSIONS);
                rustix::fs::mkdirat(directory, name.bytes(), mode)?;
            }
            _ if mapped => return self.make_stand_in((directory, name), what, kind, owner),
            Creation::Symlink(target) => rustix::fs::symlinkat(target, directory, name.bytes())?,
            Creation::Node(..) => make_node(directory, name, kind)?,
        }
        let (node, stat) = self.tree.lookup(directory, name)?;
        let new = New {
            node,
            stat,
            file: None,
        };
        self.finish(new, (directory, name), kind, owner)
    }

    /// A file in the place of a link, with its target in it, or of a node.
    fn make_stand_in(
        &self,
        (directory, name): (&Arc<Node>, Name<'_>),
        what: Creation<'_>,
        kind: (u32, u64),
        owner: Owner,
    ) -> Result<Found<Node>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = open_entry(directory, name, flags, self.file_mode(0))?;
        if let Creation::Symlink(target) = what {
            self.fill(&file, target, (directory, name))?;
        }
        let new = self.enter_new(&file, directory, name)?;
        self.finish(new, (directory, name), kind, owner)
    }

    fn fill(
        &self,
        file: &OwnedFd,
        target: &[u8],
        (directory, name): (&Arc<Node>, Name<'_>),
    ) -> Result<()> {
        let written = match rustix::io::pwrite(file, target, 0) {
            Ok(len) if len < target.len() => Err(Errno::NOSPC),
            written => written.map(drop),
        };
        written.inspect_err(|_| {
            let _ = self.remove_entry(directory, name, false);
        })
    }

    pub(super) fn link_node(
        &self,
        node: &Node,
        directory: &Arc<Node>,
        name: Name<'_>,
    ) -> Result<()> {
        // The path leads to the file itself, and no further.
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(CWD, node.path(), directory, name.bytes(), flags)?;
        match (self.model(), node.place()) {
            (SecurityModel::MappedFile, Some(place)) => metadata::link(&place, (directory, name))
                .inspect_err(|_| {
                    let _ = rustix::fs::unlinkat(directory, name.bytes(), AtFlags::empty());
                }),
            _ => Ok(()),
        }
    }

    pub(super) fn move_entry(
        &self,
        (from, old): (&Arc<Node>, Name<'_>),
        (to, new): (&Arc<Node>, Name<'_>),
    ) -> Result<()> {
        if self.model() == SecurityModel::MappedFile
            && let Ok((replaced, _)) = self.tree.lookup(to, new)
            && replaced.is_directory()
        {
            metadata::remove_directory(&replaced);
        }
        rustix::fs::renameat(from, old.bytes(), to, new.bytes())?;
        self.tree.moved((from, old), (to, new));
        match self.model() {
            SecurityModel::MappedFile => metadata::rename((from, old), (to, new)),
            _ => Ok(()),
        }
    }

    pub(super) fn remove_entry(
        &self,
        from: &Arc<Node>,
        name: Name<'_>,
        directory: bool,
    ) -> Result<()> {
        let own = self.model() == SecurityModel::MappedFile;
        if own && directory {
            metadata::remove_directory(&self.tree.lookup(from, name)?.0);
        }
        let flags = match directory {
            true => AtFlags::REMOVEDIR,
            false => AtFlags::empty(),
        };
        rustix::fs::unlinkat(from, name.bytes(), flags)?;
        match own {
            true => metadata::remove(from, name),
            false => Ok(()),
        }
    }
}

/// The mode of a node that can be made.
fn node_mode(mode: u32) -> Result<u32> {
    match mode & S_IFMT {
        0 => Ok(S_IFREG | mode & PERMISSIONS),
        S_IFREG | S_IFIFO | S_IFSOCK | S_IFCHR | S_IFBLK => Ok(mode & (S_IFMT | PERMISSIONS)),
        _ => Err(Errno::INVAL),
    }
}

fn make_node(directory: &Node, name: Name<'_>, (mode, rdev): (u32, u64)) -> Result<()> {
    let kind = FileType::from_raw_mode(mode);
    let bits = Mode::from_raw_mode(mode & PERMISSIONS);
    rustix::fs::mknodat(directory, name.bytes(), kind, bits, rdev)
}
