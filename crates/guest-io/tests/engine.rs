//! The choice between doing a request at once and leaving it to the ring.

mod common;

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use common::{Guard, PAGE, contents, dirty_pages, file_of, gather, memory, pattern, push, scatter};
use guest_io::{
    Completion, Deferred, Disk, Engine, FileRange, Flags, Iovecs, Mode, Segment, Storage,
    SubmitError, Submitted,
};
use seccompiler::{SeccompAction, SeccompFilter};
use vm_memory::{GuestAddress, Permissions};

const MODES: [Mode; 3] = [Mode::Auto, Mode::Uring, Mode::Sync];

fn engine(file: &File, mode: Mode) -> Engine<Guard> {
    let disk = Arc::new(Disk::new(file.try_clone().unwrap()).unwrap());
    Engine::new(disk, mode, 2).unwrap()
}

fn submit(
    engine: &mut Engine<Guard>,
    memory: &Guard,
    segments: &[Segment],
    (offset, write): (u64, Option<Flags>),
) -> Result<Submitted, SubmitError> {
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &**memory, segments, Permissions::ReadWrite);
    let deferred = Deferred {
        token: 5,
        memory,
        segments: segments.iter().copied(),
    };
    match write {
        None => engine.read(offset, &mut iovecs, deferred),
        Some(flags) => engine.write(offset, flags, &mut iovecs, deferred),
    }
}

fn result(engine: &mut Engine<Guard>, submitted: Submitted) -> io::Result<usize> {
    match submitted {
        Submitted::Done(result) => result,
        Submitted::InFlight => loop {
            engine.wait()?;
            if let Some(Completion { token, result }) = engine.poll() {
                assert_eq!(token, 5);
                return result;
            }
        },
    }
}

fn evict(file: &File) {
    file.sync_all().unwrap();
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Where the file system knows no direct I/O, there is nothing to be aligned.
#[test]
fn memory_that_direct_io_does_not_take_is_copied() {
    let segments = [
        (GuestAddress(0xf001), 1000),
        (GuestAddress(0x40003), 2 * PAGE - 1000),
    ];
    for mode in MODES {
        let (memory, file) = (memory(), file_of(&pattern(4 * PAGE)));
        let _ = rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::DIRECT);
        let mut engine = engine(&file, mode);
        let read = submit(&mut engine, &memory, &segments, (PAGE as u64, None)).unwrap();
        assert_eq!(result(&mut engine, read).unwrap(), 2 * PAGE);
        let expected = &pattern(4 * PAGE)[PAGE..3 * PAGE];
        assert_eq!(gather(&memory, &segments), expected, "{mode:?}");
        assert_eq!(dirty_pages(&memory), [0xf000, 0x40000, 0x41000]);
        let write = (0, Some(Flags::DSYNC));
        let written = submit(&mut engine, &memory, &segments, write).unwrap();
        assert_eq!(result(&mut engine, written).unwrap(), 2 * PAGE);
        rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::empty()).unwrap();
        assert_eq!(&contents(&file)[..2 * PAGE], expected, "{mode:?}");
    }
}

#[test]
fn every_mode_reads_and_writes_the_same() {
    let segments = [
        (GuestAddress(0xfff0), 0x20),
        (GuestAddress(0x40100), 2 * PAGE),
    ];
    let bytes = pattern(0x20 + 2 * PAGE);
    for mode in MODES {
        for flags in [Flags::NONE, Flags::DSYNC] {
            let (memory, file) = (memory(), file_of(&[1; 100]));
            let mut engine = engine(&file, mode);
            scatter(&memory, &segments, &bytes);
            let submitted = submit(&mut engine, &memory, &segments, (50, Some(flags))).unwrap();
            assert_eq!(result(&mut engine, submitted).unwrap(), bytes.len());
            assert_eq!(contents(&file)[..50], [1; 50]);
            assert_eq!(contents(&file)[50..], bytes);
            scatter(&memory, &segments, &vec![0; bytes.len()]);
            let submitted = submit(&mut engine, &memory, &segments, (50, None)).unwrap();
            assert_eq!(result(&mut engine, submitted).unwrap(), bytes.len());
            assert_eq!(gather(&memory, &segments), bytes, "{mode:?} {flags:?}");
            let dirty = [0xf000, 0x10000, 0x40000, 0x41000, 0x42000];
            assert_eq!(dirty_pages(&memory), dirty);
            assert_eq!(engine.in_flight(), 0);
        }
    }
}

#[test]
fn every_mode_ends_a_read_at_the_end_of_the_file() {
    for mode in MODES {
        let (memory, file) = (memory(), file_of(&pattern(100)));
        let mut engine = engine(&file, mode);
        for (offset, expected) in [(0, 100), (60, 40), (100, 0), (5000, 0)] {
            let segments = [(GuestAddress(0), 300)];
            let submitted = submit(&mut engine, &memory, &segments, (offset, None)).unwrap();
            assert_eq!(
                result(&mut engine, submitted).unwrap(),
                expected,
                "{mode:?}"
            );
        }
    }
}

/// Linux 5.9 and 5.10 return 0 from some `RWF_NOWAIT` reads before the end of the file.
#[test]
fn the_end_of_the_file_is_believed_only_of_a_read_that_may_wait() {
    let memory = memory();
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&pattern(100)).unwrap();
    let mut engine = engine(&file, Mode::Auto);
    let segments = [(GuestAddress(0), 300)];
    let submitted = submit(&mut engine, &memory, &segments, (0, None)).unwrap();
    assert!(matches!(submitted, Submitted::InFlight), "{submitted:?}");
    assert_eq!(result(&mut engine, submitted).unwrap(), 100);
}

#[test]
fn every_mode_refuses_offsets_beyond_the_largest() {
    for mode in MODES {
        let (memory, file) = (memory(), file_of(&pattern(100)));
        let mut engine = engine(&file, mode);
        for write in [None, Some(Flags::NONE)] {
            let segments = [(GuestAddress(0), 1)];
            match submit(&mut engine, &memory, &segments, (u64::MAX, write)) {
                Ok(Submitted::Done(result)) => assert!(result.is_err()),
                Ok(Submitted::InFlight) => panic!("{mode:?}"),
                Err(error) => assert!(matches!(error, SubmitError::Offset(_))),
            }
        }
        assert_eq!(contents(&file), pattern(100));
    }
}

#[test]
fn every_mode_zeroes_discards_and_syncs() {
    for mode in MODES {
        let file = file_of(&[0xff; 4 * PAGE]);
        let mut engine = engine(&file, mode);
        let range = |first: usize, len: usize| FileRange::new(first as u64, len as u64).unwrap();
        let submitted = engine.write_zeroes(5, range(100, PAGE), false).unwrap();
        result(&mut engine, submitted).unwrap();
        let submitted = engine.write_zeroes(5, range(2 * PAGE, PAGE), true).unwrap();
        result(&mut engine, submitted).unwrap();
        let submitted = engine.discard(5, range(3 * PAGE, PAGE)).unwrap();
        result(&mut engine, submitted).unwrap();
        for empty in [
            engine.write_zeroes(5, range(0, 0), true),
            engine.discard(5, range(0, 0)),
        ] {
            result(&mut engine, empty.unwrap()).unwrap();
        }
        let submitted = engine.sync_data(5).unwrap();
        result(&mut engine, submitted).unwrap();
        let mut expected = vec![0xff; 4 * PAGE];
        expected[100..PAGE + 100].fill(0);
        expected[2 * PAGE..].fill(0);
        assert_eq!(contents(&file), expected, "{mode:?}");
    }
}

#[test]
fn what_is_cached_is_done_at_once_and_the_rest_is_left() {
    let (memory, bytes) = (memory(), pattern(16 * PAGE));
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, &bytes).unwrap();
    let file = File::open(&path).unwrap();
    let mut engine = engine(&file, Mode::Auto);
    let segments = [
        (GuestAddress(0), 8 * PAGE),
        (GuestAddress(0x40000), 8 * PAGE),
    ];
    let submitted = submit(&mut engine, &memory, &segments, (0, None)).unwrap();
    assert!(matches!(submitted, Submitted::Done(Ok(count)) if count == 16 * PAGE));
    evict(&file);
    // The first pages come back without those behind them.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut [0; 2 * PAGE], 0).unwrap();
    scatter(&memory, &segments, &vec![0; bytes.len()]);
    let submitted = submit(&mut engine, &memory, &segments, (0, None)).unwrap();
    assert!(matches!(submitted, Submitted::InFlight), "{submitted:?}");
    assert_eq!(dirty_pages(&memory), [0, PAGE as u64]);
    assert_eq!(result(&mut engine, submitted).unwrap(), 16 * PAGE);
    assert_eq!(gather(&memory, &segments), bytes);
    assert_eq!(dirty_pages(&memory).len(), 14);
}

#[test]
fn files_in_memory_never_go_to_the_ring() {
    let memfd = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::empty()).unwrap();
    let (memory, file, segments) = (memory(), File::from(memfd), [(GuestAddress(0), 3 * PAGE)]);
    let mut engine = engine(&file, Mode::Auto);
    assert!(engine.disk().is_in_memory() && engine.refusal().is_none());
    for write in [Some(Flags::NONE), Some(Flags::DSYNC), None] {
        let submitted = submit(&mut engine, &memory, &segments, (0, write)).unwrap();
        assert!(matches!(submitted, Submitted::Done(Ok(count)) if count == 3 * PAGE));
    }
}

#[test]
fn a_file_system_that_cannot_but_wait_is_left_to_the_ring() {
    // procfs has neither RWF_NOWAIT nor fallocate.
    let file = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/comm")
        .unwrap();
    let expected = std::fs::read("/proc/self/comm").unwrap();
    for mode in MODES {
        let (memory, mut engine) = (memory(), engine(&file, mode));
        for _ in 0..2 {
            let segments = [(GuestAddress(0), 100)];
            let submitted = submit(&mut engine, &memory, &segments, (0, None)).unwrap();
            assert_eq!(matches!(submitted, Submitted::Done(_)), mode == Mode::Sync);
            assert_eq!(result(&mut engine, submitted).unwrap(), expected.len());
            assert_eq!(
                gather(&memory, &[(GuestAddress(0), expected.len())]),
                expected
            );
        }
        let submitted = engine.discard(5, FileRange::new(0, 1).unwrap()).unwrap();
        assert_eq!(result(&mut engine, submitted).unwrap(), 0);
    }
}

#[test]
fn without_io_uring_everything_is_done_at_once() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        std::thread::spawn(move || {
            refuse_io_uring(errno);
            let (memory, file) = (memory(), file_of(&pattern(PAGE)));
            let disk = Arc::new(Disk::new(file).unwrap());
            let error = Engine::<Guard>::new(disk.clone(), Mode::Uring, 2).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno));
            let mut engine = Engine::new(disk, Mode::Auto, 2).unwrap();
            assert_eq!(engine.refusal().unwrap().raw_os_error(), Some(errno));
            let segments = [(GuestAddress(0), PAGE)];
            let submitted = submit(&mut engine, &memory, &segments, (0, None)).unwrap();
            assert!(matches!(submitted, Submitted::Done(Ok(PAGE))));
            assert!(matches!(
                engine.sync_data(5).unwrap(),
                Submitted::Done(Ok(0))
            ));
            assert!(engine.completion_fd().is_none() && !engine.is_full());
            engine.flush().unwrap();
            engine.wait().unwrap();
            assert!(engine.poll().is_none());
        })
        .join()
        .unwrap();
    }
}

/// Has the kernel refuse io_uring to this thread, as a sandbox or container does.
fn refuse_io_uring(errno: i32) {
    let rules = [(libc::SYS_io_uring_setup, vec![])].into();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}
