//! The security model mapped-file: a directory `.virtfs_metadata` in each directory has a file for
//! each entry, of lines such as `virtfs.uid=0`. For the shared directory itself it is the file
//! `.virtfs_metadata_root` in it.

use std::fmt::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::credentials::{Credentials, Kept};
use super::node::{Node, Place, open_entry};
use crate::qid::{S_IFMT, S_IFREG};
use crate::{Name, Result};

/// Whether a name is one of these, and not the client's.
pub(super) fn is_own(name: &[u8]) -> bool {
    name == DIRECTORY || name == ROOT
}

/// What was kept for `node`.
pub(super) fn read(node: &Node) -> Result<Kept> {
    let file = match node.place() {
        None => open(node, Name::new(ROOT)?, OFlags::RDONLY),
        Some(place) => directory(&place.parent)
            .and_then(|directory| open(directory, Name::new(&place.name)?, OFlags::RDONLY)),
    };
    match file {
        Ok(file) => {
            let mut bytes = [0; SIZE];
            let len = rustix::io::pread(&file, &mut bytes[..], 0)?;
            Ok(parse(bytes.get(..len).unwrap_or_default()))
        }
        Err(Errno::NOENT) => Ok(Kept::default()),
        Err(errno) => Err(errno),
    }
}

/// Keeps `new` for `node`. Those who read meanwhile find the old or the new.
pub(super) fn write(node: &Node, new: &Credentials) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = match node.place() {
        None => open(node, Name::new(ROOT)?, flags)?,
        Some(place) => {
            make_directory(&place.parent)?;
            open(directory(&place.parent)?, Name::new(&place.name)?, flags)?
        }
    };
    let text = format(new);
    match rustix::io::pwrite(&file, text.as_bytes(), 0)? == text.len() {
        true => rustix::fs::ftruncate(&file, text.len() as u64),
        false => Err(Errno::NOSPC),
    }
}

/// The entry `from` is at `to` as well.
pub(super) fn link(from: &Place, to: (&Node, Name<'_>)) -> Result<()> {
    let Some(old) = found(directory(&from.parent))? else {
        return Ok(());
    };
    make_directory(to.0)?;
    let new = directory(to.0)?;
    let linked = rustix::fs::linkat(&old, &*from.name, new, to.1.bytes(), AtFlags::empty());
    found(linked).map(drop)
}

/// The entry `from` is at `to` now, in the place of what was there.
pub(super) fn rename(from: (&Node, Name<'_>), to: (&Node, Name<'_>)) -> Result<()> {
    let Some(old) = found(directory(from.0))? else {
        return remove(to.0, to.1);
    };
    make_directory(to.0)?;
    let new = directory(to.0)?;
    let renamed = rustix::fs::renameat(&old, from.1.bytes(), new, to.1.bytes());
    match found(renamed)? {
        Some(()) => Ok(()),
        None => remove(to.0, to.1),
    }
}

/// An entry is gone.
pub(super) fn remove(parent: &Node, name: Name<'_>) -> Result<()> {
    let removed =
        directory(parent).and_then(|own| rustix::fs::unlinkat(own, name.bytes(), AtFlags::empty()));
    found(removed).map(drop)
}

/// A directory is to be removed: if nothing is kept in it, nothing of ours is left in it.
pub(super) fn remove_directory(node: &Node) {
    let _ = rustix::fs::unlinkat(node, DIRECTORY, AtFlags::REMOVEDIR);
}

fn directory(parent: &Node) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    open_entry(parent, Name::new(DIRECTORY)?, flags, Mode::empty())
}

fn make_directory(parent: &Node) -> Result<()> {
    match rustix::fs::mkdirat(parent, DIRECTORY, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Opens a file, which nobody else can have made something that waits.
fn open(directory: impl std::os::fd::AsFd, name: Name<'_>, flags: OFlags) -> Result<OwnedFd> {
    let mode = match flags.contains(OFlags::CREATE) {
        true => Mode::RUSR | Mode::WUSR,
        false => Mode::empty(),
    };
    let file = open_entry(directory, name, flags | OFlags::NONBLOCK, mode)?;
    match rustix::fs::fstat(&file)?.st_mode & S_IFMT {
        S_IFREG => Ok(file),
        _ => Err(Errno::INVAL),
    }
}

/// `None` for what is not there.
fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn parse(bytes: &[u8]) -> Kept {
    let mut kept = Kept::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        match key {
            "virtfs.uid" => kept.uid = value.parse().ok(),
            "virtfs.gid" => kept.gid = value.parse().ok(),
            "virtfs.mode" => kept.mode = value.parse().ok(),
            "virtfs.rdev" => kept.rdev = value.parse().ok(),
            _ => {}
        }
    }
    kept
}

fn format(new: &Credentials) -> String {
    let Credentials {
        uid,
        gid,
        mode,
        rdev,
    } = new;
    let mut text = format!("virtfs.uid={uid}\nvirtfs.gid={gid}\nvirtfs.mode={mode}\n");
    if *rdev != 0 {
        // Writing to a string does not fail.
        let _ = writeln!(text, "virtfs.rdev={rdev}");
    }
    text
}

const DIRECTORY: &[u8] = b".virtfs_metadata";
const ROOT: &[u8] = b".virtfs_metadata_root";
/// More than the text is long.
const SIZE: usize = 256;
