//! Under a root complex: BARs that move, resets by the bus, several vCPUs at once.

mod support;

use std::sync::Arc;

use support::*;
use virtio_device::{Features, IrqSource};
use virtio_pci::Place;
use virtio_pci::virtio_bus::DoorbellAddress;
use virtio_pci::vm_pci::{
    Bdf, BusId, HostBridge, RootComplex, RootPort, RootPortConfig, Slot, Windows,
};

const DEVICE: Bdf = Bdf::new(0, Slot::new(1, 0));
const BEHIND: Bdf = Bdf::new(1, Slot::new(0, 0));
const COMMAND: u16 = 0x04;
const BAR4: u16 = 0x20;

fn complex() -> RootComplex {
    let windows = Windows {
        pio: Some(0xc000..=0xffff),
        mmio32: Some(0xc000_0000..=0xdfff_ffff),
        mmio64: Some(0x80_0000_0000..=0x8f_ffff_ffff),
    };
    let bridge = Arc::new(HostBridge::new(HostBridge::Q35).expect("bridge"));
    RootComplex::new(windows, bridge).expect("complex")
}

fn plugged() -> (RootComplex, Board) {
    let (root, board) = (complex(), Board::new());
    root.attach(BusId::ROOT, DEVICE.slot(), board.transport.clone())
        .expect("a free slot");
    root.assign_bars().expect("room");
    (root, board)
}

#[test]
fn doorbells_follow_the_command_register_and_the_bar() {
    let (root, board) = plugged();
    board.start(Features::VERSION_1);
    assert!(board.bells.list().is_empty(), "memory space is disabled");
    root.write_config(DEVICE, COMMAND, &[6, 0]);
    assert_eq!(board.bells.list().len(), 2);
    root.write_config(DEVICE, BAR4 + 4, &0x85u32.to_le_bytes());
    let DoorbellAddress::Mmio(at) = board.bells.list()[0].at else {
        panic!("not in memory");
    };
    assert_eq!(at >> 32, 0x85);
    root.write_config(DEVICE, BAR4 + 4, &0x95u32.to_le_bytes());
    assert!(board.bells.list().is_empty(), "outside the window");
    root.reset();
    assert_eq!(board.status(), 0);
}

#[test]
fn a_function_level_reset_comes_back_through_the_complex() {
    let root = complex();
    let port = Arc::new(RootPort::new(RootPortConfig::new(1)).expect("port"));
    let bus = root
        .attach_port(Slot::new(2, 0), port)
        .expect("a free slot");
    let board = Board::with(Options {
        place: Place::RootPort,
        ..Options::default()
    });
    root.attach(bus, BEHIND.slot(), board.transport.clone())
        .expect("a free slot");
    root.assign_bars().expect("room");
    root.write_config(BEHIND, COMMAND, &[6, 0]);
    board.start(Features::VERSION_1);
    root.write_config(BEHIND, 0x48, &[0, 0x80]);
    assert_eq!(board.status(), 0);
    assert!(board.bells.list().is_empty());
    let mut command = [0; 2];
    root.read_config(BEHIND, COMMAND, &mut command);
    assert_eq!(command, [0, 0]);
}

#[test]
fn several_vcpus_do_not_lock_one_another_out() {
    let (root, board) = plugged();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..500u16 {
                root.write_config(DEVICE, COMMAND, &(7 * (n & 1)).to_le_bytes());
            }
        });
        scope.spawn(|| {
            for _ in 0..100 {
                board.negotiate(Features::VERSION_1);
                board.set_up_queue(0, Features::VERSION_1);
                board.set_common(STATUS, 15);
                board.set_common(STATUS, 0);
            }
        });
        scope.spawn(|| {
            let interrupt = board.transport.interrupt();
            for n in 0..500 {
                let _ = interrupt.trigger(IrqSource::Queue(n & 1));
                board.notify(n & 1);
            }
        });
        for n in 0..500 {
            board.read(ISR.0, ISR.1, 1);
            match n & 1 {
                0 => board.enable_msix(),
                _ => board.disable_msix(),
            }
        }
    });
    root.reset();
    assert!(!board.wire.is_high());
    assert!(board.bells.list().is_empty());
}
