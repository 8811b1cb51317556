//! Doorbells come and go with driver, queue and BAR.

mod support;

use std::sync::atomic::Ordering;

use support::*;
use virtio_device::Features;
use virtio_pci::PciProps;
use virtio_pci::virtio_bus::{Doorbell, DoorbellAddress, DoorbellValue};
use virtio_pci::vm_pci::{IoAddr, PciFunction};

const AT: u64 = 0x80_0000_0000;
const PORT: u16 = 0xc000;

fn modern(base: u64) -> [Doorbell; 2] {
    [0, 4].map(|offset| Doorbell {
        at: DoorbellAddress::Mmio(base + 0x3000 + offset),
        value: DoorbellValue::Any,
    })
}

fn legacy() -> [Doorbell; 2] {
    [0, 1].map(|queue| Doorbell {
        at: DoorbellAddress::Pio(PORT + 0x10),
        value: DoorbellValue::U16(queue),
    })
}

fn mapped() -> Board {
    let board = Board::new();
    board.transport.bar_mapped(4, Some(IoAddr::Mmio(AT)));
    board.transport.bar_mapped(0, Some(IoAddr::Pio(PORT)));
    board
}

#[test]
fn they_are_there_from_driver_ok_to_reset() {
    let board = mapped();
    assert!(board.bells.list().is_empty());
    board.start(Features::VERSION_1);
    assert_eq!(
        board.bells.list(),
        modern(AT),
        "those of the interface in use"
    );
    board.set_common(STATUS, 0);
    assert!(board.bells.list().is_empty());
    board.start_legacy(Features::NONE);
    assert_eq!(board.bells.list(), legacy());
    board.transport.reset();
    assert!(board.bells.list().is_empty());
}

#[test]
fn only_enabled_queues_have_one() {
    let board = mapped();
    board.negotiate(Features::VERSION_1 | Features::RING_RESET);
    board.set_up_queue(1, Features::VERSION_1);
    board.set_common(STATUS, 15);
    assert_eq!(board.bells.list(), modern(AT)[1..]);
    board.set_up_queue(0, Features::VERSION_1);
    assert_eq!(board.bells.list(), modern(AT));
    board.set_common(QUEUE_RESET, 1);
    assert_eq!(board.bells.list(), modern(AT)[1..]);
}

#[test]
fn they_move_with_the_bar() {
    let board = mapped();
    board.start(Features::VERSION_1);
    board.transport.bar_mapped(4, None);
    assert!(board.bells.list().is_empty());
    board.transport.bar_mapped(4, Some(IoAddr::Mmio(2 * AT)));
    assert_eq!(board.bells.list(), modern(2 * AT));
}

#[test]
fn they_go_with_pause_and_device() {
    let board = mapped();
    board.start(Features::VERSION_1);
    board.transport.pause();
    assert!(board.bells.list().is_empty());
    board.transport.resume();
    assert_eq!(board.bells.list(), modern(AT));
    let bells = board.bells.clone();
    drop(board);
    assert!(bells.list().is_empty());
}

#[test]
fn a_signal_reaches_the_worker() {
    let board = mapped();
    let mut queues = board.start(Features::VERSION_1);
    board.offer(&mut queues[1]);
    board.bells.ring(modern(AT)[1]);
    board.runner.run();
    assert!(queues[1].has_used());
}

#[test]
fn without_them_notifications_are_decoded() {
    let off = Board::with(Options {
        props: PciProps::default().ioeventfd(false),
        ..Options::default()
    });
    let refused = mapped();
    refused.bells.refuse.store(true, Ordering::SeqCst);
    for board in [off, refused] {
        board.transport.bar_mapped(4, Some(IoAddr::Mmio(AT)));
        let mut queues = board.start(Features::VERSION_1);
        assert!(board.bells.list().is_empty());
        board.offer(&mut queues[0]);
        board.notify(0);
        assert!(queues[0].has_used());
    }
}

#[test]
fn options_add_doorbells() {
    let board = Board::with(Options {
        props: PciProps::default()
            .page_per_vq(true)
            .modern_pio_notify(true),
        ..Options::default()
    });
    board.transport.bar_mapped(4, Some(IoAddr::Mmio(AT)));
    board.transport.bar_mapped(2, Some(IoAddr::Pio(PORT)));
    board.start(Features::VERSION_1);
    let port = |queue| Doorbell {
        at: DoorbellAddress::Pio(PORT),
        value: DoorbellValue::U16(queue),
    };
    let page = |queue: u64| Doorbell {
        at: DoorbellAddress::Mmio(AT + 0x3000 + 0x1000 * queue),
        value: DoorbellValue::Any,
    };
    assert_eq!(board.bells.list(), [port(0), port(1), page(0), page(1)]);
}
