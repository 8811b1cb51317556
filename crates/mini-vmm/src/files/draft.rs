//! Files on the way to a machine: where none comes of it, those that were made are gone again, and
//! those that were to be emptied have what they had.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, fstat, ftruncate, open, seek};
use rustix::io::Errno;

/// What is not certain to stay.
#[derive(Debug, Default)]
pub(super) struct Draft {
    made: Vec<PathBuf>,
    /// To be emptied, but for what was written to them.
    full: Vec<OwnedFd>,
}

impl Draft {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of the host.
    pub(super) fn open(&mut self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        if flags.contains(OFlags::CREATE) {
            match open(path, flags | OFlags::EXCL, mode) {
                Err(Errno::EXIST) => {}
                made => {
                    let made = made?;
                    self.made.push(path.to_owned());
                    return Ok(made);
                }
            }
        }
        let file = open(path, flags - OFlags::TRUNC, mode)?;
        if flags.contains(OFlags::TRUNC) {
            self.full.push(file.try_clone()?);
        }
        Ok(file)
    }

    /// There is a machine: everything becomes as it was asked for.
    ///
    /// # Errors
    /// A file that cannot be emptied.
    pub(super) fn settle(mut self) -> io::Result<()> {
        self.made.clear();
        self.full.drain(..).try_for_each(|file| empty(file.into()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// As `O_TRUNC` would have, which has no effect on what is no regular file.
fn empty(file: File) -> io::Result<()> {
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        ftruncate(&file, seek(&file, SeekFrom::Current(0))?)?;
    }
    Ok(())
}
