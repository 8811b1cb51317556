//! Resets that take their time, pauses, ioeventfds, devices that come and go.

mod machine;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use machine::*;
use testkit::channel::{Ccw, Status as Ending};
use testkit::wait_for;
use virtio_bus::{Doorbell, DoorbellAddress, DoorbellValue, IoEventFds};
use virtio_bus::{Status, ThreadRunner};
use virtio_ccw::CcwProps;
use virtio_ccw::css::{ConditionCode, SubchannelId};
use virtio_device::Features;
use virtio_device::vmm_sys_util::eventfd::EventFd;

const MODERN: Features = Features::VERSION_1;

fn threaded() -> (Machine, Arc<Knobs>) {
    let (toy, knobs) = Toy::new(2, &[&[0], &[1]]);
    let options = Options {
        runner: Some(Arc::new(ThreadRunner::new("toy"))),
        ..Options::default()
    };
    (Machine::with(toy, options), knobs)
}

fn hold_one(machine: &mut Machine, knobs: &Knobs) {
    Knobs::set(&knobs.hold, true);
    machine.offer(0, b"held", 4);
    wait_for("a request that is held", || {
        (Knobs::count(&knobs.held) > 0).then_some(())
    });
}

/// A program of one command.
fn program(machine: &Machine, command: u8, data: &[u8]) -> [Ccw; 1] {
    let address = machine.channel.data();
    machine.channel.ram().write(address.into(), data);
    [Ccw {
        command,
        flags: 0,
        count: data.len() as u16,
        address,
    }]
}

/// Past bug 40; section 4.3.3.3.1.
#[test]
fn a_reset_delays_channel_end_until_nothing_is_in_flight() {
    for (command, data) in [(VDEV_RESET, &[][..]), (WRITE_STATUS, &[0])] {
        let (mut machine, knobs) = threaded();
        machine.boot(2, MODERN);
        hold_one(&mut machine, &knobs);
        let reset = program(&machine, command, data);
        assert_eq!(machine.channel.start(&reset), ConditionCode::Cc0);
        for _ in 0..20 {
            assert_eq!(machine.channel.test(), None, "in flight");
            assert_eq!(machine.channel.start(&reset), ConditionCode::Cc2, "busy");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!machine.queue(0).has_used());
        knobs.release();
        let status = machine.channel.wait();
        assert!(status.is_good(), "{status:?}");
        assert!(machine.queue(0).has_used(), "before the reset was over");
        assert_eq!(machine.status(), Status::RESET);
        machine.take_word(INDICATORS);
        machine.boot_again();
    }
}

#[test]
fn commands_chained_to_a_reset_wait_for_it() {
    let (mut machine, knobs) = threaded();
    machine.boot(2, MODERN);
    hold_one(&mut machine, &knobs);
    let [mut reset] = program(&machine, VDEV_RESET, &[]);
    reset.flags = Ccw::CC;
    let [read] = program(&machine, READ_STATUS, &[0xee]);
    assert_eq!(machine.channel.start(&[reset, read]), ConditionCode::Cc0);
    let status = || machine.channel.ram().read(machine.channel.data().into(), 1);
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(status(), [0xee]);
    knobs.release();
    assert!(machine.channel.wait().is_good());
    assert_eq!(status(), [0]);
}

#[test]
fn a_driver_that_gives_up_waiting_finds_the_device_reset_later() {
    for halt in [false, true] {
        let (mut machine, knobs) = threaded();
        machine.boot(2, MODERN);
        hold_one(&mut machine, &knobs);
        let reset = program(&machine, VDEV_RESET, &[]);
        assert_eq!(machine.channel.start(&reset), ConditionCode::Cc0);
        if halt {
            machine.channel.halt();
        } else {
            machine.channel.clear();
        }
        // What a reset would undo is refused while it is under way; what does not is not.
        assert!(machine.rejects(WRITE_STATUS, [1]));
        assert!(machine.rejects(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes()));
        assert_ne!(machine.status(), Status::RESET);
        let reset = program(&machine, VDEV_RESET, &[]);
        assert_eq!(machine.channel.start(&reset), ConditionCode::Cc0);
        assert_eq!(machine.channel.test(), None);
        knobs.release();
        assert!(machine.channel.wait().is_good());
        assert_eq!(machine.status(), Status::RESET);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(machine.channel.test(), None, "it ends once");
        machine.boot_again();
    }
}

#[test]
fn a_pause_ends_a_reset_that_is_waited_for() {
    let (mut machine, knobs) = threaded();
    machine.boot(2, MODERN);
    hold_one(&mut machine, &knobs);
    let reset = program(&machine, VDEV_RESET, &[]);
    assert_eq!(machine.channel.start(&reset), ConditionCode::Cc0);
    assert!(machine.transport.save().is_err(), "not at rest");
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10));
        knobs.release();
    });
    machine.transport.pause();
    assert!(machine.channel.wait().is_good());
    later.join().expect("released");
    let state = machine.transport.save().expect("at rest");
    assert_eq!(state.core.status, Status::RESET);
}

#[test]
fn a_reset_of_the_machine_is_one_of_the_device() {
    let (mut machine, knobs) = threaded();
    machine.boot(2, MODERN);
    machine.css.reset();
    assert_eq!(Knobs::count(&knobs.returned), 2);
    let state = machine.transport.save().expect("at rest");
    assert_eq!((state.revision, state.config_indicators), (None, None));
    machine.channel.enable();
    machine.boot_again();
}

#[test]
fn a_disabled_subchannel_keeps_its_device_running() {
    let (mut machine, _) = threaded();
    machine.boot(2, MODERN);
    machine.channel.disable();
    machine.channel.enable();
    assert!(machine.transport.save().is_err(), "it runs");
    machine.select(2);
    assert_eq!(machine.status(), SETTLED | Status::DRIVER_OK);
}

#[test]
fn a_detached_device_is_gone() {
    let (mut machine, _) = threaded();
    machine.boot(2, MODERN);
    machine.transport.detach();
    assert_eq!(machine.channel.store(), None);
    assert_eq!(machine.channel.notify(0, 0), -22);
}

#[test]
fn places_are_taken_once() {
    let machine = Machine::new(Toy::new(1, &[&[0]]).0);
    let place = |devno: &str| {
        let mut props = CcwProps::default();
        virtio_device::props::Props::set(&mut props, "devno", devno).expect("a number");
        props
    };
    let device = |props| machine.another(Toy::new(1, &[&[0]]).0, &props);
    let first = device(place("fe.1.00aa")).expect("free");
    assert_eq!(first.subchannel(), SubchannelId::new(1, 0).expect("a set"));
    assert!(device(place("fe.1.00aa")).is_err());
    first.detach();
    assert!(device(place("fe.1.00aa")).is_ok());
    assert!(
        device(CcwProps::default().max_revision(0)).is_err(),
        "no legacy interface"
    );
}

/// What was assigned.
#[derive(Default)]
struct Assigned(Mutex<Vec<Doorbell>>);

impl IoEventFds for Assigned {
    fn assign(&self, doorbell: Doorbell, _: &EventFd) -> io::Result<()> {
        if doorbell.value == DoorbellValue::U64(3) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.lock().unwrap().push(doorbell);
        Ok(())
    }

    fn release(&self, doorbell: Doorbell, _: &EventFd) -> io::Result<()> {
        self.0.lock().unwrap().retain(|one| *one != doorbell);
        Ok(())
    }
}

#[test]
fn notifications_go_to_the_kernel_while_the_device_runs() {
    // The host refuses the fourth, which the channel subsystem then decodes.
    for (queues, on, expected) in [(3, true, 3), (4, true, 3), (3, false, 0)] {
        let fds = Arc::new(Assigned::default());
        let options = Options {
            props: CcwProps::default().ioeventfd(on),
            ioeventfds: Some(fds.clone()),
            ..Options::default()
        };
        let all: Vec<u16> = (0..queues).collect();
        let mut machine = Machine::with(Toy::new(queues.into(), &[&all]).0, options);
        machine.prepare(2, MODERN);
        assert!(fds.0.lock().unwrap().is_empty());
        machine.driver_ok();
        let at = DoorbellAddress::Subchannel(machine.transport.subchannel().word());
        let assigned = (0..expected).map(|queue| Doorbell {
            at,
            value: DoorbellValue::U64(queue),
        });
        assert!(fds.0.lock().unwrap().iter().copied().eq(assigned));
        machine.request(1, b"x", 1);
        machine.request(queues - 1, b"x", 1);
        machine.transport.pause();
        assert!(fds.0.lock().unwrap().is_empty());
        machine.transport.resume();
        assert_eq!(fds.0.lock().unwrap().len() as u64, expected);
        let reset = program(&machine, VDEV_RESET, &[]);
        assert_eq!(machine.channel.run(&reset).device, Ending::END);
        assert!(fds.0.lock().unwrap().is_empty());
    }
}
