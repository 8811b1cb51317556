//! Transfers that are done later.

mod common;

use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Guard, PAGE, contents, dirty_pages, file_of, gather, memory, pattern, scatter};
use guest_io::{Access, Completion, FileRange, Flags, Segment, SubmitError, Uring, lock};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use vm_memory::{GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};

type Ring = Uring<Guard>;

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().unwrap()
}

fn finish(ring: &mut Ring) -> Completion {
    loop {
        if let Some(completion) = ring.poll() {
            return completion;
        }
        assert!(ring.in_flight() > 0, "nothing to wait for");
        ring.wait().unwrap();
    }
}

fn readable(fd: impl AsFd) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() == 1
}

const fn is_send<T: Send>() {}
const _: () = is_send::<Ring>();
const _: () = is_send::<guest_io::Engine<Guard>>();
const _: () = is_send::<guest_io::Storage>();

#[test]
fn a_batch_completes_under_its_tokens() {
    let (memory, bytes) = (memory(), pattern(8 * PAGE));
    let mut ring = Ring::new(file_of(&bytes), 8).unwrap();
    for i in 0..8 {
        let segment = (GuestAddress(PAGE as u64 * i), PAGE);
        ring.read(100 + i, PAGE as u64 * i, &memory, [segment])
            .unwrap();
    }
    ring.flush().unwrap();
    let mut tokens: Vec<_> = (0..8).map(|_| finish(&mut ring)).map(|c| c.token).collect();
    tokens.sort();
    assert_eq!(tokens, Vec::from_iter(100..108));
    assert_eq!(gather(&memory, &[(GuestAddress(0), 8 * PAGE)]), bytes);
    assert_eq!(dirty_pages(&memory).len(), 8);
    assert_eq!(ring.in_flight(), 0);
    assert!(ring.poll().is_none());
}

#[test]
fn a_full_ring_refuses_and_recovers() {
    let (memory, (reader, mut writer)) = (memory(), pipe());
    let mut ring = Ring::new(&reader, 2).unwrap();
    let segments = [(GuestAddress(0), 1)];
    ring.read(0, 0, &memory, segments).unwrap();
    ring.read(1, 0, &memory, segments).unwrap();
    assert!(ring.is_full());
    assert!(matches!(
        ring.read(2, 0, &memory, segments),
        Err(SubmitError::Full)
    ));
    assert!(matches!(ring.sync_data(2), Err(SubmitError::Full)));
    assert_eq!(Arc::strong_count(&memory), 3);
    writer.write_all(b"x").unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), 1);
    ring.read(2, 0, &memory, segments).unwrap();
    assert!(ring.is_full());
}

#[test]
fn bug_09_dropping_waits_for_the_kernel_and_releases_the_memory() {
    let (memory, (reader, _writer)) = (memory(), pipe());
    let mut ring = Ring::new(&reader, 4).unwrap();
    for token in 0..3 {
        ring.read(token, 0, &memory, [(GuestAddress(0), PAGE)])
            .unwrap();
    }
    ring.flush().unwrap();
    ring.read(3, 0, &memory, [(GuestAddress(0), PAGE)]).unwrap();
    assert_eq!(Arc::strong_count(&memory), 5);
    let start = Instant::now();
    drop(ring);
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(Arc::strong_count(&memory), 1);
}

#[test]
fn what_was_read_is_marked_even_if_nobody_asked_before_the_drop() {
    let memory = memory();
    let mut ring = Ring::new(file_of(&pattern(PAGE)), 1).unwrap();
    ring.read(0, 0, &memory, [(GuestAddress(0x40000), PAGE)])
        .unwrap();
    ring.wait().unwrap();
    drop(ring);
    assert_eq!(dirty_pages(&memory), [0x40000]);
}

#[test]
fn bug_09_the_memory_stays_mapped_after_the_map_has_changed() {
    let map = || GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), PAGE)]).unwrap();
    let (space, (reader, mut writer)) = (GuestMemoryAtomic::new(map()), pipe());
    let mut ring = Uring::new(&reader, 1).unwrap();
    ring.read(7, 0, &space.memory(), [(GuestAddress(0), 5)])
        .unwrap();
    ring.flush().unwrap();
    space.lock().unwrap().replace(map());
    writer.write_all(b"12345").unwrap();
    ring.wait().unwrap();
    assert_eq!(ring.poll().unwrap().result.unwrap(), 5);
}

#[test]
fn short_reads_go_on_until_the_end() {
    let (memory, (reader, mut writer)) = (memory(), pipe());
    let segments = [(GuestAddress(0x40ffe), 4), (GuestAddress(8), 4)];
    let mut ring = Ring::new(&reader, 1).unwrap();
    ring.read(0, 0, &memory, segments).unwrap();
    ring.flush().unwrap();
    for part in [&b"ab"[..], b"cde"] {
        writer.write_all(part).unwrap();
        ring.wait().unwrap();
        assert!(ring.poll().is_none());
    }
    assert_eq!(dirty_pages(&memory), [0, 0x40000, 0x41000]);
    drop(writer);
    assert_eq!(finish(&mut ring).result.unwrap(), 5);
    assert_eq!(&gather(&memory, &segments)[..5], b"abcde");
    assert!(dirty_pages(&memory).is_empty());
}

#[test]
fn short_reads_go_on_for_a_loop_that_only_polls() {
    let (memory, (reader, mut writer)) = (memory(), pipe());
    let mut ring = Ring::new(&reader, 1).unwrap();
    ring.read(0, 0, &memory, [(GuestAddress(0), 4)]).unwrap();
    ring.flush().unwrap();
    for part in [b"ab", b"cd"] {
        assert!(ring.poll().is_none());
        writer.write_all(part).unwrap();
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(
            poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&limit)).unwrap(),
            1
        );
    }
    assert_eq!(ring.poll().unwrap().result.unwrap(), 4);
}

#[test]
fn the_end_of_the_file_ends_a_read() {
    let memory = memory();
    let mut ring = Ring::new(file_of(&pattern(PAGE + 1)), 1).unwrap();
    ring.read(0, 0, &memory, [(GuestAddress(0), 3 * PAGE)])
        .unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), PAGE + 1);
    assert_eq!(dirty_pages(&memory), [0, PAGE as u64]);
}

#[test]
fn more_segments_than_one_entry_takes() {
    let (memory, bytes) = (memory(), pattern(3000));
    let segments: Vec<Segment> = (0..3000).map(|i| (GuestAddress(2 * i), 1)).collect();
    let mut ring = Ring::new(file_of(&bytes), 1).unwrap();
    ring.read(0, 0, &memory, segments.iter().copied()).unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), 3000);
    assert_eq!(gather(&memory, &segments), bytes);
    let copy = file_of(&[]);
    let mut ring = Ring::new(&copy, 1).unwrap();
    ring.write(0, 0, Flags::DSYNC, &memory, segments).unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), 3000);
    assert_eq!(contents(&copy), bytes);
}

#[test]
fn segments_that_are_not_guest_memory_are_refused() {
    let memory = memory();
    let mut ring = Ring::new(file_of(&pattern(PAGE)), 1).unwrap();
    for segment in [
        (GuestAddress(0x30000), 1),
        (GuestAddress(0x1fff0), 0x20),
        (GuestAddress(u64::MAX), 1),
        (GuestAddress(u64::MAX - 1), 0x1000),
        (GuestAddress(0), usize::MAX),
    ] {
        let segments = [(GuestAddress(0), 1), segment];
        let error = ring.read(0, 0, &memory, segments).unwrap_err();
        assert!(
            matches!(error, SubmitError::Memory(_)),
            "{segment:?}: {error}"
        );
        assert_eq!((ring.in_flight(), Arc::strong_count(&memory)), (0, 1));
    }
    ring.read(0, 0, &memory, [(GuestAddress(u64::MAX), 0)])
        .unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), 0);
}

#[test]
fn offsets_beyond_the_largest_are_refused() {
    let memory = memory();
    let mut ring = Ring::new(file_of(&pattern(PAGE)), 1).unwrap();
    for offset in [u64::MAX, 1 << 63, i64::MAX as u64] {
        let error = ring
            .read(0, offset, &memory, [(GuestAddress(0), 1)])
            .unwrap_err();
        assert!(matches!(error, SubmitError::Offset(_)), "{offset}: {error}");
    }
    assert!(FileRange::new(u64::MAX, 1).is_err());
    assert!(FileRange::new(1, i64::MAX as u64).is_err());
}

#[test]
fn an_error_of_the_host_is_the_result() {
    let (memory, (_reader, writer)) = (memory(), pipe());
    let mut ring = Ring::new(&writer, 1).unwrap();
    ring.read(3, 0, &memory, [(GuestAddress(0), 1)]).unwrap();
    let completion = finish(&mut ring);
    assert_eq!(completion.token, 3);
    assert_eq!(
        completion.result.unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
    assert!(dirty_pages(&memory).is_empty());
}

#[test]
fn zeroing_discarding_and_syncing() {
    let (memory, bytes) = (memory(), pattern(16 * PAGE));
    let file = file_of(&bytes);
    let mut ring = Ring::new(&file, 4).unwrap();
    let range = |first: usize, len: usize| FileRange::new(first as u64, len as u64).unwrap();
    ring.write_zeroes(0, range(PAGE + 1, 3 * PAGE), false)
        .unwrap();
    ring.write_zeroes(0, range(6 * PAGE, 2 * PAGE + 5), true)
        .unwrap();
    ring.discard(0, range(12 * PAGE, PAGE)).unwrap();
    ring.discard(0, range(12 * PAGE, 0)).unwrap();
    for _ in 0..4 {
        assert_eq!(finish(&mut ring).result.unwrap(), 0);
    }
    ring.sync_data(0).unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), 0);
    let mut expected = bytes;
    expected[PAGE + 1..4 * PAGE + 1].fill(0);
    expected[6 * PAGE..8 * PAGE + 5].fill(0);
    expected[12 * PAGE..13 * PAGE].fill(0);
    assert_eq!(contents(&file), expected);
    drop(memory);
}

#[test]
fn zeroes_are_written_where_the_host_has_no_short_way() {
    // A pipe can be written to and has no fallocate.
    let (mut reader, writer) = pipe();
    let mut ring = Ring::new(&writer, 1).unwrap();
    // fallocate on a pipe is ESPIPE, which is an error and not a missing feature.
    ring.write_zeroes(0, FileRange::new(0, 100).unwrap(), true)
        .unwrap();
    assert_eq!(
        finish(&mut ring).result.unwrap_err().raw_os_error(),
        Some(libc::ESPIPE)
    );
    drop((ring, writer));
    assert_eq!(std::io::Read::read(&mut reader, &mut [0; 1]).unwrap(), 0);
    // Memory files have holes but no ZERO_RANGE.
    let file = std::fs::File::from(
        rustix::fs::memfd_create("zeroes", rustix::fs::MemfdFlags::empty()).unwrap(),
    );
    let len = (5 << 16) + 7;
    std::io::Write::write_all(&mut &file, &vec![0xff; len]).unwrap();
    let mut ring = Ring::new(&file, 1).unwrap();
    ring.write_zeroes(0, FileRange::new(3, len as u64 - 6).unwrap(), false)
        .unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), 0);
    let bytes = contents(&file);
    assert_eq!(
        (&bytes[..3], &bytes[len - 3..]),
        (&[0xff; 3][..], &[0xff; 3][..])
    );
    assert!(bytes[3..len - 3].iter().all(|byte| *byte == 0));
}

#[test]
fn the_ring_is_readable_while_a_completion_waits() {
    let memory = memory();
    let mut ring = Ring::new(file_of(&pattern(PAGE)), 1).unwrap();
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    ring.register_eventfd(&event).unwrap();
    assert!(!readable(&ring));
    ring.read(0, 0, &memory, [(GuestAddress(0), PAGE)]).unwrap();
    ring.wait().unwrap();
    assert!(readable(&ring) && readable(&event));
    finish(&mut ring);
    assert!(!readable(&ring));
}

#[test]
fn the_file_stays_open_but_not_after_the_drop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, pattern(PAGE)).unwrap();
    let open = || {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap()
    };
    let file = open();
    lock(&file, Access::Write).unwrap();
    let (memory, mut ring) = (memory(), Ring::new(&file, 1).unwrap());
    drop(file);
    ring.read(0, 0, &memory, [(GuestAddress(0), PAGE)]).unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), PAGE);
    assert_eq!(
        lock(open(), Access::Read).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    drop(ring);
    lock(open(), Access::Write).unwrap();
}

#[test]
fn the_ring_may_move_between_threads() {
    let (memory, bytes) = (memory(), pattern(PAGE));
    let segments = [(GuestAddress(0), PAGE)];
    scatter(&memory, &segments, &[0; PAGE]);
    let ring = Ring::new(file_of(&bytes), 1).unwrap();
    let thread = std::thread::spawn({
        let (memory, mut ring) = (memory.clone(), ring);
        move || {
            ring.read(0, 0, &memory, segments).unwrap();
            finish(&mut ring).result.unwrap();
            ring
        }
    });
    let mut ring = thread.join().unwrap();
    assert_eq!(gather(&memory, &segments), bytes);
    ring.read(0, 0, &memory, segments).unwrap();
    assert_eq!(finish(&mut ring).result.unwrap(), PAGE);
}
