//! Transfers that are done when the call returns.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use common::{PAGE, contents, dirty_pages, file_of, gather, memory, pattern, push, scatter};
use guest_io::{
    Flags, Iovecs, Storage, read_at, read_exact_at, readv, readv_exact, write_all_at, write_at,
    writev, writev_all,
};
use vm_memory::{GuestAddress, GuestMemoryMmap, Permissions};

#[test]
fn reads_over_the_border_of_two_regions() {
    let (memory, bytes) = (memory(), pattern(3 * PAGE));
    let segments = [(GuestAddress(0x10000 - PAGE as u64), 3 * PAGE)];
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    read_exact_at(file_of(&bytes), &mut iovecs, 0, Flags::NONE).unwrap();
    assert!(iovecs.is_empty());
    assert_eq!(gather(&memory, &segments), bytes);
}

#[test]
fn marks_exactly_the_bytes_that_were_read() {
    let memory = memory();
    let segments = [
        (GuestAddress(0x800), 0x1000),
        (GuestAddress(0x40ff0), 0x2000),
    ];
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    let file = file_of(&pattern(0x1010));
    assert_eq!(read_at(&file, &mut iovecs, 0, Flags::NONE).unwrap(), 0x1010);
    assert_eq!(dirty_pages(&memory), [0, 0x1000, 0x40000]);
    assert_eq!(read_at(&file, &mut iovecs, 0x1010, Flags::NONE).unwrap(), 0);
    assert_eq!(read_at(&file, &mut iovecs, 0, Flags::NONE).unwrap(), 0x1010);
    assert_eq!(dirty_pages(&memory), [0x41000, 0x42000]);
    assert_eq!(iovecs.remaining(), 0x3000 - 0x2020);
}

#[test]
fn writing_marks_nothing() {
    let (memory, bytes) = (memory(), pattern(PAGE + 1));
    let segments = [(GuestAddress(0x40001), PAGE), (GuestAddress(3), 1)];
    scatter(&memory, &segments, &bytes);
    let (file, mut storage) = (file_of(&[0xff; 16]), Storage::new());
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Read);
    write_all_at(&file, &mut iovecs, 16, Flags::DSYNC).unwrap();
    assert_eq!(contents(&file)[..16], [0xff; 16]);
    assert_eq!(contents(&file)[16..], bytes);
    assert!(dirty_pages(&memory).is_empty());
}

#[test]
fn memory_without_a_bitmap() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), PAGE)]).unwrap();
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(
        &mut iovecs,
        &memory,
        &[(GuestAddress(0), PAGE)],
        Permissions::ReadWrite,
    );
    read_exact_at(file_of(&pattern(PAGE)), &mut iovecs, 0, Flags::NONE).unwrap();
    iovecs.clear();
    push(
        &mut iovecs,
        &memory,
        &[(GuestAddress(0), PAGE)],
        Permissions::ReadWrite,
    );
    let file = file_of(&[]);
    write_all_at(&file, &mut iovecs, 0, Flags::NONE).unwrap();
    assert_eq!(contents(&file), pattern(PAGE));
}

#[test]
fn more_segments_than_one_call_takes() {
    let (memory, bytes) = (memory(), pattern(3000));
    // Every other byte, so that none can be merged.
    let segments: Vec<_> = (0..3000).map(|i| (GuestAddress(2 * i), 1)).collect();
    let (file, mut storage) = (file_of(&bytes), Storage::new());
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    assert_eq!(read_at(&file, &mut iovecs, 0, Flags::NONE).unwrap(), 1024);
    read_exact_at(&file, &mut iovecs, 1024, Flags::NONE).unwrap();
    assert_eq!(gather(&memory, &segments), bytes);
    let copy = file_of(&[]);
    push(&mut iovecs, &*memory, &segments, Permissions::Read);
    write_all_at(&copy, &mut iovecs, 0, Flags::NONE).unwrap();
    assert_eq!(contents(&copy), bytes);
}

#[test]
fn a_slice_may_follow_what_was_transferred() {
    let (memory, bytes) = (memory(), pattern(0x30));
    let (file, mut storage) = (file_of(&bytes), Storage::new());
    let mut iovecs = Iovecs::new(&mut storage);
    for (start, len) in [(0, 0x10), (0x10, 0x20)] {
        let segment = (GuestAddress(start), len);
        push(&mut iovecs, &*memory, &[segment], Permissions::Write);
        read_exact_at(&file, &mut iovecs, start, Flags::NONE).unwrap();
    }
    assert_eq!(gather(&memory, &[(GuestAddress(0), 0x30)]), bytes);
    assert_eq!(dirty_pages(&memory), [0]);
}

#[test]
fn adjacent_segments_are_one_iovec() {
    let (memory, bytes) = (memory(), pattern(3000));
    let segments: Vec<_> = (0..3000).map(|i| (GuestAddress(i), 1)).collect();
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    // One call takes 1024 iovecs, so 3000 would have needed three.
    assert_eq!(
        read_at(file_of(&bytes), &mut iovecs, 0, Flags::NONE).unwrap(),
        3000
    );
    assert_eq!(dirty_pages(&memory), [0]);
}

#[test]
fn empty_segments_and_requests_are_fine() {
    let (memory, file) = (memory(), file_of(&pattern(8)));
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    read_exact_at(&file, &mut iovecs, 0, Flags::NONE).unwrap();
    assert_eq!(write_at(&file, &mut iovecs, 0, Flags::NONE).unwrap(), 0);
    let segments = [
        (GuestAddress(0), 0),
        (GuestAddress(0), 8),
        (GuestAddress(0x100), 0),
    ];
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    read_exact_at(&file, &mut iovecs, 0, Flags::NONE).unwrap();
    assert_eq!(gather(&memory, &segments), pattern(8));
}

#[test]
fn the_end_of_the_file_is_an_error_only_for_exact() {
    let memory = memory();
    let (file, mut storage) = (file_of(&pattern(100)), Storage::new());
    let mut iovecs = Iovecs::new(&mut storage);
    push(
        &mut iovecs,
        &*memory,
        &[(GuestAddress(0), 200)],
        Permissions::Write,
    );
    let error = read_exact_at(&file, &mut iovecs, 0, Flags::NONE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(iovecs.remaining(), 100);
    assert_eq!(read_at(&file, &mut iovecs, 100, Flags::NONE).unwrap(), 0);
}

#[test]
fn an_offset_does_not_wrap_to_the_file_position() {
    let memory = memory();
    let (file, mut storage) = (file_of(&pattern(100)), Storage::new());
    let mut iovecs = Iovecs::new(&mut storage);
    push(
        &mut iovecs,
        &*memory,
        &[(GuestAddress(0), 1)],
        Permissions::Write,
    );
    for offset in [u64::MAX, 1 << 63] {
        let error = read_at(&file, &mut iovecs, offset, Flags::NONE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = write_at(&file, &mut iovecs, offset, Flags::NONE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(contents(&file), pattern(100));
}

#[test]
fn streams_are_read_as_they_come() {
    let memory = memory();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let segments = [(GuestAddress(0x40000), 6), (GuestAddress(0), 6)];
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    ours.write_all(b"hello ").unwrap();
    assert_eq!(readv(&theirs, &mut iovecs, Flags::NONE).unwrap(), 6);
    assert_eq!(dirty_pages(&memory), [0x40000]);
    ours.write_all(b"wor").unwrap();
    drop(ours);
    let error = readv_exact(&theirs, &mut iovecs, Flags::NONE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(&gather(&memory, &segments)[..9], b"hello wor");
}

#[test]
fn a_full_pipe_takes_a_part() {
    let (memory, bytes) = (memory(), pattern(32 * PAGE));
    let segments = [(GuestAddress(0), 32 * PAGE)];
    scatter(&memory, &segments, &bytes);
    let (mut read_end, write_end) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&write_end, true).unwrap();
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    push(&mut iovecs, &*memory, &segments, Permissions::Read);
    let count = writev(&write_end, &mut iovecs, Flags::NONE).unwrap();
    assert!(count > 0 && count < 32 * PAGE, "{count}");
    let error = writev(&write_end, &mut iovecs, Flags::NONE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    rustix::io::ioctl_fionbio(&write_end, false).unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        read_end.read_to_end(&mut all).map(|_| all)
    });
    writev_all(&write_end, &mut iovecs, Flags::NONE).unwrap();
    drop(write_end);
    assert_eq!(reader.join().unwrap().unwrap(), bytes);
}

#[test]
fn hosts_bytes_go_between_those_of_the_guest() {
    let (memory, bytes) = (memory(), pattern(0x30));
    let segments = [(GuestAddress(PAGE as u64 - 0x10), 0x18)];
    let (mut head, mut tail) = ([0; 8], [0; 0x20]);
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    iovecs.push_bytes(&mut head);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    iovecs.push_bytes(&mut tail);
    let read = read_at(file_of(&bytes), &mut iovecs, 0, Flags::NONE).unwrap();
    assert_eq!((read, iovecs.remaining()), (0x30, 0x10));
    drop(iovecs);
    assert_eq!(gather(&memory, &segments), bytes[8..0x20]);
    assert_eq!((&head[..], &tail[..0x10]), (&bytes[..8], &bytes[0x20..]));
    assert_eq!(dirty_pages(&memory), [0, PAGE as u64]);
}

#[test]
fn copies_go_where_transfers_would() {
    let (memory, bytes) = (memory(), pattern(0x20));
    let segments = [
        (GuestAddress(0x10000 - 8), 0x10),
        (GuestAddress(0x40000), 8),
    ];
    let (mut head, mut storage) = ([0; 4], Storage::new());
    let mut iovecs = Iovecs::new(&mut storage);
    iovecs.push_bytes(&mut head);
    push(&mut iovecs, &*memory, &segments, Permissions::Write);
    assert_eq!(iovecs.copy_in(&bytes[..10]), 10);
    assert_eq!(iovecs.copy_in(&bytes[10..]), 0x12, "no room for more");
    assert!(iovecs.is_empty());
    drop(iovecs);
    assert_eq!(gather(&memory, &segments), bytes[4..0x1c]);
    assert_eq!(dirty_pages(&memory), [0xf000, 0x10000, 0x40000]);
    let (mut iovecs, mut copy) = (Iovecs::new(&mut storage), [0xff; 0x20]);
    push(&mut iovecs, &*memory, &segments, Permissions::Read);
    assert_eq!(iovecs.copy_out(&mut copy[..5]), 5);
    assert_eq!(iovecs.copy_out(&mut copy[5..]), 0x13);
    assert_eq!(copy[..0x18], bytes[4..0x1c]);
    assert!(dirty_pages(&memory).is_empty());
}
