//! Commands that wait because their disk has had its share of the second.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use guest_io::Mode;
use guest_io::block::{RawImage, ThrottleGroup, ThrottleMember, Throttled};
use scsi_target::{LogicalUnit, Setup};
use testkit::clock::{Clock, member, requests};
use testkit::{Options, Request, TestBus};
use virtio_scsi::virtio_device::Features;
use virtio_scsi::{Scsi, ScsiHandle, ScsiProps};

type Backend = Throttled<RawImage>;

/// Disks at target 1, one for each member, which have told their unit attentions.
fn boot_with(members: &[Arc<ThrottleMember>]) -> (TestBus, ScsiHandle<Backend>) {
    let scsi = Scsi::new(&ScsiProps::default().virtqueue_size(64)).unwrap();
    let handle = scsi.handle();
    for (lun, member) in (0..).zip(members) {
        // What begins is done: nothing but limits makes these commands wait.
        let image = raw(&image()).mode(Mode::Sync);
        let backend = Throttled::new(image, Arc::clone(member));
        let unit = LogicalUnit::new(Setup::default(), backend).unwrap();
        handle.add(at(1, lun), Arc::new(unit)).unwrap();
    }
    let mut bus = TestBus::with(scsi, Options::default());
    bus.boot(Features::VERSION_1 | F_HOTPLUG | Features::INDIRECT_DESC);
    (0..)
        .zip(members)
        .for_each(|(lun, _)| settle(&mut bus, 1, lun));
    (bus, handle)
}

/// A disk of one request in a second.
fn slow() -> (TestBus, ScsiHandle<Backend>, Clock) {
    let clock = Clock::default();
    let (bus, handle) = boot_with(&[member(&clock.group(requests(1)))]);
    (bus, handle, clock)
}

/// Reads of the unit `lun`, whose identifiers count up.
fn submit_reads(bus: &mut TestBus, lun: u16, count: u64) -> Vec<Request> {
    let requests = (0..count).map(|id| {
        let header = header(lun_field(1, lun), id, &read10(0, 1));
        bus.submit(REQUEST, &[&header], &[108, 512])
    });
    let requests = requests.collect();
    bus.notify(REQUEST);
    bus.run();
    requests
}

/// What has ended, in order: identifiers of chains, and the answers.
fn answers(bus: &mut TestBus, requests: &[Request]) -> Vec<(u16, Answer)> {
    let mut ended = Vec::new();
    while let Some(used) = bus.queue(REQUEST).collect() {
        let request = requests.iter().find(|request| request.id == used.id);
        let answer = Answer::of(&bus.response(request.unwrap(), used), 96);
        ended.push((request.unwrap().id, answer));
    }
    ended
}

/// The same, with what became of the commands.
fn collect(bus: &mut TestBus, requests: &[Request]) -> Vec<(u16, u8)> {
    let ended = answers(bus, requests).into_iter();
    ended.map(|(id, answer)| (id, answer.response)).collect()
}

/// The statuses of what has ended.
fn statuses(bus: &mut TestBus, requests: &[Request]) -> Vec<u8> {
    let ended = answers(bus, requests).into_iter();
    ended.map(|(_, answer)| answer.status).collect()
}

fn pass(bus: &mut TestBus, clock: &Clock, time: Duration) {
    clock.advance(time);
    bus.notify(REQUEST);
    bus.run();
}

#[test]
fn what_waits_is_served_when_its_time_has_come() {
    let group = Arc::new(ThrottleGroup::new(requests(100)));
    let (mut bus, _) = boot_with(&[member(&group)]);
    let requests = submit_reads(&mut bus, 0, 30);
    let mut done = 0;
    let ended = bus.run_until(|bus| {
        done += collect(bus, &requests).len();
        done == 30
    });
    assert!(ended, "{done} of 30");
}

#[test]
fn a_disk_that_waits_does_not_hold_up_another() {
    let clock = Clock::default();
    let (mut bus, _) = boot_with(&[member(&clock.group(requests(1))), Arc::default()]);
    let slow = submit_reads(&mut bus, 0, 10);
    let quick = submit_reads(&mut bus, 1, 10);
    let ended = collect(&mut bus, &[slow, quick].concat());
    assert_eq!(ended.len(), 11);
}

#[test]
fn commands_of_several_steps_wait_at_each() {
    let (mut bus, _, clock) = slow();
    // VERIFY of two blocks with their contents, which are read through a channel of its own.
    let mut cdb = transfer10(0x2f, 0, 2);
    cdb[1] = 2;
    let bytes = pattern(1024);
    let verify = [header(lun_field(1, 0), 7, &cdb), bytes].concat();
    let requests = [(); 2].map(|()| bus.submit(REQUEST, &[&verify], &[108]));
    bus.notify(REQUEST);
    bus.run();
    assert_eq!(collect(&mut bus, &requests), [(requests[0].id, OK)]);
    pass(&mut bus, &clock, Duration::from_millis(899));
    assert!(collect(&mut bus, &requests).is_empty());
    pass(&mut bus, &clock, Duration::from_millis(1));
    assert_eq!(collect(&mut bus, &requests), [(requests[1].id, OK)]);
}

#[test]
fn an_abort_does_not_wait() {
    let (mut bus, _, _) = slow();
    let requests = submit_reads(&mut bus, 0, 4);
    assert_eq!(collect(&mut bus, &requests), [(requests[0].id, OK)]);
    // ABORT TASK, then LOGICAL UNIT RESET.
    assert_eq!(manage(&mut bus, 0, lun_field(1, 0), 2), OK);
    assert_eq!(collect(&mut bus, &requests), [(requests[2].id, ABORTED)]);
    assert_eq!(manage(&mut bus, 5, lun_field(1, 0), 0), OK);
    let rest = [requests[1].id, requests[3].id].map(|id| (id, RESET));
    assert_eq!(collect(&mut bus, &requests), rest);
}

#[test]
fn a_stop_does_not_wait_and_loses_nothing() {
    let (mut bus, _, clock) = slow();
    let requests = submit_reads(&mut bus, 0, 5);
    bus.core().pause();
    bus.core().save().unwrap();
    assert_eq!(collect(&mut bus, &requests).len(), 5);
    bus.core().resume();
    let requests = submit_reads(&mut bus, 0, 2);
    pass(&mut bus, &clock, Duration::from_millis(4899));
    assert!(collect(&mut bus, &requests).is_empty(), "they were counted");
    pass(&mut bus, &clock, Duration::from_millis(1));
    assert_eq!(collect(&mut bus, &requests), [(requests[0].id, OK)]);
}

/// Whatever begins is counted, and the next waits the longer.
#[test]
fn resets_let_nothing_through_and_do_not_wait() {
    let (mut bus, _, clock) = slow();
    let requests = submit_reads(&mut bus, 0, 1);
    assert_eq!(collect(&mut bus, &requests).len(), 1);
    for _ in 0..3 {
        submit_reads(&mut bus, 0, 10);
        bus.reset();
        assert!(!bus.needs_reset());
        bus.boot(Features::VERSION_1 | F_HOTPLUG | Features::INDIRECT_DESC);
        settle(&mut bus, 1, 0);
    }
    let requests = submit_reads(&mut bus, 0, 2);
    pass(&mut bus, &clock, Duration::from_millis(899));
    assert!(collect(&mut bus, &requests).is_empty());
    pass(&mut bus, &clock, Duration::from_millis(1));
    assert_eq!(collect(&mut bus, &requests), [(requests[0].id, OK)]);
}

#[test]
fn a_unit_that_is_removed_while_commands_wait_lets_go_of_its_image() {
    let (mut bus, handle, _) = slow();
    let requests = submit_reads(&mut bus, 0, 5);
    let unit = handle.unit(address(1, 0)).unwrap();
    assert!(handle.remove(address(1, 0)));
    bus.run();
    assert_eq!(collect(&mut bus, &requests).len(), 5);
    assert_eq!(Arc::strong_count(&unit), 1, "nobody else has it");
}

/// Commands to the disk, all at once.
fn submit_all(bus: &mut TestBus, commands: &[Vec<u8>], room: u32) -> Vec<Request> {
    let submit = |command: &Vec<u8>| bus.submit(REQUEST, &[command], &[108, room]);
    let requests = commands.iter().map(submit).collect();
    bus.notify(REQUEST);
    bus.run();
    requests
}

#[test]
fn commands_that_look_at_data_wait_with_memory_in_bounds() {
    let (mut bus, _, _) = slow();
    // WRITE SAME of something other than zeroes.
    let command = [
        header(lun_field(1, 0), 7, &transfer10(0x41, 0, 1)),
        pattern(512),
    ]
    .concat();
    let requests = submit_all(&mut bus, &vec![command; 60], 0);
    let ended = statuses(&mut bus, &requests);
    let count = |status| ended.iter().filter(|&&ended| ended == status).count();
    assert_eq!((count(GOOD), count(BUSY)), (1, 43), "16 wait");
    bus.core().pause();
    bus.core().resume();
    assert_eq!(statuses(&mut bus, &requests), [GOOD; 16]);
}

#[test]
fn a_disk_that_is_stopped_over_and_over_has_descriptors_in_bounds() {
    let (mut bus, _, _) = slow();
    let header = |cdb: &[u8]| header(lun_field(1, 0), 7, cdb);
    let stop_and_start = [
        header(&[0x1b, 0, 0, 0, 0, 0]),
        header(&[0x1b, 0, 0, 0, 1, 0]),
    ];
    let round = [&[header(&read10(0, 1))][..], &stop_and_start].concat();
    let rounds: Vec<_> = std::iter::repeat_n(&round, 20).flatten().cloned().collect();
    let requests = submit_all(&mut bus, &rounds, 512);
    let ended = statuses(&mut bus, &requests);
    let count = |status| ended.iter().filter(|&&ended| ended == status).count();
    assert_eq!(
        (count(GOOD), count(BUSY)),
        (56, 4),
        "16 were on their way out"
    );
    let next = submit_all(&mut bus, &round[..1], 512);
    assert!(statuses(&mut bus, &next).is_empty(), "it waits");
}
