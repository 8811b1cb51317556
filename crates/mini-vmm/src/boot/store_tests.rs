use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use tempfile::TempDir;

use super::super::bzimage::BzImage;
use super::super::fixture::{bzimage, elf, xz};
use super::*;

/// A directory with a store in it and a bzImage beside.
struct Files {
    directory: TempDir,
    store: Store,
    unpacked: Cell<u32>,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("store")).unwrap();
        let wanted = KernelStore::At(directory.path().join("store"));
        let files = Self {
            store: Store::open(&wanted).unwrap().unwrap(),
            directory,
            unpacked: Cell::new(0),
        };
        files.write("bzImage", &elf(&[]));
        files
    }

    fn write(&self, name: &str, kernel: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bzimage(&xz(kernel), 1 << 20)).unwrap();
        path
    }

    /// What the store has for a bzImage.
    fn kernel(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.directory.path().join(name);
        let kept = start(&self.store, &path, || {
            self.unpacked.set(self.unpacked.get() + 1)
        })?;
        let mut bytes = vec![0; kept.size() as usize];
        kept.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.store.directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn only(&self) -> PathBuf {
        let kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        kept[0].clone()
    }
}

fn start(store: &Store, path: &Path, unpacks: impl FnOnce()) -> io::Result<Extent> {
    let packed = Extent::whole(File::open(path)?)?;
    let image = BzImage::parse(&packed).map_err(io::Error::other)?;
    store.kernel(packed.file(), || {
        unpacks();
        Payload::find(&packed, &image)
    })
}

#[test]
fn a_kernel_is_unpacked_once() {
    let files = Files::new();
    for _ in 0..3 {
        assert_eq!(files.kernel("bzImage").unwrap(), elf(&[]));
    }
    assert_eq!(files.unpacked.get(), 1);
    let mode = fs::metadata(files.only()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_kernel_that_was_changed_takes_the_place_of_the_earlier() {
    let files = Files::new();
    files.kernel("bzImage").unwrap();
    let new = elf(&[0, 0]);
    // The same file with other contents: its times are moved, should the clock stand still.
    let path = files.write("bzImage", &new);
    let later = SystemTime::now() + Duration::from_secs(2);
    File::open(path).unwrap().set_modified(later).unwrap();
    assert_eq!(files.kernel("bzImage").unwrap(), new);
    assert_eq!(files.unpacked.get(), 2);
    files.only();
}

#[test]
fn what_is_of_another_kernel_or_cut_short_is_not_believed() {
    let files = Files::new();
    let kernel = files.kernel("bzImage").unwrap();
    let kept = files.only();
    let whole = fs::read(&kept).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let words = WORDS * 8;
    let mut damaged: Vec<_> = (0..words).step_by(8).map(flipped).collect();
    damaged.extend([0, words - 1, 4096, whole.len() - 1].map(|length| whole[..length].to_vec()));
    damaged.push([&whole[..], &[0]].concat());
    for (index, bytes) in damaged.iter().enumerate() {
        fs::write(&kept, bytes).unwrap();
        let before = files.unpacked.get();
        assert_eq!(files.kernel("bzImage").unwrap(), kernel);
        assert_eq!(files.unpacked.get(), before + 1, "{index}");
        assert_eq!(fs::read(files.only()).unwrap(), whole);
    }
}

#[test]
fn files_of_others_are_not_believed() {
    let files = Files::new();
    let kernel = files.kernel("bzImage").unwrap();
    let kept = files.only();
    let elsewhere = files.directory.path().join("elsewhere");
    let mode = |mode| fs::set_permissions(&kept, fs::Permissions::from_mode(mode)).unwrap();
    let spoil: [&dyn Fn(); 5] = [
        &|| mode(0o620),
        &|| mode(0o602),
        &|| {
            fs::rename(&kept, &elsewhere).unwrap();
            symlink(&elsewhere, &kept).unwrap();
        },
        // A FIFO must not be waited for.
        &|| {
            fs::remove_file(&kept).unwrap();
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, &kept, mode).unwrap();
        },
        // Only root can give files away; for anybody else the mode stands for it.
        &|| std::os::unix::fs::chown(&kept, Some(12345), None).unwrap_or_else(|_| mode(0o666)),
    ];
    for (index, spoil) in spoil.iter().enumerate() {
        spoil();
        let before = files.unpacked.get();
        assert_eq!(files.kernel("bzImage").unwrap(), kernel);
        assert_eq!(files.unpacked.get(), before + 1, "{index}");
        assert!(fs::symlink_metadata(files.only()).unwrap().is_file());
    }
}

#[test]
fn starts_at_the_same_time_all_get_the_kernel() {
    let files = Files::new();
    let path = files.directory.path().join("bzImage");
    let (store, path) = (&files.store, &path);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                let kept = start(store, path, || {}).unwrap();
                let mut bytes = vec![0; kept.size() as usize];
                kept.read_exact_at(&mut bytes, 0).unwrap();
                assert_eq!(bytes, elf(&[]));
            });
        }
    });
    files.only();
    assert_eq!(files.kernel("bzImage").unwrap(), elf(&[]));
    assert_eq!(files.unpacked.get(), 0);
}

#[test]
fn few_are_kept_and_none_that_was_abandoned() {
    let files = Files::new();
    let age = |path: &Path, seconds| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::open(path).unwrap().set_modified(time).unwrap();
    };
    let names = ["a", "b", "c", "d"];
    for (name, seconds) in names.into_iter().zip([500, 400, 300, 200]) {
        files.write(name, &elf(&[]));
        files.kernel(name).unwrap();
        let newest = files.kept().into_iter().max_by_key(|path| modified(path));
        age(&newest.unwrap(), seconds);
    }
    let others = ["1.unfinished", "2.unfinished", "notes"].map(|name| {
        let path = files.store.directory.join(name);
        fs::write(&path, name).unwrap();
        path
    });
    others
        .iter()
        .zip([7200, 60, 7200])
        .for_each(|(path, seconds)| age(path, seconds));
    // The first is used again, so the second is the oldest.
    files.kernel("a").unwrap();
    files.kernel("bzImage").unwrap();
    assert_eq!(files.unpacked.get(), 5);
    assert_eq!(others.map(|path| path.exists()), [false, true, true]);
    assert_eq!(files.kept().len(), 4 + 2);
    for (name, unpacked) in [("a", 5), ("c", 5), ("d", 5), ("bzImage", 5), ("b", 6)] {
        files.kernel(name).unwrap();
        assert_eq!(files.unpacked.get(), unpacked, "{name}");
    }
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn payloads_that_cannot_be_unpacked_leave_nothing_behind() {
    let files = Files::new();
    let mut broken = xz(&elf(&[]));
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    let path = files.directory.path().join("broken");
    fs::write(&path, bzimage(&broken, 1 << 20)).unwrap();
    assert!(files.kernel("broken").is_err());
    assert_eq!(files.kept(), [] as [PathBuf; 0]);
    fs::remove_dir(&files.store.directory).unwrap();
    fs::write(&files.store.directory, "no directory").unwrap();
    assert!(files.kernel("bzImage").is_err());
}

#[test]
fn directories_that_are_none_are_refused() {
    let wanted = KernelStore::At("/dev/null".into());
    let error = Store::open(&wanted).unwrap_err().to_string();
    let start = "-machine kernel-store=/dev/null: ";
    let end = "; accepted: off, or a directory";
    assert!(error.starts_with(start) && error.ends_with(end), "{error}");
    assert!(Store::open(&KernelStore::Off).unwrap().is_none());
}
