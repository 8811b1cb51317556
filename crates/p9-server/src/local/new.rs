//! What was just made: from the host's hands into those of its owner.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, Stat};

use super::credentials::{Credentials, chmod, chown, set_attributes};
use super::node::{Node, descriptor_path};
use super::{Local, SecurityModel, metadata};
use crate::qid::PERMISSIONS;
use crate::{Found, Name, Owner, Result};

/// Something new.
pub(super) struct New<'f> {
    pub(super) node: Arc<Node>,
    /// What the host says of it.
    pub(super) stat: Stat,
    /// A file is still open, which saves the way by its path.
    pub(super) file: Option<BorrowedFd<'f>>,
}

impl Local {
    /// What was just made as `name` and is open as `file`.
    pub(super) fn enter_new<'f>(
        &self,
        file: &'f OwnedFd,
        directory: &Arc<Node>,
        name: Name<'_>,
    ) -> Result<New<'f>> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let path = descriptor_path(file.as_fd());
        let path = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let (node, stat) = self.tree.enter(path, directory, name)?;
        Ok(New {
            node,
            stat,
            file: Some(file.as_fd()),
        })
    }

    /// Gives something new, of this mode and device, to its owner, or removes it where that cannot be.
    pub(super) fn finish(
        &self,
        new: New<'_>,
        (directory, name): (&Arc<Node>, Name<'_>),
        (mode, rdev): (u32, u64),
        owner: Owner,
    ) -> Result<Found<Node>> {
        let to = Credentials {
            uid: owner.uid.unwrap_or(new.stat.st_uid),
            gid: owner.gid.unwrap_or(new.stat.st_gid),
            mode,
            rdev,
        };
        self.give(&new, &to).inspect_err(|_| {
            let _ = self.remove_entry(directory, name, new.node.is_directory());
        })?;
        let New { node, stat, .. } = new;
        let qid = self.devices.qid(mode, &stat)?;
        Ok(Found { node, qid })
    }

    fn give(&self, new: &New<'_>, to: &Credentials) -> Result<()> {
        match (self.model(), new.file) {
            (SecurityModel::None, _) => new.give(to, false),
            (SecurityModel::Passthrough, _) => new.give(to, true),
            (SecurityModel::MappedFile, _) => metadata::write(&new.node, to),
            (SecurityModel::MappedXattr, Some(file)) => set_attributes(file, to),
            (SecurityModel::MappedXattr, None) => self.keep(&new.node, to),
        }
    }
}

impl New<'_> {
    /// Changes what the host has made otherwise. To give it away may fail unless it `must` be.
    fn give(&self, to: &Credentials, must: bool) -> Result<()> {
        let Self { node, stat, .. } = self;
        let is_his = (stat.st_uid, stat.st_gid) == (to.uid, to.gid);
        if !is_his {
            let given = chown(node, Some(to.uid), Some(to.gid));
            given.or_else(|errno| if must { Err(errno) } else { Ok(()) })?;
        }
        // Whatever is given away loses its set-user-ID bit.
        let is_so = is_his && (stat.st_mode ^ to.mode) & PERMISSIONS == 0;
        match is_so || node.is_symlink() {
            true => Ok(()),
            false => chmod(node, to.mode),
        }
    }
}
