//! The layout as the specification has it.

use virtio_device::RingArea;

use super::{Common, REGISTERS};
use crate::register::{Row, Write, read, written};

fn row(register: Common) -> Row<Common> {
    let found: Vec<_> = REGISTERS
        .iter()
        .filter(|row| row.register == register)
        .collect();
    assert_eq!(found.len(), 1, "{register:?}");
    *found[0]
}

#[test]
fn registers_lie_end_to_end_over_64_bytes() {
    let mut next = 0;
    for row in REGISTERS {
        assert_eq!(row.offset, next, "{:?}", row.register);
        assert!(row.offset.is_multiple_of(u64::from(row.width).min(4)));
        next += u64::from(row.width);
    }
    assert_eq!(next, 0x40);
}

#[test]
fn registers_are_where_the_guest_looks_for_them() {
    for (register, offset, width, writable) in [
        (Common::DeviceFeatureSelect, 0x00, 4, true),
        (Common::DeviceFeature, 0x04, 4, false),
        (Common::DriverFeature, 0x0c, 4, true),
        (Common::ConfigMsixVector, 0x10, 2, true),
        (Common::NumQueues, 0x12, 2, false),
        (Common::DeviceStatus, 0x14, 1, true),
        (Common::ConfigGeneration, 0x15, 1, false),
        (Common::QueueSelect, 0x16, 2, true),
        (Common::QueueEnable, 0x1c, 2, true),
        (Common::QueueNotifyOff, 0x1e, 2, false),
        (Common::QueueArea(RingArea::Descriptor), 0x20, 8, true),
        (Common::QueueArea(RingArea::Device), 0x30, 8, true),
        (Common::QueueReset, 0x3a, 2, true),
    ] {
        let row = row(register);
        assert_eq!(
            (row.offset, row.width, row.writable),
            (offset, width, writable),
            "{register:?}"
        );
    }
}

#[test]
fn a_write_reaches_a_register_only_in_its_width() {
    for row in REGISTERS {
        for length in 0..=16usize {
            let reached = written(REGISTERS, row.offset, &[0x5a; 16][..length]);
            let whole = length == usize::from(row.width) || row.width == 8 && length == 4;
            assert_eq!(
                reached.is_some(),
                whole && row.writable,
                "{:?} by {length} bytes",
                row.register
            );
        }
    }
}

#[test]
fn halves_of_addresses_are_written_one_by_one() {
    let register = Common::QueueArea(RingArea::Driver);
    let low = written(REGISTERS, 0x28, &[1, 2, 3, 4]);
    let high = written(REGISTERS, 0x2c, &[1, 2, 3, 4]);
    let write = |value, mask| {
        Some(Write {
            register,
            value,
            mask,
        })
    };
    assert_eq!(low, write(0x0403_0201, 0xffff_ffff));
    assert_eq!(high, write(0x0403_0201 << 32, 0xffff_ffff << 32));
    assert_eq!(written(REGISTERS, 0x2a, &[0; 4]), None);
}

#[test]
fn reads_of_any_width_show_the_bytes_of_the_registers_they_touch() {
    let value = |register| match register {
        Common::DeviceStatus => 0x0f,
        Common::ConfigGeneration => 7,
        Common::QueueSelect => 0x1234,
        _ => 0,
    };
    let mut word = [0; 4];
    read(REGISTERS, 0x14, &mut word, value);
    assert_eq!(word, [0x0f, 7, 0x34, 0x12]);
    let mut byte = [0];
    read(REGISTERS, 0x17, &mut byte, value);
    assert_eq!(byte, [0x12]);
}

#[test]
fn bug_38_no_offset_or_length_overflows() {
    for offset in [0x3f, 0x40, 0x41, u64::MAX - 8, u64::MAX] {
        for length in 0..=8 {
            let mut data = [0; 8];
            read(REGISTERS, offset, &mut data[..length], |_| 0);
            assert!(data[1.min(length)..length].iter().all(|&byte| byte == 0xff));
            assert_eq!(written(REGISTERS, offset, &data[..length]), None);
        }
    }
}
