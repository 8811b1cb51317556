//! The life of a version 2 device: negotiation, queues, interrupts, reset.

mod support;

use support::*;

#[test]
fn a_buffer_goes_round() {
    let board = Board::new();
    board.start(0);
    board.offer(0, 0);
    board.notify(0);
    assert_eq!((board.used(0), board.served()), (1, 1));
    assert_eq!(board.read(INTERRUPT_STATUS), 1);
    assert!(board.levels.is_high());
    board.write(INTERRUPT_ACK, 1);
    assert_eq!(board.read(INTERRUPT_STATUS), 0);
    assert!(!board.levels.is_high());
}

#[test]
fn a_configuration_change_interrupts() {
    let board = Board::new();
    board.start(0);
    board.host().config_changed();
    assert_eq!(board.read(INTERRUPT_STATUS), 2);
    board.offer(1, 0);
    board.notify(1);
    assert_eq!(board.read(INTERRUPT_STATUS), 3);
    board.write(INTERRUPT_ACK, 1);
    assert_eq!(board.read(INTERRUPT_STATUS), 2);
    assert!(board.levels.is_high(), "an event is left");
    board.write(INTERRUPT_ACK, u32::MAX);
    assert!(!board.levels.is_high());
}

#[test]
fn a_queue_of_which_ready_is_cleared_is_left_alone() {
    let board = Board::new();
    board.start(0);
    board.offer(0, 0);
    board.notify(0);
    board.write(QUEUE_SEL, 0);
    board.write(QUEUE_READY, 0);
    assert_eq!(board.read(QUEUE_READY), 0);
    assert_eq!(board.read(STATUS), 15, "the device goes on");
    board.offer(0, 1);
    board.notify(0);
    assert_eq!(board.used(0), 1);
    board.offer(1, 0);
    board.notify(1);
    assert_eq!(board.used(1), 1, "and so does the other queue");
    board.write(QUEUE_SEL, 1);
    assert_eq!(board.read(QUEUE_READY), 1);
}

#[test]
fn ready_can_be_cleared_before_driver_ok() {
    let board = Board::new();
    board.negotiate(VERSION_1);
    board.set_up_queue(0);
    assert_eq!(board.read(QUEUE_READY), 1);
    board.write(QUEUE_READY, 0);
    assert_eq!(board.read(QUEUE_READY), 0);
    assert_eq!(board.read(STATUS), 11);
    board.set_up_queue(0);
    board.write(STATUS, 15);
    board.offer(0, 0);
    board.notify(0);
    assert_eq!(board.used(0), 1);
}

#[test]
fn a_queue_can_be_reset_and_used_again() {
    let board = Board::new();
    board.start(RING_RESET);
    board.offer(0, 0);
    board.notify(0);
    board.write(QUEUE_SEL, 0);
    board.write(QUEUE_RESET, 1);
    assert_eq!((board.read(QUEUE_RESET), board.read(QUEUE_READY)), (0, 0));
    for area in areas(0) {
        board.poke(area.into(), &[0; 0x100]);
    }
    board.set_up_queue(0);
    assert_eq!((board.read(QUEUE_RESET), board.read(QUEUE_READY)), (0, 1));
    board.offer(0, 0);
    board.notify(0);
    assert_eq!((board.used(0), board.served()), (1, 2));
}

#[test]
fn without_ring_reset_a_queue_reset_is_ignored() {
    let board = Board::new();
    board.start(0);
    board.write(QUEUE_SEL, 0);
    board.write(QUEUE_RESET, 1);
    assert_eq!((board.read(QUEUE_RESET), board.read(QUEUE_READY)), (0, 1));
}

#[test]
fn bug_30_queue_registers_are_closed_once_the_queue_is_enabled() {
    for driver_ok in [false, true] {
        let board = Board::new();
        board.negotiate(VERSION_1);
        board.set_up_queue(0);
        if driver_ok {
            board.write(STATUS, 15);
        }
        for queue in 0..2 {
            board.write(QUEUE_SEL, queue);
            board.write(QUEUE_SIZE, 0);
            for register in [0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4] {
                board.write(register, 0xffff_fff0);
            }
        }
        board.write(STATUS, 15);
        assert_eq!(board.read(STATUS), 15);
        board.offer(0, 0);
        board.notify(0);
        assert_eq!(board.used(0), 1, "at its old place, in its old size");
    }
}

#[test]
fn bug_30_a_queue_cannot_join_a_running_device() {
    let board = Board::new();
    board.negotiate(VERSION_1);
    board.set_up_queue(0);
    board.write(STATUS, 15);
    board.set_up_queue(1);
    assert_eq!(board.read(QUEUE_READY), 0);
    board.offer(1, 0);
    board.notify(1);
    assert_eq!(board.used(1), 0);
}

#[test]
fn bug_35_reset_leaves_a_new_device() {
    let board = Board::new();
    let fresh = snapshot(&board);
    let state = board.transport.save().expect("fresh");
    board.start(RING_RESET);
    board.store(CONFIG_SPACE, b"XXXX");
    board.offer(0, 0);
    board.notify(0);
    board.host().config_changed();
    board.write(DEVICE_FEATURES_SEL, 1);
    board.write(QUEUE_SEL, 1);
    assert_ne!(snapshot(&board), fresh);
    board.write(STATUS, 0);
    assert_eq!(snapshot(&board), fresh);
    assert_eq!(board.transport.save().expect("reset"), state);
    assert!(!board.levels.is_high());
}

#[test]
fn bug_36_a_queue_that_cannot_be_fails_activation() {
    type Spoil = fn(&Board);
    let cases: [(&str, Spoil); 5] = [
        ("size 0", |board| board.write(QUEUE_SIZE, 0)),
        ("no power of two", |board| board.write(QUEUE_SIZE, 7)),
        ("larger than the maximum", |board| {
            board.write(QUEUE_SIZE, 16)
        }),
        ("does not fit 16 bits", |board| {
            board.write(QUEUE_SIZE, 0x1_0008)
        }),
        ("misaligned", |board| board.write(0x80, 0x1_0001)),
    ];
    for (name, spoil) in cases {
        let board = Board::new();
        board.negotiate(VERSION_1);
        board.set_up_queue(0);
        board.write(QUEUE_READY, 0);
        spoil(&board);
        board.write(QUEUE_READY, 1);
        board.write(STATUS, 15);
        assert_eq!(board.read(STATUS) & 64, 64, "{name}");
        board.notify(0);
        assert_eq!(board.served(), 0);
    }
}

#[test]
fn bug_36_a_queue_outside_memory_only_needs_a_reset() {
    let board = Board::new();
    board.negotiate(VERSION_1);
    board.write(QUEUE_SEL, 0);
    board.write(0x84, 0xffff_ffff);
    board.write(QUEUE_READY, 1);
    board.write(STATUS, 15);
    board.notify(0);
    assert_eq!(board.read(STATUS) & 64, 64);
    board.write(STATUS, 0);
    assert_eq!(board.read(STATUS), 0);
}

#[test]
fn bug_37_failed_activation_needs_a_reset_and_says_so() {
    let board = Board::with(Options {
        fails: true,
        ..Options::default()
    });
    board.negotiate(VERSION_1);
    board.set_up_queue(0);
    board.write(STATUS, 15);
    assert_eq!(board.read(STATUS), 64 | 15);
    assert_eq!(board.read(INTERRUPT_STATUS), 2);
    assert!(board.levels.is_high());
    board.notify(0);
    board.write(STATUS, 0);
    assert_eq!((board.read(STATUS), board.read(INTERRUPT_STATUS)), (0, 0));
}

#[test]
fn bug_42_notifications_before_driver_ok_touch_no_queue() {
    let board = Board::new();
    board.negotiate(VERSION_1);
    board.set_up_queue(0);
    board.offer(0, 0);
    for queue in [0, 1, 2, 0xffff] {
        board.notify(queue);
    }
    assert_eq!((board.used(0), board.read(INTERRUPT_STATUS)), (0, 0));
    board.write(STATUS, 15);
    board.runner.run();
    assert_eq!(
        board.used(0),
        1,
        "what was there at DRIVER_OK is found without a notification"
    );
}

#[test]
fn bug_42_the_queue_size_is_the_drivers() {
    let board = Board::new();
    board.start(0);
    // A ring of 8 although the maximum of queue 1 is 16: buffer 8 wraps to the first slot.
    for n in 0..12 {
        board.offer(1, n);
        board.notify(1);
    }
    assert_eq!((board.used(1), board.read(STATUS)), (12, 15));
}

#[test]
fn bug_43_a_buffer_in_the_devices_own_registers_is_not_memory() {
    let board = Board::new();
    board.start(0);
    board.offer(0, 0);
    let status = BASE + STATUS;
    board.poke(areas(0)[0].into(), &status.to_le_bytes());
    board.notify(0);
    assert_eq!(board.served(), 1, "the buffer was looked at");
    assert_eq!(board.read(STATUS), 15 | 64, "refused, and nothing written");
    board.write(STATUS, 0);
    board.start(0);
}

#[test]
fn bug_45_the_status_bits_come_in_order() {
    // Features, status writes, status read at the end.
    let cases: &[(u64, &[u32], u32)] = &[
        (VERSION_1, &[1, 3, 11], 11),
        (VERSION_1, &[3, 11], 11),
        (VERSION_1, &[11], 11),
        (VERSION_1, &[8], 0),
        (VERSION_1, &[1, 9], 1),
        (0, &[1, 3, 11], 3),
        (VERSION_1 | 1 << 20, &[1, 3, 11], 3),
        (VERSION_1 | 1 << 63, &[1, 3, 11], 3),
        (VERSION_1, &[1, 3, 7], 3),
        (VERSION_1, &[1, 3, 11, 15], 15),
        (VERSION_1, &[15], 15),
        (VERSION_1, &[4], 0),
        (VERSION_1, &[1, 3, 11, 15, 1], 15),
        (VERSION_1, &[64 | 32 | 16], 0),
        (VERSION_1, &[1, 3, 128], 131),
        (VERSION_1, &[0xffff_ff01], 1),
        (VERSION_1, &[1, 0x100], 0),
    ];
    for &(features, writes, end) in cases {
        let board = Board::new();
        board.accept(features);
        writes.iter().for_each(|&bits| board.write(STATUS, bits));
        assert_eq!(board.read(STATUS), end, "{features:#x} {writes:?}");
    }
}

#[test]
fn features_are_settled_by_features_ok() {
    let board = Board::new();
    board.negotiate(VERSION_1);
    board.accept(VERSION_1 | RING_RESET);
    board.set_up_queue(0);
    board.write(STATUS, 15);
    board.write(QUEUE_RESET, 1);
    assert_eq!(board.read(QUEUE_READY), 1, "queue reset was not negotiated");
}

/// All that a driver can see.
fn snapshot(board: &Board) -> Vec<u32> {
    let registers = (0..0x110).step_by(4).map(|offset| board.read(offset));
    // The generation goes on counting, as it must.
    let registers = registers
        .enumerate()
        .filter(|(index, _)| *index != 0xfc / 4);
    registers.map(|(_, value)| value).collect()
}
