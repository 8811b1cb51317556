//! A host that refuses io_uring, and one that has no descriptors left.

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;

use common::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use testkit::{Options, TestBus};
use virtio_blk::guest_io::Mode;
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps};

/// From here on this thread has no io_uring.
fn refuse_io_uring() {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
}

/// The limit of descriptors is the whole process's: one test after the other.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn works_without_io_uring() {
    let _turn = TURN.lock();
    let work = || {
        refuse_io_uring();
        let file = image();
        let image = raw(&file).discard(true).write_through(true);
        let mut bus = boot(&BlkProps::default(), image);
        assert_eq!(read(&mut bus, 0, 4096).data, pattern(4096));
        assert_eq!(write(&mut bus, 0, &[1; 512]).status, OK);
        assert_eq!(request(&mut bus, FLUSH, 0, &[]).status, OK);
        for kind in [DISCARD, WRITE_ZEROES] {
            assert_eq!(request(&mut bus, kind, 0, &range(0, 8, 0)).status, OK);
        }
        assert_eq!(contents(&file)[..8 * SECTOR], [0; 8 * SECTOR]);
        // Where nothing else will do, the device does not start, and says so (bug 37).
        let image = raw(&file).mode(Mode::Uring);
        let props = BlkProps::default().share_rw(true);
        drop(bus);
        let mut bus = TestBus::with(Blk::new(&props, image).unwrap(), Options::default());
        assert!(bus.negotiate(Features::VERSION_1));
        bus.set_up_queue(0, 64);
        bus.driver_ok();
        assert!(bus.needs_reset());
        bus.reset();
        assert!(!bus.needs_reset());
    };
    std::thread::spawn(work).join().unwrap();
}

#[test]
fn bug_37_a_start_without_descriptors_fails_and_can_be_repeated() {
    let _turn = TURN.lock();
    let device = Blk::new(&BlkProps::default().num_queues(8), raw(&image())).unwrap();
    let mut bus = TestBus::with(device, Options::default());
    assert!(bus.negotiate(Features::VERSION_1));
    (0..8).for_each(|queue| bus.set_up_queue(queue, 16));
    let limit = getrlimit(Resource::Nofile);
    let current = Some(0);
    // What is open stays open; nothing more can be.
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    bus.driver_ok();
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(bus.needs_reset());
    bus.reset();
    bus.boot(Features::VERSION_1);
    assert_eq!(read(&mut bus, 0, 512).status, OK);
}
