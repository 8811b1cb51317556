//! The life of a modern device: negotiation, queues, interrupts, reset.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use support::*;
use testkit::PATIENCE;
use virtio_device::{Features, IrqSource};
use virtio_pci::virtio_bus::{ThreadRunner, VirtioProps};
use virtio_pci::vm_pci::PciFunction;
use virtio_pci::{PciProps, Place};

const PACKED: Features = Features::VERSION_1.with(Features::RING_PACKED);

#[test]
fn a_buffer_goes_round_with_msix_on_either_ring() {
    for features in [Features::VERSION_1, PACKED] {
        let board = Board::with(Options {
            place: Place::RootPort,
            virtio: VirtioProps::default().packed(true),
            ..Options::default()
        });
        board.enable_msix();
        let mut queues = board.start(features);
        for round in 1..=40 {
            board.offer(&mut queues[1]);
            board.notify(1);
            let used = queues[1].collect().expect("used");
            assert_eq!((used.len, board.worn.served()), (1, round));
            assert_eq!(board.sink.take(), [0x102], "vector of queue 1");
        }
        assert_eq!(board.wire.rises(), 0);
        assert_eq!(board.read(ISR.0, ISR.1, 1), 0, "no queue interrupts here");
    }
}

#[test]
fn a_buffer_goes_round_with_intx() {
    let board = Board::new();
    let mut queues = board.start(Features::VERSION_1);
    board.offer(&mut queues[0]);
    board.notify(0);
    assert!(queues[0].has_used());
    assert!(board.wire.is_high());
    assert_eq!(board.config()[6] & 8, 8, "interrupt status");
    assert_eq!(board.read(ISR.0, ISR.1, 1), 1);
    assert!(!board.wire.is_high());
    assert_eq!(board.config()[6] & 8, 0);
    assert_eq!(board.read(ISR.0, ISR.1, 1), 0, "reading clears");
    assert!(board.sink.take().is_empty());
}

#[test]
fn a_configuration_change_interrupts_and_raises_the_generation() {
    let board = Board::new();
    board.start(Features::VERSION_1);
    let generation = board.common(CONFIG_GENERATION);
    board.write(4, DEVICE, 2, 0x4241);
    assert_ne!(board.common(CONFIG_GENERATION), generation);
    assert_eq!(
        board.read(4, DEVICE, 4),
        u64::from(u32::from_le_bytes(*b"ABto"))
    );
    assert_eq!(board.read(4, DEVICE + 11, 2), 0xff00 | u64::from(b'e'));
    board.worn.host().config_changed();
    assert_eq!(board.read(ISR.0, ISR.1, 1), 3, "queues are to be looked at");

    board.enable_msix();
    board.worn.host().config_changed();
    assert_eq!(board.sink.take(), [0x100]);
    assert!(!board.wire.is_high());
    board.disable_msix();
    assert!(board.wire.is_high(), "ISR status was not read");
    assert_eq!(board.read(ISR.0, ISR.1, 1), 2);
    assert!(!board.wire.is_high());
}

#[test]
fn features_show_128_bits_and_no_legacy_ones() {
    let board = Board::new();
    let offered = board.offered();
    let want = Features::VERSION_1
        | Features::INDIRECT_DESC
        | Features::EVENT_IDX
        | Features::RING_RESET
        | Features::bit(1);
    assert_eq!(offered, want);
    for select in [4, 5, 31, 32, u32::MAX] {
        board.set_common(DEVICE_FEATURE_SELECT, select.into());
        assert_eq!(board.common(DEVICE_FEATURE), 0);
    }
}

#[test]
fn what_was_not_offered_here_is_refused() {
    for features in [
        Features::NONE,
        Features::INDIRECT_DESC,
        Features::VERSION_1 | Features::ANY_LAYOUT,
        Features::VERSION_1 | Features::bit(0),
        Features::VERSION_1 | Features::bit(127),
    ] {
        let board = Board::new();
        board.negotiate(features);
        assert_eq!(board.status(), 3, "{features:?}");
        board.set_common(STATUS, 15);
        assert_eq!(board.status(), 3, "{features:?}");
    }
}

#[test]
fn accepted_features_read_back() {
    let board = Board::with(Options {
        virtio: VirtioProps::default().packed(true),
        ..Options::default()
    });
    let features = board.offered();
    let pages = |board: &Board| {
        [0, 1, 2, 3, 4, u32::MAX].map(|select| {
            board.set_common(DRIVER_FEATURE_SELECT, select.into());
            board.common(DRIVER_FEATURE) as u32
        })
    };
    let want = [0, 1, 2, 3, 4, u32::MAX].map(|select| features.page(select));
    board.accept(features);
    assert_eq!(pages(&board), want, "as they are written");
    board.negotiate(features);
    assert_eq!(board.status(), 11);
    assert_eq!(pages(&board), want, "and once they are settled");
}

#[test]
fn a_size_that_the_ring_cannot_have_reads_back_as_0() {
    for (features, wrong) in [(Features::VERSION_1, true), (PACKED, false)] {
        let board = Board::with(Options {
            virtio: VirtioProps::default().packed(true),
            ..Options::default()
        });
        board.negotiate(features);
        for size in [3, 6, 7] {
            board.set_common(QUEUE_SIZE, size);
            let read = if wrong { 0 } else { size };
            assert_eq!(board.common(QUEUE_SIZE), read, "{features:?}");
        }
        for size in [1, 2, 4, 8] {
            board.set_common(QUEUE_SIZE, size);
            assert_eq!(board.common(QUEUE_SIZE), size);
        }
    }
}

#[test]
fn a_source_without_a_vector_does_not_interrupt() {
    let board = Board::new();
    board.enable_msix();
    let mut queues = board.start(Features::VERSION_1);
    board.worn.host().config_changed();
    assert_eq!(board.sink.take(), [0x100]);
    board.set_common(CONFIG_MSIX_VECTOR, NO_VECTOR);
    board.worn.host().config_changed();
    board.set_common(QUEUE_SELECT, 1);
    board.set_common(QUEUE_MSIX_VECTOR, NO_VECTOR);
    board.offer(&mut queues[1]);
    board.notify(1);
    assert!(queues[1].has_used());
    assert!(board.sink.take().is_empty());
    assert_eq!(board.wire.rises(), 0);
    board.set_common(CONFIG_MSIX_VECTOR, 2);
    board.worn.host().config_changed();
    assert_eq!(board.sink.take(), [0x102]);
}

#[test]
fn a_queue_can_be_reset_and_used_again() {
    let board = Board::new();
    board.enable_msix();
    let features = Features::VERSION_1 | Features::RING_RESET;
    let mut queues = board.start(features);
    board.offer(&mut queues[0]);
    board.notify(0);
    board.set_common(QUEUE_SELECT, 0);
    board.set_common(QUEUE_RESET, 1);
    assert_eq!(board.common(QUEUE_RESET), 0);
    assert_eq!(board.common(QUEUE_ENABLE), 0);
    assert_eq!(board.common(QUEUE_MSIX_VECTOR), NO_VECTOR);
    assert_eq!(board.common(QUEUE_SIZE), 8);
    board.sink.take();
    let mut again = board.set_up_queue(0, features);
    assert_eq!(board.common(QUEUE_ENABLE), 1);
    board.offer(&mut again);
    board.notify(0);
    assert!(again.has_used());
    assert_eq!(board.sink.take(), [0x101]);
}

#[test]
fn without_ring_reset_a_queue_reset_is_ignored() {
    let board = Board::new();
    board.start(Features::VERSION_1);
    board.set_common(QUEUE_SELECT, 0);
    board.set_common(QUEUE_RESET, 1);
    assert_eq!(board.common(QUEUE_ENABLE), 1);
    assert_eq!(board.common(QUEUE_MSIX_VECTOR), 1);
}

/// A board whose requests stay in flight, on a thread, with one of them taken.
fn busy() -> Board {
    let toy = Toy {
        holds: true,
        ..Toy::default()
    };
    let board = Board::with(Options {
        runner: Some(Arc::new(ThreadRunner::new("toy"))),
        toy,
        ..Options::default()
    });
    let mut queues = board.start(Features::VERSION_1);
    board.offer(&mut queues[0]);
    board.notify(0);
    wait(|| board.worn.taken.load(Ordering::SeqCst) == 1);
    board
}

fn wait(mut until: impl FnMut() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn bug_40_status_reads_zero_only_when_nothing_is_in_flight() {
    let board = busy();
    board.set_common(STATUS, 0);
    for _ in 0..20 {
        assert_eq!(board.status(), 15, "a request is in flight");
        std::thread::sleep(Duration::from_millis(1));
    }
    board.set_common(STATUS, 1);
    assert_eq!(board.status(), 15, "nothing is added during a reset");
    board.worn.let_go.store(true, Ordering::SeqCst);
    wait(|| board.status() == 0);
    assert_eq!(board.worn.served(), 1);
    assert_eq!(board.read(ISR.0, ISR.1, 1), 0, "and it was not told");
    assert_eq!(board.wire.rises(), 0);
    board.start(Features::VERSION_1);
}

#[test]
fn bug_40_a_function_reset_waits_for_what_is_in_flight() {
    let board = busy();
    std::thread::scope(|scope| {
        let reset = scope.spawn(|| board.transport.reset());
        std::thread::sleep(Duration::from_millis(20));
        // What must not wait for registers does not: this thread would never let go.
        board.notify(0);
        assert_eq!(board.read(ISR.0, ISR.1, 1), 0);
        assert_eq!(board.read(4, DEVICE, 1), u64::from(b'a'));
        assert_eq!(board.common(CONFIG_GENERATION), 0);
        assert!(!reset.is_finished());
        board.worn.let_go.store(true, Ordering::SeqCst);
    });
    assert_eq!(board.status(), 0);
    assert_eq!(board.worn.served(), 1);
    assert_eq!(board.wire.rises(), 0);
}

#[test]
fn bug_42_nothing_is_served_before_driver_ok() {
    let board = Board::new();
    board.negotiate(Features::VERSION_1);
    let mut queue = board.set_up_queue(0, Features::VERSION_1);
    board.offer(&mut queue);
    board.notify(0);
    assert_eq!(board.worn.served(), 0);
    board.set_common(STATUS, 15);
    board.runner.run();
    assert_eq!(
        board.worn.served(),
        1,
        "what was there is served at the start"
    );
}

#[test]
fn notifications_come_by_place_or_by_port() {
    let board = Board::with(Options {
        props: PciProps::default()
            .page_per_vq(true)
            .modern_pio_notify(true),
        ..Options::default()
    });
    let mut queues = board.start(Features::VERSION_1);
    board.offer(&mut queues[1]);
    board.write(4, 0x3000, 2, 1);
    board.runner.run();
    assert!(!queues[1].has_used(), "the doorbell of queue 0");
    board.write(4, 0x4000, 2, 1);
    board.runner.run();
    assert!(queues[1].collect().is_some());
    board.offer(&mut queues[1]);
    board.write(2, 0, 2, 1);
    board.runner.run();
    assert!(queues[1].has_used());
}

#[test]
fn an_irqfd_is_that_of_the_vector() {
    let board = Board::new();
    board.start(Features::VERSION_1);
    let interrupt = board.transport.interrupt();
    assert!(interrupt.irqfd(IrqSource::Queue(0)).is_none(), "INTx");
    board.enable_msix();
    assert!(interrupt.irqfd(IrqSource::Queue(0)).is_some());
    assert!(interrupt.irqfd(IrqSource::Queue(2)).is_none());
    board.set_common(QUEUE_SELECT, 0);
    board.set_common(QUEUE_MSIX_VECTOR, NO_VECTOR);
    assert!(interrupt.irqfd(IrqSource::Queue(0)).is_none());
}
