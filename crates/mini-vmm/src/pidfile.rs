//! `-pidfile`: names the process that has it locked; removed at the end.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use guest_io::{Access, lock};

use crate::options::BadOption;

/// A pid file; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Locked for as long as it is open.
    _file: File,
}

impl PidFile {
    /// Makes the file and writes the process id to it. One that a killed process left is taken
    /// over.
    ///
    /// # Errors
    /// A file that cannot be made, that a running process has, or that holds anything but a
    /// process id, under the option's name.
    pub fn create(path: &Path) -> Result<Self, BadOption> {
        let file = take(path).and_then(|mut file| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            Ok(file)
        });
        let accepted = "a new file, or one whose process has ended";
        let bad =
            |error| BadOption::value("-pidfile", &path.display().to_string(), error, accepted);
        Ok(Self {
            path: path.to_owned(),
            _file: file.map_err(bad)?,
        })
    }

    /// The directory it is in.
    pub fn directory(&self) -> &Path {
        let parent = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens and locks the file at `path`. Its last owner may remove it meanwhile: then once more.
fn take(path: &Path) -> io::Result<File> {
    loop {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        // What is no file is not waited for.
        let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
        lock(&file, Access::Write).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => io::Error::other("its process is running"),
            _ => error,
        })?;
        check(&file)?;
        let there = std::fs::metadata(path).map(|there| there.ino());
        if there.is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there)) {
            return Ok(file);
        }
    }
}

/// Nothing is overwritten but an old process id.
fn check(file: &File) -> io::Result<()> {
    let mut text = String::new();
    let read = file.take(MOST + 1).read_to_string(&mut text);
    let text = read.map(|_| text.trim_end()).unwrap_or("?");
    match text.len() as u64 <= MOST && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(io::Error::other("not a pid file")),
    }
}

/// More bytes than a process id has.
const MOST: u64 = 20;

#[cfg(test)]
mod tests {
    use vmm_sys_util::tempdir::TempDir;

    use super::*;

    #[test]
    fn holds_the_process_id_and_goes_with_it() {
        let dir = TempDir::new().unwrap();
        let path = dir.as_path().join("pid");
        let file = PidFile::create(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        let error = PidFile::create(&path).unwrap_err().to_string();
        assert!(error.contains("its process is running"), "{error}");
        assert_eq!(file.directory(), dir.as_path());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = TempDir::new().unwrap();
        let path = dir.as_path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = PidFile::create(&path).unwrap_err().to_string();
        assert!(error.contains("not a pid file"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn only_what_a_killed_process_left_is_taken_over() {
        let dir = TempDir::new().unwrap();
        let path = dir.as_path().join("pid");
        for left in ["", "4194304\n"] {
            std::fs::write(&path, left).unwrap();
            drop(PidFile::create(&path).unwrap());
            assert!(!path.exists());
        }
        for precious in ["root:x:0:0\n", "123456789012345678901", "\u{661}", "1 2"] {
            std::fs::write(&path, precious).unwrap();
            let error = PidFile::create(&path).unwrap_err().to_string();
            assert!(error.contains("not a pid file"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), precious);
        }
    }
}
