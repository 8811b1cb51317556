//! Facts of a file that holds a disk, and its lock.

mod common;

use std::fs::File;
use std::io::ErrorKind;

use common::{PAGE, contents, file_of, pattern};
use guest_io::{Access, BlockSize, Disk, FileRange, lock};

fn range(offset: usize, len: usize) -> FileRange {
    FileRange::new(offset as u64, len as u64).unwrap()
}

#[test]
fn a_regular_file() {
    let disk = Disk::new(file_of(&pattern(1000))).unwrap();
    assert_eq!(disk.size().unwrap(), 1000);
    assert_eq!(
        disk.block_size().unwrap(),
        BlockSize {
            logical: 512,
            physical: 512
        }
    );
    assert!(!disk.is_block_device() && !disk.is_direct());
    disk.sync_data().unwrap();
}

/// Those that the tests may open, which is none without privileges.
#[test]
fn block_devices_tell_what_sysfs_tells() {
    for entry in std::fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten()
    {
        let Ok(file) = File::open(std::path::Path::new("/dev").join(entry.file_name())) else {
            continue;
        };
        let fact = |name: &str| -> Option<u64> {
            std::fs::read_to_string(entry.path().join(name))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let disk = Disk::new(file).unwrap();
        assert!(disk.is_block_device());
        assert_eq!(disk.size().unwrap(), fact("size").unwrap() * 512);
        let Some(logical) = fact("queue/logical_block_size") else {
            continue;
        };
        let size = disk.block_size().unwrap();
        assert_eq!(u64::from(size.logical), logical);
        assert_eq!(
            u64::from(size.physical),
            fact("queue/physical_block_size").unwrap()
        );
    }
}

#[test]
fn bug_74_only_files_and_block_devices_are_disks() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(reader));
    for file in [
        pipe,
        File::open("/dev/null").unwrap(),
        File::open("/").unwrap(),
    ] {
        assert_eq!(Disk::new(file).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn zeroing_keeps_the_size_and_what_is_around() {
    for may_unmap in [false, true] {
        let file = file_of(&pattern(4 * PAGE));
        let disk = Disk::new(file.try_clone().unwrap()).unwrap();
        disk.write_zeroes(range(10, 2 * PAGE), may_unmap).unwrap();
        disk.write_zeroes(range(10, 0), may_unmap).unwrap();
        let mut expected = pattern(4 * PAGE);
        expected[10..2 * PAGE + 10].fill(0);
        assert_eq!(contents(&file), expected);
    }
}

#[test]
fn zeroes_are_written_where_there_is_no_short_way() {
    // Memory files have no ZERO_RANGE; the range is longer than one piece.
    let memfd = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::empty()).unwrap();
    let file = File::from(memfd);
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 50 * PAGE], 0).unwrap();
    let disk = Disk::new(file.try_clone().unwrap()).unwrap();
    disk.write_zeroes(range(1, 50 * PAGE - 2), false).unwrap();
    let bytes = contents(&file);
    assert_eq!((bytes[0], bytes[50 * PAGE - 1]), (0xff, 0xff));
    assert!(bytes[1..50 * PAGE - 1].iter().all(|byte| *byte == 0));
}

#[test]
fn discarding_frees_storage() {
    use std::os::unix::fs::MetadataExt;
    let file = file_of(&pattern(64 * PAGE));
    file.sync_all().unwrap();
    let before = file.metadata().unwrap().blocks();
    let disk = Disk::new(file.try_clone().unwrap()).unwrap();
    disk.discard(range(0, 32 * PAGE)).unwrap();
    disk.discard(range(0, 0)).unwrap();
    assert!(file.metadata().unwrap().blocks() < before);
    assert_eq!(file.metadata().unwrap().len(), 64 * PAGE as u64);
}

#[test]
fn one_writer_or_many_readers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, b"x").unwrap();
    let open = || File::options().read(true).write(true).open(&path).unwrap();
    let busy = |access| lock(open(), access).unwrap_err().kind() == ErrorKind::WouldBlock;
    let (first, second) = (open(), open());
    lock(&first, Access::Read).unwrap();
    lock(&second, Access::Read).unwrap();
    assert!(busy(Access::Write));
    drop(second);
    lock(&first, Access::Write).unwrap();
    lock(&first, Access::Write).unwrap();
    assert!(busy(Access::Write) && busy(Access::Read));
    let duplicate = first.try_clone().unwrap();
    drop(first);
    assert!(busy(Access::Write));
    drop(duplicate);
    lock(open(), Access::Write).unwrap();
    let error = lock(File::open(&path).unwrap(), Access::Write).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}
