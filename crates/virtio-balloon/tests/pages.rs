//! Pages that the guest gives up and takes back (section 5.5.6).

mod common;

use common::*;
use testkit::{BOUNDARY, END, Options, TestBus, is_dirty};
use virtio_balloon::{Balloon, BalloonProps, HostMemory};
use virtio_device::{ByteOrder, Features};

#[test]
fn neighbours_are_reclaimed_together_in_any_order() {
    let mut guest = Guest::new();
    guest.inflate(&[FREE + 7, FREE + 1, FREE + 3, FREE + 2, FREE + 8]);
    assert_eq!(guest.calls(), [3 * 4096, 2 * 4096]);
    let gone = guest.gone(FREE..FREE + 10);
    assert_eq!(gone, [1, 2, 3, 7, 8].map(|page| FREE + page));
    assert!(is_dirty(
        guest.bus.memory(),
        u64::from(FREE + 1) << 12,
        4096
    ));
    guest.deflate(&[FREE + 1, FREE + 2]);
    assert!(guest.calls().is_empty(), "the guest only has to touch them");
}

#[test]
fn a_run_across_two_regions_is_reclaimed_in_pieces() {
    let mut guest = Guest::new();
    let first = (BOUNDARY >> 12) as u32;
    guest.inflate(&[first - 1, first]);
    assert_eq!(guest.calls(), [4096, 4096]);
    assert_eq!(guest.gone(first - 2..first + 2), [first - 1, first]);
}

#[test]
fn bug_66_pages_that_are_none_are_skipped_and_counted() {
    let mut guest = Guest::new();
    let end = (END >> 12) as u32;
    guest.inflate(&[u32::MAX, FREE, end, end - 1, 1 << 20]);
    assert_eq!(guest.handle.refused(), 3);
    assert_eq!(guest.gone(end - 2..end), [end - 1]);
    assert!(guest.is_gone(FREE));
    // Half a number, none, and more than there can be.
    let list = numbers(&[FREE + 2, FREE + 3]);
    guest.bus.request(INFLATE, &[&list[..6]], &[]);
    assert_eq!(guest.gone(FREE + 1..FREE + 5), [FREE + 2]);
    guest.bus.request(INFLATE, &[], &[8]);
    let many: Vec<_> = (0..5000).map(|_| u32::MAX).collect();
    guest.inflate(&many);
    assert_eq!(guest.handle.refused(), 3 + 4096);
    assert!(!guest.bus.needs_reset());
}

#[test]
fn bug_68_any_actual_is_what_the_guest_says() {
    let mut guest = Guest::new();
    let told = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let listener = told.clone();
    guest.handle.on_change(move || {
        listener.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    guest.handle.set_target(10);
    for actual in [u32::MAX, 11, 11, 0] {
        guest.bus.core().write_config(4, &actual.to_le_bytes());
        assert_eq!(guest.handle.actual(), actual);
    }
    assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), 3);
    // What is not the driver's is as it was, a byte at a time is as good as a word.
    guest.bus.core().write_config(0, &[0xff; 4]);
    guest.bus.core().write_config(8, &[0xff; 4]);
    guest.bus.core().write_config(5, &[1]);
    assert_eq!((guest.handle.target(), guest.handle.actual()), (10, 256));
    guest.bus.core().write_config(u64::MAX - 1, &[1; 8]);
    assert_eq!(guest.bus.read_config(8, 4), [0; 4]);
    guest.bus.reset();
    assert_eq!((guest.handle.target(), guest.handle.actual()), (10, 0));
}

#[test]
fn bug_69_a_larger_page_of_the_host_is_reclaimed_whole() {
    let large = || Marker::new(65536);
    let mut guest = Guest::with(&everything(), large(), Features::NONE);
    let all: Vec<_> = (FREE..FREE + 16).collect();
    guest.inflate(&all[..15]);
    assert!(guest.calls().is_empty());
    guest.inflate(&all[15..]);
    assert_eq!(guest.calls(), [65536]);
    assert_eq!(guest.gone(FREE - 1..FREE + 17), all);
    // One part is taken back before the last one comes.
    let mut guest = Guest::with(&everything(), large(), Features::NONE);
    guest.inflate(&all[..15]);
    guest.deflate(&all[3..4]);
    guest.inflate(&all[15..]);
    assert!(guest.calls().is_empty());
}

#[test]
fn the_target_is_told_by_a_configuration_interrupt() {
    let guest = Guest::new();
    let before = guest.bus.interrupts().config();
    guest.handle.set_target(0x1234);
    assert_eq!(guest.bus.read_config(0, 8), [0x34, 0x12, 0, 0, 0, 0, 0, 0]);
    assert_eq!(guest.bus.interrupts().config(), before + 1);
    guest.handle.set_target(0x1234);
    assert_eq!(guest.bus.interrupts().config(), before + 1, "as it was");
}

#[test]
fn memory_that_the_host_keeps_does_no_harm() {
    let mut marker = Marker::new(4096);
    marker.fails = true;
    let mut guest = Guest::with(&everything(), marker, Features::NONE);
    guest.inflate(&[FREE, FREE + 2]);
    assert_eq!(guest.calls(), [4096, 4096]);
    assert!(!guest.bus.needs_reset());
}

#[test]
fn the_host_kernel_has_the_memory_back() {
    let device = Balloon::new(&BalloonProps::default(), HostMemory).unwrap();
    let mut bus = TestBus::new(device);
    bus.boot(Features::VERSION_1 | STATS_VQ);
    let page = u64::from(FREE) << 12;
    bus.ram().write(page, &[7; 3 * 4096]);
    bus.request(INFLATE, &[&numbers(&[FREE + 1])], &[]);
    let bytes = bus.ram().read(page, 3 * 4096);
    let zeroes = bytes.iter().filter(|&&byte| byte == 0).count();
    assert_eq!((zeroes, bytes[4096], bytes[8192]), (4096, 0, 7));
}

#[test]
fn a_big_endian_legacy_driver_is_understood() {
    let marker = Marker::new(4096);
    let device = Balloon::new(&BalloonProps::default(), marker).unwrap();
    let handle = device.handle();
    let legacy = Options {
        legacy: Some(ByteOrder::Big),
        ..Options::default()
    };
    let mut bus = TestBus::with(device, legacy);
    bus.boot(STATS_VQ);
    bus.request(INFLATE, &[&FREE.to_be_bytes()], &[]);
    assert_eq!(bus.ram().read(u64::from(FREE) << 12, 1), [GONE]);
    let mut entry = 4u16.to_be_bytes().to_vec();
    entry.extend(77u64.to_be_bytes());
    bus.submit(STATS, &[&entry], &[]);
    bus.run();
    let free = virtio_balloon::Stat::FreeMemory;
    assert_eq!(handle.report().stats.value(free), Some(77));
    // The configuration space is little-endian for everybody.
    handle.set_target(1);
    assert_eq!(bus.read_config(0, 4), [1, 0, 0, 0]);
}
