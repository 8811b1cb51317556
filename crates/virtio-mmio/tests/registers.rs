//! The window as a table of registers: what reads, what writes, at which width.

mod support;

use proptest::prelude::*;
use support::*;
use virtio_mmio::EmptySlot;
use virtio_mmio::vm_device::DeviceMmio;
use virtio_mmio::vm_device::bus::MmioAddress;

#[test]
fn the_device_says_what_it_is() {
    let board = Board::new();
    assert_eq!(board.read(0), u32::from_le_bytes(*b"virt"));
    assert_eq!(board.read(4), 2);
    assert_eq!(board.read(8), 42);
    assert_eq!(board.read(0xc), u32::from_le_bytes(*b"QEMU"));
    assert_eq!(board.transport.id().0, 42);
    assert_eq!(Board::legacy().read(4), 1);
}

#[test]
fn an_empty_slot_has_device_id_0() {
    let read = |offset| {
        let mut data = [0xaa; 4];
        EmptySlot.mmio_read(MmioAddress(BASE), offset, &mut data);
        u32::from_le_bytes(data)
    };
    assert_eq!((read(0), read(4), read(8)), (0x7472_6976, 2, 0));
    EmptySlot.mmio_write(MmioAddress(BASE), STATUS, &[1, 0, 0, 0]);
    assert_eq!((read(STATUS), read(CONFIG_SPACE)), (0, 0));
}

#[test]
fn features_are_seen_through_selectors() {
    let board = Board::new();
    let offered = board.offered();
    assert_eq!(offered & VERSION_1, VERSION_1);
    assert_eq!(offered & 1, 1, "the device's own bit");
    assert_eq!(
        offered & (1 << 27),
        0,
        "ANY_LAYOUT is the legacy interface's"
    );
    for select in [2, 3, 4, 1 << 31, u32::MAX] {
        board.write(DEVICE_FEATURES_SEL, select);
        assert_eq!(board.read(DEVICE_FEATURES), 0);
    }
}

#[test]
fn control_registers_take_aligned_32_bit_accesses_only() {
    let board = Board::new();
    for len in [1, 2, 3, 8] {
        let mut data = vec![0xaa; len];
        board.access(0, &mut data);
        assert_eq!(data, vec![0; len], "{len} bytes of MagicValue");
        board.store(STATUS, &vec![1; len]);
        assert_eq!(board.read(STATUS), 0);
    }
    let mut data = [0xaa; 4];
    board.access(2, &mut data);
    assert_eq!(data, [0; 4]);
}

#[test]
fn write_only_and_unknown_registers_read_0() {
    let board = Board::new();
    board.write(QUEUE_SEL, 1);
    board.write(QUEUE_SIZE, 8);
    for offset in [
        DEVICE_FEATURES_SEL,
        QUEUE_SEL,
        QUEUE_SIZE,
        QUEUE_NOTIFY,
        0x80,
        0x18,
        0xf8,
    ] {
        assert_eq!(board.read(offset), 0, "{offset:#x}");
    }
}

#[test]
fn each_interface_hides_the_other_ones_registers() {
    let (modern, legacy) = (Board::new(), Board::legacy());
    legacy.write(GUEST_PAGE_SIZE, 4096);
    for board in [&modern, &legacy] {
        board.write(QUEUE_PFN, 16);
        board.write(QUEUE_READY, 1);
    }
    assert_eq!((modern.read(QUEUE_PFN), modern.read(QUEUE_READY)), (0, 1));
    assert_eq!((legacy.read(QUEUE_PFN), legacy.read(QUEUE_READY)), (16, 0));
}

#[test]
fn there_is_no_shared_memory() {
    let board = Board::new();
    for id in [0, 1, u32::MAX] {
        board.write(0xac, id);
        for offset in [0xb0, 0xb4, 0xb8, 0xbc] {
            assert_eq!(board.read(offset), u32::MAX);
        }
    }
}

#[test]
fn the_configuration_space_takes_any_width() {
    let board = Board::new();
    for (offset, len) in [(0, 1), (1, 2), (0, 4), (4, 8), (0, 12)] {
        let mut data = vec![0; len];
        board.access(CONFIG_SPACE + offset as u64, &mut data);
        assert_eq!(data, CONFIG[offset..offset + len]);
    }
    board.store(CONFIG_SPACE + 1, b"-T");
    let mut data = [0; 13];
    board.access(CONFIG_SPACE, &mut data);
    assert_eq!(&data[..12], b"a-Toy device");
    assert_eq!(data[12], 0xff, "past the end");
}

#[test]
fn the_generation_rises_with_the_configuration() {
    let board = Board::new();
    let before = board.read(CONFIG_GENERATION);
    board.store(CONFIG_SPACE, b"A");
    assert_ne!(board.read(CONFIG_GENERATION), before);
}

#[test]
fn bug_31_selectors_past_the_last_queue() {
    let board = Board::new();
    for select in [2, 3, 0xff, 0xffff, 0x1_0000, 0x1_0001, u32::MAX] {
        board.write(QUEUE_SEL, select);
        for register in [QUEUE_SIZE, QUEUE_READY, QUEUE_RESET, 0x80, 0x84, 0x90, 0xa4] {
            board.write(register, 1);
        }
        for register in [QUEUE_SIZE_MAX, QUEUE_READY, QUEUE_RESET] {
            assert_eq!(board.read(register), 0, "queue {select:#x}");
        }
        board.write(QUEUE_NOTIFY, select);
    }
    for (queue, size) in [(0, 8), (1, 16)] {
        board.write(QUEUE_SEL, queue);
        assert_eq!(board.read(QUEUE_SIZE_MAX), size);
        assert_eq!(board.read(QUEUE_READY), 0);
    }
}

#[test]
fn bug_38_configuration_offsets_that_overflow() {
    for board in [Board::new(), Board::legacy()] {
        for offset in [CONFIG_SPACE + 11, 0x1000, 1 << 63, u64::MAX - 7, u64::MAX] {
            for len in 0..=8 {
                let mut data = vec![0; len];
                board.access(offset, &mut data);
                let inside = usize::from(offset == CONFIG_SPACE + 11).min(len);
                assert!(data[inside..].iter().all(|&byte| byte == 0xff));
                board.store(offset, &data);
            }
        }
        let mut data = [0; 12];
        board.access(CONFIG_SPACE, &mut data);
        assert_eq!(data, CONFIG);
    }
}

#[derive(Clone, Debug)]
enum Access {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    /// A register, written whole with a value that means something to one of them.
    Set(u64, u32),
    Run,
}

fn accesses() -> impl Strategy<Value = Access> {
    let offset = prop_oneof![0..0x200u64, any::<u64>(), Just(u64::MAX)];
    let value = prop_oneof![0..16u32, any::<u32>(), Just(0x1_0000), Just(4096)];
    prop_oneof![
        (offset.clone(), 0..=8usize).prop_map(|(offset, len)| Access::Read(offset, len)),
        (offset, prop::collection::vec(any::<u8>(), 0..=8))
            .prop_map(|(offset, data)| Access::Write(offset, data)),
        (0..0x44u64, value).prop_map(|(register, value)| Access::Set(4 * register, value)),
        Just(Access::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any guest, from a device in reset or a running one: no panic, no hang, and a reset mends it.
    #[test]
    fn no_access_does_harm(
        legacy: bool,
        started: bool,
        accesses in prop::collection::vec(accesses(), 0..60),
    ) {
        let board = if legacy { Board::legacy() } else { Board::new() };
        if started && !legacy {
            board.start(RING_RESET);
        }
        for access in accesses {
            match access {
                Access::Read(offset, len) => board.access(offset, &mut vec![0; len]),
                Access::Write(offset, data) => board.store(offset, &data),
                Access::Set(offset, value) => board.write(offset, value),
                Access::Run => drop(board.runner.run()),
            }
        }
        board.write(STATUS, 0);
        prop_assert_eq!(board.read(STATUS), 0);
        prop_assert_eq!(board.read(INTERRUPT_STATUS), 0);
        if !legacy {
            board.start(0);
            board.offer(0, 0);
        }
    }
}
