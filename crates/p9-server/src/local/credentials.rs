//! Owners and modes, wherever the security model keeps them.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::node::Node;
use super::{Local, SecurityModel, metadata};
use crate::qid::{PERMISSIONS, S_IFMT, S_IFREG};
use crate::{Changes, Result};

/// What the client has a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// With what the file is.
    pub(super) mode: u32,
    /// The device, if it is a node of one.
    pub(super) rdev: u64,
}

/// Those that were kept for a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<u32>,
    pub(super) rdev: Option<u64>,
}

impl Local {
    pub(super) fn credentials(&self, node: &Node, stat: &Stat) -> Result<Credentials> {
        let kept = match self.model() {
            SecurityModel::None | SecurityModel::Passthrough => Kept::default(),
            SecurityModel::MappedXattr => read_xattrs(node)?,
            SecurityModel::MappedFile => metadata::read(node)?,
        };
        Ok(Credentials {
            uid: kept.uid.unwrap_or(stat.st_uid),
            gid: kept.gid.unwrap_or(stat.st_gid),
            mode: kept.mode_over(node, stat),
            rdev: kept.rdev.unwrap_or(stat.st_rdev),
        })
    }

    /// The mode alone.
    pub(super) fn mode(&self, node: &Node, stat: &Stat) -> Result<u32> {
        let kept = match self.model() {
            SecurityModel::None | SecurityModel::Passthrough => return Ok(stat.st_mode),
            SecurityModel::MappedXattr => Kept {
                mode: number(&node.path(), MODE)?,
                ..Kept::default()
            },
            SecurityModel::MappedFile => metadata::read(node)?,
        };
        Ok(kept.mode_over(node, stat))
    }

    pub(super) fn change_credentials(&self, node: &Node, changes: &Changes) -> Result<()> {
        let Changes { mode, uid, gid, .. } = *changes;
        if (mode, uid, gid) == (None, None, None) {
            return Ok(());
        }
        let stat = node.stat()?;
        let old = self.credentials(node, &stat)?;
        let owned = uid.is_some() || gid.is_some();
        // Another owner has not said that others may run it in his name.
        let kept = match owned && old.mode & S_IFMT == S_IFREG {
            true => without_set_id(old.mode),
            false => old.mode,
        };
        let new = Credentials {
            uid: uid.unwrap_or(old.uid),
            gid: gid.unwrap_or(old.gid),
            mode: mode.map_or(kept, |mode| old.mode & S_IFMT | mode & PERMISSIONS),
            ..old
        };
        if self.model().is_mapped() {
            return self.keep(node, &new);
        }
        if owned {
            chown(node, uid, gid)?;
        }
        match mode.is_some() || new.mode != old.mode {
            true => chmod(node, new.mode),
            false => Ok(()),
        }
    }

    /// Whoever writes a file does not say that it may be run in the name of its owner.
    pub(super) fn strip_set_id(&self, node: &Node) -> Result<()> {
        let mode = without_set_id(self.mode(node, &node.stat()?)?);
        let changes = Changes {
            mode: Some(mode),
            ..Changes::default()
        };
        self.change_credentials(node, &changes)
    }

    pub(super) fn keep(&self, node: &Node, new: &Credentials) -> Result<()> {
        match self.model() {
            SecurityModel::MappedFile => metadata::write(node, new),
            _ => {
                let path = node.path();
                let flags = XattrFlags::empty();
                write_xattrs(new, |name, value| {
                    rustix::fs::setxattr(&*path, name, value, flags)
                })
            }
        }
    }
}

impl Kept {
    /// The mode that was kept, with what the host knows better: a directory is one, and what the
    /// host has for something else than a file is that.
    fn mode_over(&self, node: &Node, stat: &Stat) -> u32 {
        match self.mode {
            None => stat.st_mode,
            Some(mode) if node.is_regular() && mode & S_IFMT != 0 => mode,
            Some(mode) => stat.st_mode & S_IFMT | mode & PERMISSIONS,
        }
    }
}

/// Whether a file of this mode runs in another's name.
pub(super) fn has_set_id(mode: u32) -> bool {
    without_set_id(mode) != mode
}

fn without_set_id(mode: u32) -> u32 {
    let group = if mode & S_IXGRP != 0 { S_ISGID } else { 0 };
    mode & !(S_ISUID | group)
}

/// Whether the file system of `node` has extended attributes.
pub(super) fn probe(node: &Node) -> Result<()> {
    number::<u32, 4>(&node.path(), UID).map(drop)
}

fn read_xattrs(node: &Node) -> Result<Kept> {
    let path = node.path();
    Ok(Kept {
        uid: number(&path, UID)?,
        gid: number(&path, GID)?,
        mode: number(&path, MODE)?,
        rdev: number(&path, RDEV)?,
    })
}

/// Keeps `new` in the attributes of a file that is open.
pub(super) fn set_attributes(file: BorrowedFd<'_>, new: &Credentials) -> Result<()> {
    let flags = XattrFlags::empty();
    write_xattrs(new, |name, value| {
        rustix::fs::fsetxattr(file, name, value, flags)
    })
}

fn write_xattrs(new: &Credentials, set: impl Fn(&str, &[u8]) -> Result<()>) -> Result<()> {
    set(UID, &new.uid.to_le_bytes())?;
    set(GID, &new.gid.to_le_bytes())?;
    set(MODE, &new.mode.to_le_bytes())?;
    match new.rdev {
        0 => Ok(()),
        rdev => set(RDEV, &rdev.to_le_bytes()),
    }
}

/// A number in an attribute, if it is there.
fn number<T: FromLe<N>, const N: usize>(path: &str, name: &str) -> Result<Option<T>> {
    let mut bytes = [0; N];
    match rustix::fs::getxattr(path, name, &mut bytes[..]) {
        Ok(len) => Ok((len == N).then(|| T::from_le(bytes))),
        // What is no file or directory has none.
        Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Little-endian bytes as a number.
trait FromLe<const N: usize> {
    fn from_le(bytes: [u8; N]) -> Self;
}

impl FromLe<4> for u32 {
    fn from_le(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }
}

impl FromLe<8> for u64 {
    fn from_le(bytes: [u8; 8]) -> Self {
        Self::from_le_bytes(bytes)
    }
}

pub(super) fn chmod(node: &Node, mode: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(mode & PERMISSIONS);
    rustix::fs::chmodat(CWD, node.path(), mode, AtFlags::empty())
}

pub(super) fn chown(node: &Node, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    // All ones would mean no change, and are no user.
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(Errno::INVAL);
    }
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    rustix::fs::chownat(node, "", uid, gid, AtFlags::EMPTY_PATH)
}

const UID: &str = "user.virtfs.uid";
const GID: &str = "user.virtfs.gid";
const MODE: &str = "user.virtfs.mode";
const RDEV: &str = "user.virtfs.rdev";
const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_IXGRP: u32 = 0o0010;
