//! Bugs that other transports had, by their number in docs/past-bugs.md.

mod support;

use support::*;
use virtio_device::{Features, IrqSource};
use virtio_pci::Place;
use virtio_pci::vm_pci::PciFunction;

/// The registers that belong to queue 0, as a driver sees them.
fn queue_registers(board: &Board) -> Vec<u64> {
    board.set_common(QUEUE_SELECT, 0);
    let rows = [QUEUE_SIZE, QUEUE_ENABLE, QUEUE_DESC, (0x28, 8), (0x30, 8)];
    rows.map(|register| board.common(register)).to_vec()
}

#[test]
fn bug_30_queue_registers_are_closed_once_the_queue_is_enabled() {
    for driver_ok in [false, true] {
        let board = Board::new();
        board.negotiate(Features::VERSION_1);
        board.set_up_queue(0, Features::VERSION_1);
        if driver_ok {
            board.set_common(STATUS, 15);
        }
        let before = queue_registers(&board);
        for (register, value) in [(QUEUE_SIZE, 4), (QUEUE_DESC, 0x5000), (QUEUE_ENABLE, 0)] {
            board.set_common(register, value);
        }
        board.write(4, 0x2c, 4, 1);
        assert_eq!(queue_registers(&board), before, "DRIVER_OK: {driver_ok}");
    }
}

#[test]
fn bug_30_nor_does_the_legacy_interface_open_them() {
    let board = Board::new();
    board.start(Features::VERSION_1);
    let before = queue_registers(&board);
    board.write(0, 0x08, 4, 7);
    assert_eq!(queue_registers(&board), before);
}

#[test]
fn bug_31_every_selector_reads_and_writes() {
    let board = Board::new();
    for queue in 0..=u16::MAX {
        board.set_common(QUEUE_SELECT, queue.into());
        assert_eq!(board.common(QUEUE_SELECT), u64::from(queue));
        if queue < 2 {
            continue;
        }
        board.set_common(QUEUE_SIZE, 8);
        board.set_common(QUEUE_DESC, 0x1000);
        board.set_common(QUEUE_MSIX_VECTOR, 0);
        board.set_common(QUEUE_ENABLE, 1);
        board.set_common(QUEUE_RESET, 1);
        board.write(0, 0x08, 4, 1);
        for register in [QUEUE_SIZE, QUEUE_DESC, QUEUE_ENABLE, QUEUE_NOTIFY_OFF] {
            assert_eq!(board.common(register), 0, "queue {queue}");
        }
        assert_eq!(board.common(QUEUE_MSIX_VECTOR), NO_VECTOR);
        assert_eq!(board.read(0, 0x0c, 2), 0);
    }
    for select in [4, u32::MAX] {
        board.set_common(DRIVER_FEATURE_SELECT, select.into());
        board.set_common(DRIVER_FEATURE, u32::MAX.into());
        assert_eq!(board.common(DRIVER_FEATURE), 0);
    }
}

#[test]
fn bug_32_a_vector_past_the_table_reads_back_as_none() {
    let board = Board::new();
    board.enable_msix();
    let vectors = u64::from(board.transport.info().vectors);
    board.set_common(QUEUE_SELECT, 0);
    for register in [CONFIG_MSIX_VECTOR, QUEUE_MSIX_VECTOR] {
        board.set_common(register, vectors - 1);
        assert_eq!(board.common(register), vectors - 1);
        for vector in [vectors, 0x8000, 0xfffe, NO_VECTOR] {
            board.set_common(register, vector);
            assert_eq!(board.common(register), NO_VECTOR);
        }
    }
    board.start(Features::VERSION_1);
    board.set_common(QUEUE_SELECT, 0);
    board.set_common(QUEUE_MSIX_VECTOR, 0x7000);
    board.sink.take();
    for source in [IrqSource::Queue(0), IrqSource::Queue(9)] {
        board.transport.interrupt().trigger(source).expect("no-op");
    }
    assert!(board.sink.take().is_empty());
    assert_eq!(board.wire.rises(), 0);
}

#[test]
fn bug_33_bars_take_accesses_of_any_size_anywhere() {
    let board = Board::new();
    for (bar, size) in [
        (0, 0x40),
        (1, 0x1000),
        (2, 8),
        (4, 0x4000),
        (6, 8),
        (255, 8),
    ] {
        for offset in 0..size + 16 {
            for width in 0..=8 {
                board.read(bar, offset, width);
                board.write(bar, offset, width, u64::MAX);
            }
        }
    }
}

#[test]
fn bug_38_no_offset_or_length_overflows() {
    let board = Board::new();
    for bar in 0..=6 {
        for offset in [0x0fff, 0x3fff, u64::MAX - 7, u64::MAX] {
            for width in 0..=8 {
                board.read(bar, offset, width);
                board.write(bar, offset, width, 0);
            }
        }
    }
    for offset in [0, 0x90, 0xfd, 0xffff] {
        let mut data = [0; 64];
        board.transport.read_config(offset, &mut data);
        let _ = board.transport.write_config(offset, &[]);
        let _ = board.transport.write_config(offset, &data);
    }
}

/// Everything that a guest can see.
fn everything(board: &Board) -> Vec<u8> {
    let mut bytes = board.config();
    for queue in 0..3 {
        board.set_common(QUEUE_SELECT, queue);
        let registers = (0..0x40).map(|offset| board.read(4, offset, 1) as u8);
        bytes.extend(registers);
    }
    board.set_common(QUEUE_SELECT, 0);
    bytes.extend((0..0x20).map(|offset| board.read(0, offset, 1) as u8));
    bytes.extend((0..0x1000).map(|offset| board.read(1, offset, 1) as u8));
    bytes.push(board.read(ISR.0, ISR.1, 1) as u8);
    bytes
}

#[test]
fn bug_35_after_a_reset_it_is_a_new_device() {
    let fresh = everything(&Board::new());
    let used = || {
        let board = Board::new();
        let mut queues = board.start(Features::VERSION_1 | Features::RING_RESET);
        board.offer(&mut queues[0]);
        board.notify(0);
        for select in [DEVICE_FEATURE_SELECT, DRIVER_FEATURE_SELECT, QUEUE_SELECT] {
            board.set_common(select, 1);
        }
        board.aim(4, 4, 4);
        board
    };
    let board = used();
    let function = &board.transport;
    let _ = function.write_config(0x04, &[0x07, 0x04, 0, 0, 0, 0, 0, 0, 0x10]);
    let _ = function.write_config(0x10, &[0xff; 24]);
    let _ = function.write_config(0x3c, &[11]);
    board.enable_msix();
    function.reset();
    assert_eq!(everything(&board), fresh, "by the bus");

    for status in [(4, 0x14), (0, 0x12)] {
        let board = used();
        board.aim(0, 0, 0);
        let _ = board.transport.write_config(WINDOW + 16, &[0; 4]);
        board.write(status.0, status.1, 1, 0);
        assert_eq!(board.common(DEVICE_FEATURE_SELECT), 0);
        assert!(!board.wire.is_high());
        assert_eq!(everything(&board), fresh, "by its driver");
    }
}

#[test]
fn bug_35_a_function_level_reset_resets_the_device() {
    let board = Board::with(Options {
        place: Place::RootPort,
        ..Options::default()
    });
    board.start(Features::VERSION_1);
    let effects = board.transport.write_config(0x48, &[0, 0x80]);
    assert!(effects.reset, "the bus is asked to reset the function");
    board.transport.reset();
    assert_eq!(board.status(), 0);
    board.start(Features::VERSION_1);
}

#[test]
fn bug_36_a_queue_that_cannot_be_is_not_started() {
    for (register, value) in [
        (QUEUE_SIZE, 0),
        (QUEUE_SIZE, 3),
        (QUEUE_SIZE, 512),
        (QUEUE_DESC, 8),
    ] {
        let board = Board::new();
        board.negotiate(Features::VERSION_1);
        board.set_common(QUEUE_SELECT, 0);
        board.set_common(register, value);
        board.set_common(QUEUE_ENABLE, 1);
        board.set_common(STATUS, 15);
        assert_eq!(board.status() & 0x40, 0x40, "{register:?} {value}");
        board.notify(0);
        assert_eq!(board.worn.served(), 0);
        board.start(Features::VERSION_1);
    }
}

#[test]
fn bug_37_a_failed_start_is_told_by_status_and_interrupt() {
    let toy = Toy {
        fails: true,
        ..Toy::default()
    };
    let board = Board::with(Options {
        toy,
        ..Options::default()
    });
    board.negotiate(Features::VERSION_1);
    board.set_common(STATUS, 15);
    assert_eq!(board.status(), 0x4f);
    assert!(board.wire.is_high());
    assert_eq!(board.read(ISR.0, ISR.1, 1), 3);
    board.set_common(STATUS, 0);
    assert_eq!(board.status(), 0);
}

#[test]
fn bug_42_a_notification_before_driver_ok_or_of_no_queue_is_nothing() {
    let board = Board::new();
    board.notify(0);
    board.notify_legacy(0);
    board.start(Features::VERSION_1);
    for queue in [2, 3, 0x3ff] {
        board.notify(queue);
        board.notify_legacy(queue);
    }
    board.notify_legacy(u16::MAX);
    assert_eq!(board.worn.served(), 0);
    assert_eq!(board.status(), 15);
}

#[test]
fn bug_45_status_bits_come_in_order_or_not_at_all() {
    // Features, what is written, what is read then.
    let good = Features::VERSION_1;
    let bad = Features::VERSION_1 | Features::bit(77);
    for (features, writes, want) in [
        (good, &[8u64][..], 0),
        (good, &[1, 9], 1),
        (good, &[3, 7], 3),
        (good, &[3, 11, 15], 15),
        (good, &[11], 11),
        (good, &[15], 15),
        (good, &[3, 0x43], 3),
        (good, &[0x83], 0x83),
        (bad, &[3, 11], 3),
        (bad, &[15], 3),
        (bad, &[8], 0),
    ] {
        let board = Board::new();
        board.accept(features);
        for &status in writes {
            board.set_common(STATUS, status);
        }
        assert_eq!(board.status(), want, "{features:?} {writes:x?}");
    }
}

#[test]
fn bug_45_settled_features_do_not_change() {
    let board = Board::new();
    board.negotiate(Features::VERSION_1);
    board.accept(Features::VERSION_1 | Features::EVENT_IDX);
    board.write(0, 4, 4, u32::MAX.into());
    board.set_common(DRIVER_FEATURE_SELECT, 0);
    assert_eq!(board.common(DRIVER_FEATURE), 0);
}
