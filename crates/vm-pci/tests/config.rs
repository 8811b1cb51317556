//! Configuration space: masks, bounds, capability lists, and the layouts that QEMU's guests see.
#![allow(missing_docs)]

mod common;

use common::{Sink, TOY, Wire};
use vm_pci::*;

#[test]
fn reserved_registers_read_zero_and_the_outside_reads_ones() {
    let config = ConfigSpace::new(ConfigSize::Conventional);
    let mut data = [0x55; 4];
    config.read(0x80, &mut data);
    assert_eq!(data, [0; 4]);
    config.read(0xfe, &mut data);
    assert_eq!(data, [0, 0, 0xff, 0xff]);
    config.read(u16::MAX, &mut data);
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn masks_decide_bit_by_bit() {
    let mut config = ConfigSpace::new(ConfigSize::Conventional);
    let register = Register::word(0x40)
        .value(0xf0f0)
        .writable(0x00ff)
        .clearable(0x3000);
    config.define(0, &[register]).unwrap();
    config.write(0x40, &[0x12, 0x10]);
    assert_eq!(config.u16(0x40), 0xe012);
    // A write of one lane leaves the other alone.
    config.write(0x41, &[0xff]);
    assert_eq!(config.u16(0x40), 0xc012);
    config.reset();
    assert_eq!(config.u16(0x40), 0xf0f0);
}

#[test]
fn bug_38_config_access_of_any_offset_and_length() {
    let toy = common::Toy::new();
    for offset in 0..=u16::MAX {
        for length in 0..=8 {
            let mut data = vec![0x5a; length];
            toy.read_config(offset, &mut data);
            if offset >= 0x1000 {
                assert!(data.iter().all(|byte| *byte == 0xff));
                assert_eq!(toy.write_config(offset, &data), Effects::NONE);
            }
        }
    }
}

#[test]
fn capabilities_must_fit_and_not_overlap() {
    let at = |offsets: &[u8]| {
        let builder = FunctionCore::builder(TOY);
        let add = |b: FunctionBuilder, at: &u8| b.capability(*at, Capability::new(9, 16, &[]));
        offsets.iter().fold(builder, add).build().map(|_| ())
    };
    assert_eq!(at(&[0x40, 0x50, 0xf0]), Ok(()));
    for wrong in [0x00, 0x3c, 0x41, 0xf4] {
        assert!(
            matches!(at(&[wrong]), Err(ConfigError::CapabilityOffset { .. })),
            "{wrong:#x}"
        );
    }
    assert_eq!(
        at(&[0x40, 0x4c]),
        Err(ConfigError::CapabilityOverlap { at: 0x4c })
    );
    let leaking = Capability::new(9, 4, &[Register::dword(2)]);
    let built = FunctionCore::builder(TOY).capability(0x40, leaking).build();
    assert!(matches!(built, Err(ConfigError::OutOfSpace { .. })));
}

#[test]
fn extended_capabilities_are_linked_from_0x100() {
    let serial = || ExtendedCapability::new(3, 1, 12, &[Register::dword(4).value(0xabcd)]);
    let core = FunctionCore::builder(TOY)
        .config_size(ConfigSize::Express)
        .extended_capability(0x100, serial())
        .extended_capability(0x200, serial())
        .build()
        .unwrap();
    let read = |at| core.with_config(|config| config.u32(at));
    assert_eq!(
        [read(0x100), read(0x104), read(0x200)],
        [0x2001_0003, 0xabcd, 0x0001_0003]
    );
    core.reset();
    assert_eq!(core.with_config(|config| config.u32(0x100)), 0x2001_0003);

    let late = FunctionCore::builder(TOY)
        .config_size(ConfigSize::Express)
        .extended_capability(0x140, serial())
        .build();
    assert_eq!(late.err(), Some(ConfigError::FirstExtended { at: 0x140 }));
    let small = FunctionCore::builder(TOY)
        .extended_capability(0x100, serial())
        .build();
    assert!(matches!(small, Err(ConfigError::CapabilityOffset { .. })));
}

/// Bytes that a guest reads.
fn bytes(core: &FunctionCore, range: std::ops::Range<u16>) -> Vec<u8> {
    let mut data = vec![0; range.len()];
    core.read_config(range.start, &mut data);
    data
}

#[test]
fn layout_of_a_virtio_blk_behind_a_port_is_that_of_qemu() {
    let virtio = |length: u8, kind: u32, offset: u32| {
        let size = if kind == 5 { 0 } else { 0x1000 };
        let multiplier = Register::dword(16 * u16::from(length > 16)).value(4);
        let mut registers = vec![
            Register::byte(2).value(length.into()),
            Register::byte(3).value(kind),
            Register::byte(4).value(if kind == 5 { 0 } else { 4 }),
            Register::dword(8).value(offset),
            Register::dword(12).value(size),
        ];
        registers.extend((kind == 2).then_some(multiplier));
        Capability::new(9, length, &registers)
    };
    let blk = Identity {
        vendor: 0x1af4,
        device: 0x1042,
        revision: 1,
        class: 0x010000,
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
    };
    let layout = MsixLayout {
        bar: 1,
        vectors: 2,
        table: 0,
        pending: 0x800,
    };
    let core = FunctionCore::builder(blk)
        .config_size(ConfigSize::Express)
        .bar(1, Bar::memory32(0x1000).unwrap())
        .bar(4, Bar::memory64(0x4000).unwrap().prefetchable())
        .intx(InterruptPin::A, Wire::new())
        .msix(0xdc, layout, Sink::new())
        .capability(0xc8, virtio(20, 5, 0))
        .capability(0xb4, virtio(20, 2, 0x3000))
        .capability(0xa4, virtio(16, 4, 0x2000))
        .capability(0x94, virtio(16, 3, 0x1000))
        .capability(0x84, virtio(16, 1, 0))
        .power_management(0x7c, false)
        .express(0x40, ExpressType::Endpoint)
        .build()
        .unwrap();
    // Command, status, addresses and interrupt line are the guest's.
    assert_eq!(bytes(&core, 0..4), [0xf4, 0x1a, 0x42, 0x10]);
    assert_eq!(bytes(&core, 6..0x10), [0x10, 0, 1, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(bytes(&core, 0x20..0x24), [0x0c, 0, 0, 0]);
    assert_eq!(
        bytes(&core, 0x2c..0x38),
        [0xf4, 0x1a, 0, 0x11, 0, 0, 0, 0, 0xdc, 0, 0, 0]
    );
    assert_eq!(bytes(&core, 0x3d..0x40), [1, 0, 0]);
    let golden = concat!(
        "10000200208000100000000011040000000011000000000000000000000000000000000000003000",
        "0000000000000000000000000000000000000000014003000000000009",
        "7c1001040000000000000000100000098410030400000000100000001000000994100404000000002000000010000009a41402",
        "0400000000300000001000000400000009b414050000000000000000000000000000000011c80100010000000108",
    );
    let hex: String = bytes(&core, 0x40..0xe6)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, golden);
}

#[test]
fn interrupt_pin_follows_disable_and_msix() {
    let (sink, wire) = (Sink::new(), Wire::new());
    let toy = common::Toy::with(sink, wire.clone());
    let status = || toy.core.with_config(|config| config.u16(6)) & 8 != 0;
    toy.core.set_interrupt(true);
    toy.core.set_interrupt(true);
    assert_eq!((wire.take(), status()), (vec![true], true));
    assert_eq!(toy.write_config(5, &[0x04]), Effects::NONE);
    assert_eq!((wire.take(), status()), (vec![false], true));
    assert_eq!(toy.write_config(5, &[0x00]), Effects::NONE);
    assert_eq!(wire.take(), [true]);
    // MSI-X takes over from the pin.
    assert_eq!(
        toy.write_config(common::MSIX_AT + 3, &[0x80]),
        Effects::NONE
    );
    assert_eq!(wire.take(), [false]);
    toy.core.reset();
    assert!(!status() && wire.take().is_empty());
    toy.core.set_interrupt(true);
    drop(toy);
    assert_eq!(wire.take(), [true, false]);
}

#[test]
fn pins_are_swizzled_in_turn() {
    use InterruptPin::{A, B, C, D};
    assert_eq!(
        [0, 1, 2, 3, 4, 31].map(|device| A.swizzle(device)),
        [A, B, C, D, A, D]
    );
    assert_eq!(D.swizzle(1), A);
    assert_eq!([A, B, C, D].map(InterruptPin::register), [1, 2, 3, 4]);
}

#[test]
fn function_level_reset_is_asked_for_once_and_reads_zero() {
    let toy = common::Toy::new();
    let effects = toy.write_config(common::EXPRESS_AT + 9, &[0x80]);
    assert!(effects.reset && effects.decode);
    let mut data = [0xff];
    toy.read_config(common::EXPRESS_AT + 9, &mut data);
    assert_eq!(data, [0]);
    assert_eq!(
        toy.write_config(common::EXPRESS_AT + 8, &[0x0f]),
        Effects::NONE
    );
}

#[test]
fn d3hot_stops_decoding_and_waking_resets() {
    let toy = common::Toy::new();
    assert_eq!(
        toy.write_config(0x14, &0xc000_0000_u32.to_le_bytes()),
        Effects::NONE
    );
    assert!(toy.write_config(4, &[2]).decode);
    let control = common::POWER_AT + 4;
    // D1 is not offered: the write is dropped.
    assert_eq!(toy.write_config(control, &[1]), Effects::NONE);
    assert_eq!(toy.core.with_config(|config| config.u16(control)), 0);
    assert!(toy.write_config(control, &[3]).decode);
    assert_eq!(toy.decode(), BarMap::default());
    assert!(toy.write_config(control, &[0]).reset);
}

#[test]
fn saved_registers_come_back_and_forged_ones_do_not() {
    let toy = common::Toy::new();
    let _ = toy.write_config(0x14, &0xc123_4000_u32.to_le_bytes());
    let _ = toy.write_config(4, &[7]);
    let _ = toy.write_config(0x3c, &[11]);
    toy.core.set_interrupt(true);
    let state = toy.core.save();
    let other = common::Toy::new();
    other.core.restore(&state).unwrap();
    assert_eq!(other.core.save(), state);
    assert_eq!(other.decode(), toy.decode());

    let mut forged = state.clone();
    forged.config[0x34] = 0x41;
    assert_eq!(other.core.restore(&forged), Err(ConfigError::SavedState));
    assert_eq!(other.decode(), BarMap::default());
    let mut forged = state.clone();
    forged
        .config
        .iter_mut()
        .skip(0x40)
        .for_each(|byte| *byte = 0xff);
    other.core.restore(&forged).unwrap();
    let id = other.core.with_config(|config| config.u8(0x40));
    assert_eq!(id, 0x10, "read-only bytes are not taken over");
    for length in [0, 1, 255, 4095, 4097] {
        let mut short = state.clone();
        short.config.resize(length, 0);
        assert_eq!(other.core.restore(&short), Err(ConfigError::SavedState));
    }
    let no_msix = FunctionState {
        msix: None,
        ..state
    };
    assert_eq!(other.core.restore(&no_msix), Err(ConfigError::SavedState));
}
