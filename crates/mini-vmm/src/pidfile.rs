//! `-pidfile`: made for this process alone, removed at the end.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::options::BadOption;

/// A pid file; removed when dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Makes the file, which must not exist, and writes the process id to it.
    ///
    /// # Errors
    /// A file that exists or cannot be made, under the option's name.
    pub fn create(path: &Path) -> Result<Self, BadOption> {
        let bad = |error: std::io::Error| {
            let accepted = "a path where a new file can be made";
            BadOption::value("-pidfile", &path.display().to_string(), error, accepted)
        };
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(bad)?;
        let this = Self(path.to_owned());
        writeln!(file, "{}", std::process::id()).map_err(bad)?;
        Ok(this)
    }

    /// The directory it is in.
    pub fn directory(&self) -> &Path {
        let parent = self
            .0
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

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
        assert!(
            PidFile::create(&path)
                .unwrap_err()
                .to_string()
                .contains("exists")
        );
        assert_eq!(file.directory(), dir.as_path());
        drop(file);
        assert!(!path.exists());
    }
}
