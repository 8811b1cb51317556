//! The seams that a VMM fills: the interrupt line, and ioeventfd.

mod support;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use support::*;
use virtio_device::vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use virtio_mmio::virtio_bus::{Doorbell, DoorbellAddress, DoorbellValue, IoEventFds};
use virtio_mmio::{MmioProps, MmioSlot};

/// What the kernel would have registered. Refuses queue `refuses`.
#[derive(Default)]
struct Kernel {
    assigned: Mutex<Vec<(u64, u32, EventFd)>>,
    refuses: Option<u32>,
}

impl Kernel {
    fn registered(&self) -> Vec<(u64, u32)> {
        let assigned = self.assigned.lock().unwrap();
        assigned.iter().map(|&(a, d, _)| (a, d)).collect()
    }

    /// A guest's write that never reaches the transport.
    fn signal(&self, datamatch: u32) {
        let assigned = self.assigned.lock().unwrap();
        let found = assigned.iter().find(|(_, d, _)| *d == datamatch);
        found.expect("registered").2.write(1).expect("signal");
    }
}

impl IoEventFds for Kernel {
    fn assign(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()> {
        let (address, datamatch) = register(doorbell);
        if self.refuses == Some(datamatch) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let entry = (address, datamatch, fd.try_clone()?);
        self.assigned.lock().unwrap().push(entry);
        Ok(())
    }

    fn release(&self, doorbell: Doorbell, _: &EventFd) -> io::Result<()> {
        let mut assigned = self.assigned.lock().unwrap();
        let before = assigned.len();
        assigned.retain(|&(a, d, _)| (a, d) != register(doorbell));
        assert_eq!(assigned.len() + 1, before, "released what was not assigned");
        Ok(())
    }
}

/// The address of a register of 32 bits and the value written to it.
fn register(doorbell: Doorbell) -> (u64, u32) {
    match doorbell {
        Doorbell {
            at: DoorbellAddress::Mmio(address),
            value: DoorbellValue::U32(value),
        } => (address, value),
        other => panic!("{other:?}"),
    }
}

fn board(kernel: &Arc<Kernel>, props: MmioProps, address: u64) -> Board {
    let slot = MmioSlot::new(address, |_| Ok(())).ioeventfds(kernel.clone());
    Board::with(Options {
        props,
        slot: Some(slot),
        ..Options::default()
    })
}

#[test]
fn notifications_go_through_the_kernel_while_the_driver_is_ready() {
    let kernel = Arc::new(Kernel::default());
    let board = board(&kernel, MmioProps::default(), BASE);
    assert_eq!(kernel.registered(), []);
    board.start(0);
    assert_eq!(kernel.registered(), [(BASE + 0x50, 0), (BASE + 0x50, 1)]);
    board.offer(1, 0);
    kernel.signal(1);
    board.runner.run();
    assert_eq!(board.used(1), 1);
    board.transport.pause();
    assert_eq!(kernel.registered(), []);
    board.transport.resume();
    assert_eq!(kernel.registered().len(), 2);
    board.write(STATUS, 0);
    assert_eq!(kernel.registered(), []);
}

#[test]
fn without_the_kernel_the_register_is_decoded() {
    let refusing = || {
        Arc::new(Kernel {
            refuses: Some(1),
            ..Kernel::default()
        })
    };
    let off = MmioProps::default().ioeventfd(false);
    for (props, address, registered) in [
        (MmioProps::default(), BASE, &[(BASE + 0x50, 0)][..]),
        (MmioProps::default(), u64::MAX, &[]),
        (off, BASE, &[]),
    ] {
        let kernel = refusing();
        let board = board(&kernel, props, address);
        board.start(0);
        assert_eq!(kernel.registered(), registered);
        for queue in 0..2 {
            board.offer(queue, 0);
            board.notify(queue);
            assert_eq!(board.used(queue), 1);
        }
        board.write(STATUS, 0);
        assert_eq!(kernel.registered(), []);
    }
}

#[test]
fn an_event_descriptor_is_an_edge_triggered_line() {
    let line = EventFd::new(EFD_NONBLOCK).expect("eventfd");
    let guest = line.try_clone().expect("clone");
    let board = Board::with(Options {
        slot: Some(MmioSlot::new(BASE, line)),
        ..Options::default()
    });
    board.start(0);
    for _ in 0..3 {
        board.host().config_changed();
    }
    assert_eq!(guest.read().expect("edges"), 3);
    board.write(INTERRUPT_ACK, 3);
    assert!(guest.read().is_err(), "no edge by an acknowledgement");
    guest.write(u64::MAX - 1).expect("full");
    board.host().config_changed();
    assert_eq!(
        board.read(INTERRUPT_STATUS),
        2,
        "nor does a full counter block"
    );
}

/// Acknowledgements and events that cross leave the line as the status says.
#[test]
fn the_line_follows_the_status() {
    const ROUNDS: u32 = 2000;
    let level = Arc::new(AtomicU32::new(0));
    let line = {
        let level = level.clone();
        move |high| {
            level.store(u32::from(high), Ordering::SeqCst);
            Ok(())
        }
    };
    let board = Board::with(Options {
        slot: Some(MmioSlot::new(BASE, line)),
        ..Options::default()
    });
    board.start(0);
    let (host, meet) = (board.host(), Barrier::new(2));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..ROUNDS {
                meet.wait();
                host.config_changed();
                meet.wait();
            }
        });
        for _ in 0..ROUNDS {
            meet.wait();
            board.write(INTERRUPT_ACK, 3);
            meet.wait();
            let pending = u32::from(board.read(INTERRUPT_STATUS) != 0);
            assert_eq!(level.load(Ordering::SeqCst), pending);
        }
    });
}

/// A worker, a kernel and a driver that notifies must get on while a register access waits.
#[test]
fn the_lock_is_not_on_the_way_of_notifications() {
    let (entered, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let line = {
        let (entered, leave) = (entered.clone(), leave.clone());
        let first = AtomicU32::new(0);
        move |high| {
            // The access that fails activation is held here, with the lock.
            if high && first.fetch_add(1, Ordering::SeqCst) == 0 {
                entered.wait();
                leave.wait();
            }
            Ok(())
        }
    };
    let board = Board::with(Options {
        fails: true,
        slot: Some(MmioSlot::new(BASE, line)),
        ..Options::default()
    });
    board.negotiate(VERSION_1);
    std::thread::scope(|threads| {
        threads.spawn(|| board.write(STATUS, 15));
        entered.wait();
        board.write(QUEUE_NOTIFY, 0);
        assert_eq!(board.read(INTERRUPT_STATUS), 2);
        board.write(INTERRUPT_ACK, 2);
        assert_eq!(board.read(CONFIG_SPACE), u32::from_le_bytes(*b"a to"));
        board.read(CONFIG_GENERATION);
        leave.wait();
    });
    assert_eq!(board.read(STATUS), 64 | 15);
}
