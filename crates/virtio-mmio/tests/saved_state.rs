//! Pause, save, restore, resume.

mod support;

use proptest::prelude::*;
use support::*;
use virtio_mmio::{MmioState, MmioTransport};

/// A board whose memory is `board`'s, with its state.
fn moved(board: &Board) -> (Board, MmioState) {
    board.transport.pause();
    let state = board.transport.save().expect("paused");
    let target = Board::new();
    let mut memory = vec![0; MEMORY];
    use virtio_device::vm_memory::{Bytes, GuestAddress};
    board
        .memory
        .read_slice(&mut memory, GuestAddress(0))
        .expect("source");
    target.poke(0, &memory);
    target.transport.restore(&state).expect("restore");
    (target, state)
}

#[test]
fn a_device_goes_on_elsewhere() {
    let board = Board::new();
    board.start(0);
    for n in 0..10 {
        board.offer(0, n);
        board.notify(0);
    }
    board.store(CONFIG_SPACE, b"A");
    board.write(QUEUE_SEL, 1);
    let (target, state) = moved(&board);
    assert_eq!(target.read(STATUS), 15);
    assert_eq!(target.read(QUEUE_SIZE_MAX), 16, "QueueSel");
    assert_eq!(target.transport.save().expect("not yet resumed"), state);
    target.offer(0, 10);
    target.transport.resume();
    target.runner.run();
    assert_eq!(target.used(0), 11, "looked at without a notification");
    assert_eq!(target.read(CONFIG_SPACE) as u8, b'A');
}

#[test]
fn bug_44_no_interrupt_is_lost_over_a_move() {
    let board = Board::new();
    board.start(0);
    board.offer(0, 0);
    board.notify(0);
    let (target, state) = moved(&board);
    assert_eq!(state.interrupt_status, 1);
    assert_eq!(target.read(INTERRUPT_STATUS), 1);
    assert!(target.levels.is_high());
    target.write(INTERRUPT_ACK, 1);
    target.transport.resume();
    assert_eq!(target.read(INTERRUPT_STATUS), 3);
}

#[test]
fn bug_41_reset_after_restore_is_reset_after_boot() {
    let board = Board::new();
    let fresh = board.transport.save().expect("fresh");
    board.start(0);
    board.offer(0, 0);
    board.notify(0);
    let (target, _) = moved(&board);
    target.transport.resume();
    target.write(STATUS, 0);
    assert_eq!(target.transport.save().expect("reset"), fresh);
    for area in areas(0) {
        target.poke(area.into(), &[0; 0x100]);
    }
    target.start(0);
    target.offer(0, 0);
    target.notify(0);
    assert_eq!(target.used(0), 1);
}

#[test]
fn a_running_device_cannot_be_saved_nor_restored_into() {
    let board = Board::new();
    let fresh = board.transport.save().expect("fresh");
    board.start(0);
    assert!(board.transport.save().is_err());
    assert!(board.transport.restore(&fresh).is_err());
    assert_eq!(board.read(STATUS), 15);
}

#[test]
fn bug_79_states_that_cannot_be_are_refused() {
    let board = Board::new();
    board.start(0);
    let (_, good) = moved(&board);
    let spoilt: [fn(&mut MmioState); 9] = [
        |state| state.version = 2,
        |state| state.legacy = true,
        |state| state.interrupt_status = 4,
        |state| state.guest_page_size = 0,
        |state| state.queue_align.push(0),
        |state| state.core.queues.truncate(1),
        |state| state.core.queues[0].size = 0,
        |state| state.core.version = 0,
        |state| state.core.device.kind = "another".into(),
    ];
    for spoil in spoilt {
        let mut state = good.clone();
        spoil(&mut state);
        let target = Board::new();
        let fresh = target.transport.save().expect("fresh");
        assert!(target.transport.restore(&state).is_err());
        assert_eq!(target.transport.save().expect("as it was"), fresh);
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_state_survives_serialisation() {
    let board = Board::new();
    board.start(0);
    let (_, state) = moved(&board);
    let text = serde_json::to_string(&state).expect("serialise");
    assert_eq!(
        serde_json::from_str::<MmioState>(&text).expect("parse"),
        state
    );
}

fn restore_and_use(transport: &MmioTransport<Memory>, board: &Board) {
    transport.resume();
    board.runner.run();
    for queue in 0..2 {
        board.notify(queue);
    }
    board.write(STATUS, 0);
    assert_eq!(board.read(STATUS), 0);
}

proptest! {
    /// Whatever the numbers in a state: refused, or a device that works as any other.
    #[test]
    fn bug_79_any_state_is_harmless(
        status: u8,
        features in prop_oneof![Just(VERSION_1), Just(VERSION_1 | 1 << 34), any::<u64>()],
        size in prop_oneof![Just(8u16), any::<u16>()],
        address in prop_oneof![0..MEMORY as u64, any::<u64>()],
        avail: u16,
        used: u16,
        selectors: [u32; 3],
        align: [u32; 2],
    ) {
        use virtio_bus::Status;
        use virtio_device::{Features, RingPosition};
        let board = Board::new();
        board.start(0);
        let (_, mut state) = moved(&board);
        state.core.status = Status(status);
        state.core.driver_features = Features::from_bits(features.into());
        for queue in &mut state.core.queues {
            queue.size = size;
            queue.descriptor = address & !15;
            queue.position = Some(RingPosition { avail, used });
        }
        [state.device_features_sel, state.driver_features_sel, state.queue_sel] = selectors;
        state.queue_align = align.into();
        let target = Board::with(Options {
            virtio: virtio_bus::VirtioProps::default().packed(true),
            ..Options::default()
        });
        if target.transport.restore(&state).is_ok() {
            restore_and_use(&target.transport, &target);
        }
    }
}
