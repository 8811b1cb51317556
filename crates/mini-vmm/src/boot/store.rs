//! Kernels that have been unpacked, kept for the next start: files in a directory of the user's.
//!
//! A file has a header, which says of which bzImage it is, and then the kernel. The bzImage is known by
//! what tells a file from all others and from earlier versions of itself, so it need not be read. Nothing
//! is believed that has another owner, that others may write to, or whose length is not what the header
//! says. A file gets its name when it is whole and on the disk, so its contents need not be read to be
//! believed; starts of machines at the same time do not see each other's.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::geteuid;

use super::extent::Extent;
use super::payload::Payload;
use super::random;
use crate::layout::Range;
use crate::options::{BadOption, KernelStore};

/// A directory of unpacked kernels.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    is_named: bool,
}

impl Store {
    /// The store that is `wanted`, `None` where there is no place for one.
    ///
    /// # Errors
    /// A directory that the user names and that is none.
    pub(super) fn open(wanted: &KernelStore) -> Result<Option<Self>, BadOption> {
        let (directory, is_named) = match wanted {
            KernelStore::Off => (None, false),
            KernelStore::Cache => (cache(), false),
            KernelStore::At(directory) => (Some(check(directory)?), true),
        };
        Ok(directory.map(|directory| Self {
            directory,
            is_named,
        }))
    }

    /// Whether the user names it.
    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// The kernel that is in the bzImage `file`: an earlier start's, or else `unpack`ed now.
    ///
    /// # Errors
    /// Those of the payload, and of a directory that takes no file.
    pub(super) fn kernel<'a>(
        &self,
        file: &File,
        unpack: impl FnOnce() -> io::Result<Payload<'a>>,
    ) -> io::Result<Extent> {
        let identity = Identity::of(file)?;
        let path = self.directory.join(identity.name());
        if let Some(kept) = identity.find(&path) {
            return Ok(kept);
        }
        let payload = unpack()?;
        let unfinished = Unfinished::create(&self.directory)?;
        let length = unfinished.fill(payload)?;
        if Identity::of(file)? != identity {
            return Err(io::Error::other("the kernel is being changed"));
        }
        let kept = unfinished.finish(&identity, length, &path)?;
        self.sweep();
        Ok(kept)
    }

    /// Removes what is too many, the longest unused first, and what a start left that was cut short.
    fn sweep(&self) {
        let mut kept: Vec<_> = entries(&self.directory, KEPT).collect();
        kept.sort();
        let few = kept.len().saturating_sub(MOST);
        let old = SystemTime::now().checked_sub(ABANDONED);
        let abandoned = entries(&self.directory, UNFINISHED).filter(|(used, _)| Some(*used) < old);
        for (_, path) in kept.into_iter().take(few).chain(abandoned) {
            let _ = fs::remove_file(path);
        }
    }
}

/// What tells a file from all others, and from what it was before it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: [u64; 2],
    changed: [u64; 2],
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: [data.mtime() as u64, data.mtime_nsec() as u64],
            changed: [data.ctime() as u64, data.ctime_nsec() as u64],
        })
    }

    /// One for each file: an earlier version of it is replaced.
    fn name(&self) -> String {
        format!("{:x}-{:x}{KEPT}", self.device, self.inode)
    }

    /// What a file begins with that keeps a kernel of `length` bytes.
    fn header(&self, length: u64) -> Vec<u8> {
        let words = [MAGIC, self.device, self.inode, self.size, length];
        let times = [self.modified, self.changed].into_iter().flatten();
        words
            .into_iter()
            .chain(times)
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    /// The kernel of this bzImage that is kept at `path`, whole.
    fn find(&self, path: &Path) -> Option<Extent> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = file.open(path).ok()?;
        let data = file.metadata().ok()?;
        let own = data.uid() == geteuid().as_raw() && data.mode() & WRITABLE_BY_OTHERS == 0;
        let length = data
            .len()
            .checked_sub(HEADER)
            .filter(|_| data.is_file() && own)?;
        let (expected, mut header) = (self.header(length), [0; WORDS * 8]);
        file.read_exact_at(&mut header, 0).ok()?;
        if expected != header {
            log::debug!("{} is of another kernel, or cut short", path.display());
            return None;
        }
        // It is used, so others are older.
        let _ = file.set_modified(SystemTime::now());
        Some(kernel_of(file, length))
    }
}

/// A file that has no name yet, or not its own; gone when it is dropped.
struct Unfinished {
    file: File,
    path: PathBuf,
}

impl Unfinished {
    fn create(directory: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let path = directory.join(format!("{:x}{UNFINISHED}", random()?));
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        Ok(Self { file, path })
    }

    /// Writes the kernel, but for the zeros in it, which are half of some. Returns its length.
    fn fill(&self, mut payload: Payload<'_>) -> io::Result<u64> {
        let (mut buffer, mut length) = (vec![0; BUFFER], 0);
        loop {
            let filled = payload.next(&mut buffer)?;
            let Some(bytes) = buffer.get(..filled).filter(|bytes| !bytes.is_empty()) else {
                self.file.set_len(HEADER + length)?;
                return Ok(length);
            };
            if bytes.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(bytes, HEADER + length)?;
            }
            length += filled as u64;
        }
    }

    fn finish(self, identity: &Identity, length: u64, path: &Path) -> io::Result<Extent> {
        self.file.write_all_at(&identity.header(length), 0)?;
        self.file.sync_all()?;
        fs::rename(&self.path, path)?;
        Ok(kernel_of(self.file.try_clone()?, length))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn kernel_of(file: File, length: u64) -> Extent {
    let range = Range {
        base: HEADER,
        size: length,
    };
    Extent::new(file, range)
}

/// The files in `directory` whose names end in `ending`, and when they were used.
fn entries(directory: &Path, ending: &str) -> impl Iterator<Item = (SystemTime, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let ours = entry.file_name().to_str()?.ends_with(ending);
        let used = entry.metadata().ok()?.modified().ok()?;
        ours.then(|| (used, entry.path()))
    })
}

/// `$XDG_CACHE_HOME/mini-vmm`, or `~/.cache/mini-vmm`.
fn cache() -> Option<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(cache?.join("mini-vmm"))
}

fn check(directory: &Path) -> Result<PathBuf, BadOption> {
    let bad = |why: io::Error| {
        let given = directory.display().to_string();
        let (name, accepted) = (KernelStore::NAME, KernelStore::ACCEPTED);
        BadOption::property("-machine", name, &given, why, accepted)
    };
    let data = fs::metadata(directory).map_err(bad)?;
    match data.is_dir() {
        true => Ok(directory.to_owned()),
        false => Err(bad(io::ErrorKind::NotADirectory.into())),
    }
}

/// To be changed with what a file looks like: `kernel 1`.
const MAGIC: u64 = u64::from_le_bytes(*b"kernel 1");
/// Space for the header: the kernel's pages are to be the file's.
const HEADER: u64 = 4096;
/// Of the header, 8 bytes each.
const WORDS: usize = 9;
const BUFFER: usize = 64 << 10;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Kernels that are kept.
const MOST: usize = 4;
const KEPT: &str = ".kernel";
const UNFINISHED: &str = ".unfinished";
/// Nobody unpacks that long.
const ABANDONED: Duration = Duration::from_secs(3600);

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
