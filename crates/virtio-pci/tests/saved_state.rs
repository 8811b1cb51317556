//! Saved state: what goes out comes back, and what is forged does not.

mod support;

use support::*;
use virtio_device::Features;
use virtio_pci::virtio_bus::DoorbellValue;
use virtio_pci::vm_pci::{IoAddr, PciFunction};
use virtio_pci::{PciProps, PciState};

/// A paused device that has served one buffer, and its driver's queues.
fn saved(legacy: bool) -> (Board, PciState, Vec<testkit::DriverQueue<Space>>) {
    let board = Board::new();
    board.enable_msix();
    let mut queues = match legacy {
        true => board.start_legacy(Features::NONE),
        false => board.start(Features::VERSION_1),
    };
    board.offer(&mut queues[0]);
    match legacy {
        true => board.notify_legacy(0),
        false => board.notify(0),
    }
    assert!(queues[0].collect().is_some());
    board.set_common(DEVICE_FEATURE_SELECT, 2);
    board.set_common(DRIVER_FEATURE_SELECT, 3);
    board.set_common(QUEUE_SELECT, 1);
    board.transport.pause();
    let state = board.transport.save().expect("saved");
    (board, state, queues)
}

#[test]
fn a_driver_does_not_notice() {
    for legacy in [false, true] {
        let (old, state, mut queues) = saved(legacy);
        let new = Board::successor_of(&old);
        new.transport.bar_mapped(4, Some(IoAddr::Mmio(1 << 39)));
        new.transport.bar_mapped(0, Some(IoAddr::Pio(0xc000)));
        new.transport.restore(&state).expect("restored");
        assert_eq!(new.transport.save().expect("saved"), state);
        assert_eq!(new.config(), old.config());
        new.transport.resume();
        new.runner.run();
        assert_eq!(new.bells.list().len(), 2);
        let value = match legacy {
            true => DoorbellValue::U16(0),
            false => DoorbellValue::Any,
        };
        assert_eq!(new.bells.list()[0].value, value);
        new.sink.take();
        new.offer(&mut queues[0]);
        match legacy {
            true => new.notify_legacy(0),
            false => new.notify(0),
        }
        assert!(queues[0].collect().is_some());
        if !legacy {
            assert_eq!(new.sink.take(), [0x101]);
        }
    }
}

#[test]
fn bug_41_a_reset_after_a_restore_is_as_any_other() {
    let (old, state, _) = saved(false);
    let new = Board::successor_of(&old);
    new.transport.restore(&state).expect("restored");
    new.transport.resume();
    new.set_common(STATUS, 0);
    let mut queues = new.start(Features::VERSION_1);
    new.offer(&mut queues[0]);
    new.notify(0);
    assert!(queues[0].collect().is_some());
}

#[test]
fn a_running_device_is_not_saved() {
    let board = Board::new();
    board.start(Features::VERSION_1);
    assert!(board.transport.save().is_err());
}

#[test]
fn bug_79_a_state_that_cannot_be_is_refused() {
    let (_, good, _) = saved(false);
    let forgeries: [fn(&mut PciState); 12] = [
        |state| state.version = 2,
        |state| state.core.version = 2,
        |state| state.queue_vectors.push(0),
        |state| state.queue_vectors.clear(),
        |state| state.isr = 4,
        |state| state.isr = 0x80,
        |state| state.legacy = true,
        |state| state.config_space.truncate(0x80),
        |state| state.config_space[2] ^= 1,
        |state| state.msix_table.push(0),
        |state| state.msix_pending.clear(),
        |state| state.core.queues[0].size = 9,
    ];
    for (number, forge) in forgeries.into_iter().enumerate() {
        let board = Board::new();
        let mut state = good.clone();
        forge(&mut state);
        assert!(board.transport.restore(&state).is_err(), "forgery {number}");
        assert_eq!(board.config(), Board::new().config(), "forgery {number}");
        board.start(Features::VERSION_1);
    }
}

#[test]
fn bug_79_forged_vectors_are_none() {
    let (_, mut state, _) = saved(false);
    state.config_vector = 3;
    state.queue_vectors = vec![0x8000, 2];
    let board = Board::new();
    board.transport.restore(&state).expect("restored");
    assert_eq!(board.common(CONFIG_MSIX_VECTOR), NO_VECTOR);
    board.set_common(QUEUE_SELECT, 0);
    assert_eq!(board.common(QUEUE_MSIX_VECTOR), NO_VECTOR);
}

#[test]
fn another_looking_function_refuses() {
    let (_, state, _) = saved(false);
    for props in [
        PciProps::default().vectors(Some(0)),
        PciProps::default().vectors(Some(4)),
        PciProps::default().disable_modern(true),
    ] {
        let board = Board::with(Options {
            props,
            ..Options::default()
        });
        assert!(board.transport.restore(&state).is_err());
    }
}

#[test]
fn a_pending_interrupt_is_still_pending() {
    let board = Board::new();
    board.start(Features::VERSION_1);
    board.worn.host().config_changed();
    board.transport.pause();
    let state = board.transport.save().expect("saved");
    let new = Board::new();
    new.transport.restore(&state).expect("restored");
    assert!(new.wire.is_high());
    assert_eq!(new.read(ISR.0, ISR.1, 1), 3);
    assert!(!new.wire.is_high());
}

#[cfg(feature = "serde")]
#[test]
fn a_state_survives_serde() {
    let (_, state, _) = saved(false);
    let text = serde_json::to_string(&state).expect("JSON");
    let back: PciState = serde_json::from_str(&text).expect("JSON");
    assert_eq!(back, state);
}
