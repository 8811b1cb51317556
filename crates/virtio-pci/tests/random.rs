//! Whatever a guest does: no panic, and a device that a reset mends.

mod support;

use proptest::prelude::*;
use support::*;
use virtio_device::Features;
use virtio_pci::vm_pci::PciFunction;
use virtio_pci::{PciProps, Place};

#[derive(Clone, Debug)]
enum Access {
    Read(u8, u64, usize),
    Write(u8, u64, usize, u64),
    ReadConfig(u16, usize),
    WriteConfig(u16, usize, u64),
    Run,
    PauseAndResume,
}

/// Mostly registers, sometimes anything.
fn offset() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        6 => 0..0x48u64,
        2 => prop::sample::select(vec![0x1000u64, 0x2000, 0x3000, 0x3004, 0x3ffc, 0x800]),
        1 => any::<u64>(),
    ]
}

/// Numbers that mean something, and others.
fn value() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        4 => 0..16u64,
        2 => prop::sample::select(vec![0x1000u64, 0x2000, 0xffff, 0x1_0000_0000, u64::MAX]),
        1 => any::<u64>(),
    ]
}

fn access() -> impl Strategy<Value = Access> {
    let bar = prop::sample::select(vec![0u8, 1, 2, 4, 4, 4, 5, 200]);
    let width = prop_oneof![4 => prop::sample::select(vec![1usize, 2, 4]), 1 => 0..=8usize];
    let place = (bar, offset(), width.clone());
    let config = (prop_oneof![0x80..0x100u16, any::<u16>()], width);
    prop_oneof![
        3 => place.clone().prop_map(|(bar, at, width)| Access::Read(bar, at, width)),
        8 => (place, value()).prop_map(|((bar, at, width), value)| {
            Access::Write(bar, at, width, value)
        }),
        1 => config.clone().prop_map(|(at, width)| Access::ReadConfig(at, width)),
        3 => (config, value()).prop_map(|((at, width), value)| {
            Access::WriteConfig(at, width, value)
        }),
        1 => Just(Access::Run),
        1 => Just(Access::PauseAndResume),
    ]
}

fn perform(board: &Board, access: &Access) {
    match *access {
        Access::Read(bar, at, width) => drop(board.read(bar, at, width)),
        Access::Write(bar, at, width, value) => board.write(bar, at, width, value),
        Access::ReadConfig(at, width) => {
            board.transport.read_config(at, &mut [0; 8][..width]);
        }
        Access::WriteConfig(at, width, value) => {
            let data = value.to_le_bytes();
            if board.transport.write_config(at, &data[..width]).reset {
                board.transport.reset();
            }
        }
        Access::Run => drop(board.runner.run()),
        Access::PauseAndResume => {
            board.transport.pause();
            if let Ok(state) = board.transport.save() {
                let twin = Board::new();
                let _ = twin.transport.restore(&state);
            }
            board.transport.resume();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bug_38_random_accesses_leave_a_device_that_works(
        accesses in prop::collection::vec(access(), 1..80),
        running in any::<bool>(),
        port in any::<bool>(),
        pio in any::<bool>(),
    ) {
        let board = Board::with(Options {
            place: if port { Place::RootPort } else { Place::RootBus },
            props: PciProps::default().modern_pio_notify(pio),
            ..Options::default()
        });
        if running {
            board.start(Features::VERSION_1 | Features::RING_RESET);
        }
        accesses.iter().for_each(|access| perform(&board, access));
        board.transport.reset();
        board.enable_msix();
        let mut queues = board.start(Features::VERSION_1);
        board.offer(&mut queues[1]);
        board.notify(1);
        prop_assert!(queues[1].collect().is_some());
        let sent = board.sink.take();
        prop_assert_eq!(sent.last(), Some(&0x102));
    }
}
