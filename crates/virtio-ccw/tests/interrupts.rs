//! Indicators and interruptions.

mod machine;

use std::sync::Arc;

use machine::*;
use testkit::Space;
use testkit::channel::Channel;
use virtio_ccw::css::{Interruption, Isc};
use virtio_device::{DeviceHost, Features};

const SUMMARY: u64 = 0x203;
const BITS: u64 = 0x300;

fn toy(queues: usize) -> (Machine, Arc<Knobs>) {
    let groups: Vec<Vec<u16>> = vec![(0..queues as u16).collect()];
    let groups: Vec<&[u16]> = groups.iter().map(Vec::as_slice).collect();
    let (toy, knobs) = Toy::new(queues, &groups);
    (Machine::new(toy), knobs)
}

fn host(knobs: &Knobs) -> Arc<dyn DeviceHost> {
    let host = knobs.host.lock().unwrap();
    host.clone().expect("a device that runs")
}

fn boot_two_stage(machine: &mut Machine, bit: u64) {
    machine.prepare(2, Features::VERSION_1);
    machine.command(SET_IND_ADAPTER, thinint(SUMMARY, BITS, bit, 5));
    machine.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
    machine.driver_ok();
    while machine.host.next().is_some() {}
}

fn byte(machine: &Machine, at: u64) -> u8 {
    machine.channel.ram().read(at, 1)[0]
}

#[test]
fn classic_indicators_tell_the_queue_and_interrupt_the_subchannel() {
    let (mut machine, _) = toy(64);
    machine.boot(2, Features::VERSION_1);
    assert_eq!(machine.host.next(), None, "commands were waited for");
    for queue in [0, 1, 31, 32, 63] {
        machine.request(queue, b"x", 1);
        assert_eq!(machine.take_word(INDICATORS), 1 << queue);
        let about = machine.host.next();
        let Some(Interruption::Subchannel { id, parameter, isc }) = about else {
            panic!("{about:?}");
        };
        assert_eq!((id, isc.number()), (machine.transport.subchannel(), 3));
        assert_eq!(
            parameter,
            Channel::<Space>::PARAMETER,
            "that of the last program"
        );
        let status = machine.channel.test().expect("status");
        assert_eq!(status.control & 0x1f, 0x11, "alert status, status pending");
        assert_eq!((status.device, status.subchannel), (0, 0));
        assert_eq!(machine.host.next(), None);
    }
}

/// Section 4.3.3.1.1: an interruption is made if none is pending.
#[test]
fn classic_indicators_gather_while_status_is_pending() {
    let (mut machine, knobs) = toy(3);
    machine.boot(2, Features::VERSION_1);
    machine.request(2, b"x", 1);
    machine.request(0, b"x", 1);
    host(&knobs).config_changed();
    assert!(machine.host.next().is_some() && machine.host.next().is_none());
    assert!(machine.channel.test().is_some() && machine.channel.test().is_none());
    assert_eq!(machine.take_word(INDICATORS), 0b101);
    assert_eq!(machine.take_word(CONFIG_INDICATORS), 1);
    machine.request(1, b"x", 1);
    assert!(machine.host.next().is_some());
    assert_eq!(machine.take_word(INDICATORS), 0b10);
}

#[test]
fn two_stage_indicators_interrupt_once_until_the_summary_is_cleared() {
    let (mut machine, _) = toy(3);
    boot_two_stage(&mut machine, 6);
    let isc = Isc::new(5).expect("a subclass");
    let before = machine.host.adapter();
    machine.request(1, b"x", 1);
    assert_eq!(machine.host.next(), Some(Interruption::Adapter { isc }));
    assert_eq!((byte(&machine, BITS), byte(&machine, SUMMARY)), (0b1, 1));
    machine.request(2, b"x", 1);
    machine.request(0, b"x", 1);
    assert_eq!(machine.host.next(), None, "the summary is set");
    assert_eq!(machine.channel.ram().read(BITS, 2), [0b11, 0b1000_0000]);
    machine.channel.ram().write(SUMMARY, &[0]);
    machine.channel.ram().write(BITS, &[0, 0]);
    machine.request(2, b"x", 1);
    assert_eq!(machine.host.next(), Some(Interruption::Adapter { isc }));
    assert_eq!(machine.host.adapter() - before, 2);
    assert!(machine.channel.test().is_none(), "not the subchannel's");
}

#[test]
fn configuration_changes_are_classic_in_either_case() {
    let (mut machine, knobs) = toy(1);
    boot_two_stage(&mut machine, 0);
    host(&knobs).config_changed();
    assert_eq!(machine.take_word(CONFIG_INDICATORS), 1);
    let about = machine.host.next();
    assert!(
        matches!(about, Some(Interruption::Subchannel { .. })),
        "{about:?}"
    );
    let status = machine.channel.test().expect("status");
    assert_eq!(status.control & 0x1f, 0x11);
    assert_eq!(byte(&machine, SUMMARY), 0);
}

#[test]
fn a_driver_without_indicators_is_left_alone() {
    let (mut machine, knobs) = toy(1);
    machine.prepare(2, Features::VERSION_1);
    machine.driver_ok();
    machine.request(0, b"x", 1);
    host(&knobs).config_changed();
    assert_eq!(machine.host.next(), None);
    assert!(machine.channel.test().is_none());
}

#[test]
fn a_device_that_needs_a_reset_says_so_by_a_configuration_change() {
    let (mut machine, _) = toy(1);
    machine.boot(2, Features::VERSION_1);
    machine.offer(0, b"F", 1);
    machine.run();
    assert_eq!(machine.take_word(CONFIG_INDICATORS), 1);
    assert_eq!(machine.status().0, 0x4f);
    machine.command(VDEV_RESET, []);
    assert_eq!(machine.status().0, 0);
}

#[test]
fn nothing_is_indicated_after_a_reset() {
    let (mut machine, knobs) = toy(1);
    machine.boot(2, Features::VERSION_1);
    machine.request(0, b"x", 1);
    let device = host(&knobs);
    machine.command(VDEV_RESET, []);
    machine.take_word(INDICATORS);
    machine.take_word(CONFIG_INDICATORS);
    while machine.host.next().is_some() {}
    device.config_changed();
    device.needs_reset();
    assert_eq!(machine.take_word(INDICATORS), 0);
    assert_eq!(machine.take_word(CONFIG_INDICATORS), 0);
    assert_eq!(machine.host.next(), None);
}
