//! MSI-X: masks, pending bits, routes, and accesses of every shape.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Event, MSIX_AT, Sink, Toy, VECTORS, Wire};
use vm_pci::*;

const MESSAGE: MsiMessage = MsiMessage {
    address: 0xfee0_1004,
    data: 0x4041,
};

fn toy() -> (Arc<Toy>, Arc<Sink>, Arc<Msix>) {
    let sink = Sink::new();
    let toy = Toy::with(sink.clone(), Wire::new());
    let msix = Arc::clone(toy.core.msix().unwrap());
    (toy, sink, msix)
}

fn control(toy: &Toy, enable: bool, mask: bool) {
    let byte = u8::from(enable) << 7 | u8::from(mask) << 6;
    assert_eq!(toy.write_config(MSIX_AT + 3, &[byte]), Effects::NONE);
}

fn message(msix: &Msix, vector: u64, message: MsiMessage) {
    msix.write_bar(vector * 16, &message.address.to_le_bytes());
    msix.write_bar(vector * 16 + 8, &message.data.to_le_bytes());
}

fn mask(msix: &Msix, vector: u64, masked: bool) {
    msix.write_bar(vector * 16 + 12, &u32::from(masked).to_le_bytes());
}

fn pending(msix: &Msix) -> u8 {
    let mut byte = [0];
    msix.read_bar(0x800, &mut byte);
    byte[0]
}

#[test]
fn a_driver_that_sets_up_one_vector_costs_one_route() {
    let (toy, sink, msix) = toy();
    control(&toy, true, true);
    for vector in 0..u64::from(VECTORS) {
        mask(&msix, vector, true);
    }
    control(&toy, true, false);
    message(&msix, 2, MESSAGE);
    assert!(msix.enabled() && sink.take().is_empty());
    mask(&msix, 2, false);
    assert_eq!(sink.take(), [Event::Program(0, Some(MESSAGE))]);
    msix.trigger(2);
    assert_eq!(sink.take(), [Event::Fire(0)]);
    // Masking and unmasking with the same message is free of calls.
    mask(&msix, 2, true);
    mask(&msix, 2, false);
    assert!(sink.take().is_empty());
    let moved = MsiMessage {
        data: 0x4042,
        ..MESSAGE
    };
    msix.write_bar(2 * 16 + 8, &moved.data.to_le_bytes());
    assert_eq!(sink.take(), [Event::Program(0, Some(moved))]);
    assert_eq!(sink.made.load(Ordering::Relaxed), 1);
}

#[test]
fn masked_vectors_become_pending_and_fire_once_when_unmasked() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    message(&msix, 1, MESSAGE);
    msix.trigger(1);
    msix.trigger(1);
    assert_eq!(pending(&msix), 0b10);
    mask(&msix, 1, false);
    assert_eq!(
        sink.take(),
        [Event::Program(0, Some(MESSAGE)), Event::Fire(0)]
    );
    assert_eq!(pending(&msix), 0);
    // Function mask and enable act as masks of all vectors.
    for (enable, masked) in [(true, true), (false, false)] {
        control(&toy, enable, masked);
        msix.trigger(1);
        assert!(sink.take().is_empty());
        control(&toy, true, false);
        assert_eq!(sink.take(), [Event::Fire(0)]);
    }
}

#[test]
fn bug_32_vectors_past_the_table_do_nothing() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    for vector in VECTORS..=u16::MAX {
        msix.trigger(vector);
        assert!(msix.irqfd(vector).is_none());
    }
    assert!(sink.take().is_empty() && pending(&msix) == 0);
}

#[test]
fn bug_33_accesses_of_every_size_and_offset() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    let offsets = (0..0x1010).chain(u64::MAX - 0x10..=u64::MAX);
    for offset in offsets {
        for length in 0..=16 {
            let mut data = vec![0; length];
            msix.read_bar(offset, &mut data);
            data.fill(0xff);
            msix.write_bar(offset, &data);
        }
    }
    // What remains is all ones but for reserved bits: masked, and nothing fired.
    let mut entry = [0; 16];
    msix.read_bar(16, &mut entry);
    assert_eq!(
        entry[..],
        [&[0xfc], &[0xff; 11][..], &[1, 0, 0, 0]].concat()
    );
    assert!(
        sink.take()
            .iter()
            .all(|event| matches!(event, Event::Program(..)))
    );
    let mut gap = [0; 8];
    msix.read_bar(0x400, &mut gap);
    assert_eq!(gap, [0xff; 8]);
}

#[test]
fn one_access_may_unmask_across_entries() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    // Vector control of entry 0 and the low address of entry 1, in eight bytes.
    msix.write_bar(12, &[0, 0, 0, 0, 0x10, 0, 0, 0]);
    let first = MsiMessage {
        address: 0,
        data: 0,
    };
    assert_eq!(sink.take(), [Event::Program(0, Some(first))]);
}

#[test]
fn a_host_without_routes_leaves_the_vector_masked() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    sink.refuse.store(true, Ordering::Relaxed);
    mask(&msix, 0, false);
    msix.trigger(0);
    assert!(sink.take().is_empty() && pending(&msix) == 1);
    // The next unmask tries again.
    sink.refuse.store(false, Ordering::Relaxed);
    mask(&msix, 0, false);
    assert!(sink.take().contains(&Event::Fire(0)));
}

#[test]
fn an_irqfd_that_was_handed_out_is_masked_by_the_route() {
    let (toy, sink, msix) = toy();
    assert!(msix.irqfd(0).is_none());
    control(&toy, true, false);
    mask(&msix, 0, false);
    assert!(msix.irqfd(0).is_some());
    sink.take();
    mask(&msix, 0, true);
    mask(&msix, 0, false);
    let first = MsiMessage {
        address: 0,
        data: 0,
    };
    assert_eq!(
        sink.take(),
        [Event::Program(0, None), Event::Program(0, Some(first))]
    );
}

#[test]
fn bug_35_reset_leaves_what_a_new_function_has() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    message(&msix, 3, MESSAGE);
    mask(&msix, 3, false);
    msix.trigger(0);
    sink.take();
    toy.reset();
    assert_eq!(sink.take(), [Event::Program(0, None)]);
    assert_eq!(toy.core.save(), Toy::new().core.save());
    assert!(!msix.enabled());
    msix.trigger(3);
    assert!(sink.take().is_empty());
}

#[test]
fn saved_pending_bits_are_delivered_after_restore() {
    let (toy, _, msix) = toy();
    control(&toy, true, true);
    message(&msix, 3, MESSAGE);
    mask(&msix, 3, false);
    msix.trigger(3);
    control(&toy, true, true);
    let mut state = toy.core.save();
    let sink = Sink::new();
    let other = Toy::with(sink.clone(), Wire::new());
    other.core.restore(&state).unwrap();
    assert!(sink.take().is_empty());
    control(&other, true, false);
    assert_eq!(
        sink.take(),
        [Event::Program(0, Some(MESSAGE)), Event::Fire(0)]
    );
    state.msix.as_mut().unwrap().table.pop();
    assert_eq!(other.core.restore(&state), Err(ConfigError::SavedState));
}

#[test]
fn layouts_that_cannot_be_are_refused() {
    let build = |layout| {
        FunctionCore::builder(common::TOY)
            .bar(0, Bar::io(32).unwrap())
            .bar(1, Bar::memory32(0x1000).unwrap())
            .msix(0x40, layout, Sink::new())
            .build()
            .is_ok()
    };
    let good = MsixLayout {
        bar: 1,
        vectors: 128,
        table: 0,
        pending: 0x800,
    };
    assert!(build(good));
    for wrong in [
        MsixLayout { bar: 0, ..good },
        MsixLayout { bar: 2, ..good },
        MsixLayout { vectors: 0, ..good },
        MsixLayout {
            vectors: 2049,
            ..good
        },
        MsixLayout {
            vectors: u16::MAX,
            ..good
        },
        MsixLayout {
            vectors: 129,
            ..good
        },
        MsixLayout { table: 4, ..good },
        MsixLayout {
            table: 0x808,
            ..good
        },
        MsixLayout {
            pending: 0xff8,
            ..good
        },
        MsixLayout {
            pending: 0x1000,
            ..good
        },
        MsixLayout {
            pending: u32::MAX - 7,
            ..good
        },
    ] {
        assert!(!build(wrong), "{wrong:?}");
    }
}

#[test]
fn no_interrupt_is_lost_between_trigger_and_unmask() {
    let (toy, sink, msix) = toy();
    control(&toy, true, false);
    let rounds = 2000;
    for _ in 0..rounds {
        mask(&msix, 0, true);
        sink.take();
        std::thread::scope(|scope| {
            scope.spawn(|| msix.trigger(0));
            mask(&msix, 0, false);
        });
        let fired = sink
            .take()
            .iter()
            .filter(|event| matches!(event, Event::Fire(_)))
            .count();
        assert_eq!(fired, 1);
    }
}
