//! The legacy interface, of transitional devices and of those that have no other.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::*;
use testkit::wait_for;
use virtio_device::Features;
use virtio_pci::PciProps;
use virtio_pci::virtio_bus::ThreadRunner;

fn legacy_only() -> Options {
    Options {
        props: PciProps::default().disable_modern(true),
        ..Options::default()
    }
}

#[test]
fn a_buffer_goes_round() {
    for options in [Options::default(), legacy_only()] {
        let board = Board::with(options);
        let mut queues = board.start_legacy(Features::INDIRECT_DESC);
        for (queue, driver) in (0..).zip(&mut queues) {
            for _ in 0..20 {
                board.offer(driver);
                board.notify_legacy(queue);
                assert!(driver.collect().is_some());
                assert!(board.wire.is_high());
                assert_eq!(board.read(0, 0x13, 1), 1);
                assert!(!board.wire.is_high());
            }
        }
    }
}

#[test]
fn a_buffer_goes_round_with_msix() {
    let board = Board::new();
    board.enable_msix();
    let mut queues = board.start_legacy(Features::NONE);
    for (queue, vector) in [(0u64, 1), (1, 2)] {
        board.write(0, 0x0e, 2, queue);
        board.write(0, 0x16, 2, vector);
        assert_eq!(board.read(0, 0x16, 2), vector);
    }
    board.write(0, 0x14, 2, 0);
    board.offer(&mut queues[1]);
    board.notify_legacy(1);
    assert!(queues[1].has_used());
    assert_eq!(board.sink.take(), [0x102]);
    board.worn.host().config_changed();
    assert_eq!(board.sink.take(), [0x100]);
}

#[test]
fn the_configuration_moves_with_msix() {
    let board = Board::new();
    let word = |offset| board.read(0, offset, 4);
    let start = u64::from(u32::from_le_bytes(*b"a to"));
    assert_eq!(word(20), start);
    board.enable_msix();
    assert_eq!(word(24), start);
    assert_eq!(board.read(0, 20, 2), NO_VECTOR);
    board.write(0, 24, 1, b'A'.into());
    assert_eq!(board.read(4, DEVICE, 1), u64::from(b'A'));
}

#[test]
fn features_are_32_bits_with_any_layout() {
    let board = Board::new();
    let want =
        Features::INDIRECT_DESC | Features::EVENT_IDX | Features::ANY_LAYOUT | Features::bit(1);
    assert_eq!(board.read(0, 0, 4), u64::from(want.page(0)));
    board.write(0, 4, 4, u64::from(want.page(0)));
    assert_eq!(board.read(0, 4, 4), u64::from(want.page(0)));
}

#[test]
fn the_queue_size_cannot_be_written() {
    let board = Board::new();
    board.write(0, 0x0e, 2, 1);
    board.write(0, 0x0c, 2, 4);
    assert_eq!(board.read(0, 0x0c, 2), 16);
    board.write(0, 0x0e, 2, 2);
    assert_eq!(board.read(0, 0x0c, 2), 0, "no such queue");
}

#[test]
fn the_page_of_a_queue_reads_back_and_zero_takes_it_away() {
    let board = Board::new();
    board.write(0, 0x08, 4, 0x123);
    assert_eq!(board.read(0, 0x08, 4), 0x123);
    assert_eq!(board.common(QUEUE_ENABLE), 1);
    board.write(0, 0x08, 4, 0);
    assert_eq!(board.read(0, 0x08, 4), 0);
    assert_eq!(board.common(QUEUE_ENABLE), 0);

    let mut queues = board.start_legacy(Features::NONE);
    board.write(0, 0x0e, 2, 0);
    board.write(0, 0x08, 4, 0);
    assert_eq!(board.read(0, 0x12, 1), 0, "a running device is reset");
    board.offer(&mut queues[0]);
    board.notify_legacy(0);
    assert_eq!(board.worn.served(), 0);
}

#[test]
fn a_page_beyond_memory_is_no_queue() {
    let board = Board::new();
    board.write(0, 0x12, 1, 3);
    board.write(0, 0x08, 4, u32::MAX.into());
    board.write(0, 0x12, 1, 7);
    board.notify_legacy(0);
    assert_eq!(board.worn.served(), 0);
}

#[test]
fn bug_40_a_reset_is_complete_when_the_write_returns() {
    let toy = Toy {
        holds: true,
        ..Toy::default()
    };
    let board = Board::with(Options {
        runner: Some(Arc::new(ThreadRunner::new("toy"))),
        toy,
        ..Options::default()
    });
    let mut queues = board.start_legacy(Features::NONE);
    board.offer(&mut queues[0]);
    board.notify_legacy(0);
    wait_for("a request that is taken", || {
        (board.worn.taken.load(Ordering::SeqCst) == 1).then_some(())
    });
    std::thread::scope(|scope| {
        let reset = scope.spawn(|| board.write(0, 0x12, 1, 0));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!reset.is_finished());
        board.worn.let_go.store(true, Ordering::SeqCst);
    });
    assert_eq!(board.read(0, 0x12, 1), 0);
    assert_eq!(board.worn.served(), 1);
}
