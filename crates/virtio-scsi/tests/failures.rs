//! Back-ends that fail, and tasks that are ended while they wait for one.

mod common;

use std::sync::Arc;

use common::*;
use guest_io::Mode;
use scsi_target::{LogicalUnit, Setup};
use testkit::scripted::{Call, Fault, Script, Scripted};
use testkit::{Request, TestBus};
use virtio_scsi::virtio_device::Features;
use virtio_scsi::{Scsi, ScsiHandle};

/// Two units of target 1 under one script each, ready.
fn scripted() -> (TestBus, ScsiHandle<Scripted>, [Script; 2]) {
    let scsi = Scsi::new(&Default::default()).unwrap();
    let scripts = [0, 1].map(|lun| {
        let script = Script::new();
        let backend = Scripted {
            image: raw(&image()).mode(Mode::Sync),
            script: script.clone(),
        };
        let unit = LogicalUnit::new(Setup::default(), backend).unwrap();
        scsi.handle().add(at(1, lun), Arc::new(unit)).unwrap();
        script
    });
    let handle = scsi.handle();
    let mut bus = TestBus::new(scsi);
    bus.boot(Features::VERSION_1 | F_HOTPLUG);
    settle(&mut bus, 1, 0);
    settle(&mut bus, 1, 1);
    (bus, handle, scripts)
}

/// Sends a command and does not wait for it.
fn send(bus: &mut TestBus, lun: u16, id: u64, cdb: &[u8], room: u32) -> Request {
    let header = header(lun_field(1, lun), id, cdb);
    let request = bus.submit(REQUEST, &[&header], &[108, room]);
    bus.notify(REQUEST);
    bus.run();
    request
}

fn send_function(bus: &mut TestBus, function: u32, lun: u16, id: u64) -> Request {
    let request = bus.submit(CONTROL, &[&tmf(function, lun_field(1, lun), id)], &[1]);
    bus.notify(CONTROL);
    bus.run();
    request
}

fn answer(bus: &mut TestBus, request: &Request) -> Answer {
    let used = bus.queue(REQUEST).collect().expect("an answer");
    assert_eq!(used.id, request.id);
    Answer::of(&bus.response(request, used), 96)
}

fn function(bus: &mut TestBus, request: &Request) -> Option<u8> {
    let used = bus.queue(CONTROL).collect()?;
    Some(bus.response(request, used).bytes[0])
}

#[test]
fn failures_have_the_sense_that_fits() {
    let (mut bus, _, [script, _]) = scripted();
    let enospc = 28;
    let eio = 5;
    for (fault, cdb, out, sense) in [
        (Fault::Error(eio), read10(3, 1), 0, (3, 0x1100)),
        (Fault::Error(eio), write10(3, 1), 512, (3, 0x0c00)),
        (Fault::Error(enospc), write10(3, 1), 512, (7, 0x2707)),
        (Fault::Error(12), read10(3, 1), 0, (4, 0x4400)),
        (Fault::Short(100), write10(3, 1), 512, (3, 0x0c00)),
        (
            Fault::Error(eio),
            vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            0,
            (3, 0x0c00),
        ),
        (Fault::Error(eio), transfer16(0x93, 1, 0, 8), 0, (3, 0x0c00)),
    ] {
        script.fail([fault]);
        let room = if out == 0 { 512 } else { 0 };
        let answer = command(&mut bus, &cdb, &vec![0; out], room);
        assert_eq!(answer.refused(), sense, "{cdb:x?}");
        assert_ne!(answer.residual, 0);
    }
    script.fail([Fault::Refused]);
    assert_eq!(command(&mut bus, &read10(0, 1), &[], 512).status, BUSY);
}

#[test]
fn writes_are_stable_where_they_have_to_be() {
    let (mut bus, _, [script, _]) = scripted();
    let mut cdb = write10(0, 1);
    command(&mut bus, &cdb, &[0; 512], 0).good();
    cdb[1] = 8;
    command(&mut bus, &cdb, &[0; 512], 0).good();
    command(&mut bus, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 0).good();
    // Without a write cache, each is.
    let mut list = [0; 24];
    (list[4], list[5]) = (8, 18);
    command(&mut bus, &[0x15, 0x10, 0, 0, 24, 0], &list, 0).good();
    command(&mut bus, &write10(0, 1), &[0; 512], 0).good();
    let stable = |stable| Call::Write { stable };
    assert_eq!(
        script.calls(),
        [stable(false), stable(true), Call::Sync, stable(true)]
    );
}

#[test]
fn functions_end_what_they_mean() {
    for (subtype, response, ended) in [
        (0, ABORTED, &[true, false, false][..]),
        (1, ABORTED, &[true, true, false]),
        (3, ABORTED, &[true, true, false]),
        (4, RESET, &[true, true, true]),
        (5, RESET, &[true, true, false]),
    ] {
        let (mut bus, _, scripts) = scripted();
        scripts.iter().for_each(|script| script.hold(true));
        let places = [(0, 10), (0, 11), (1, 10)];
        let sent = places.map(|(lun, id)| send(&mut bus, lun, id, &read10(0, 1), 512));
        let asked = send_function(&mut bus, subtype, 0, 10);
        assert_eq!(
            function(&mut bus, &asked),
            None,
            "its tasks are still there"
        );
        scripts.iter().for_each(Script::release);
        bus.run();
        assert_eq!(function(&mut bus, &asked), Some(OK), "{subtype}");
        let mut responses = [None; 3];
        while let Some(used) = bus.queue(REQUEST).collect() {
            let index = sent.iter().position(|sent| sent.id == used.id).unwrap();
            responses[index] = Some(bus.response(&sent[index], used).bytes[11]);
        }
        let expected: Vec<_> = ended
            .iter()
            .map(|&ended| Some(if ended { response } else { OK }))
            .collect();
        assert_eq!(responses[..], expected, "{subtype}");
    }
}

#[test]
fn queries_find_what_is_there_and_end_nothing() {
    let (mut bus, _, [script, _]) = scripted();
    script.hold(true);
    let sent = send(&mut bus, 0, 10, &read10(0, 1), 512);
    for (subtype, lun, id, response) in [
        (6, 0, 10, SUCCEEDED),
        (6, 0, 11, OK),
        (6, 1, 10, OK),
        (7, 0, 0, SUCCEEDED),
        (7, 1, 0, OK),
    ] {
        let asked = send_function(&mut bus, subtype, lun, id);
        assert_eq!(
            function(&mut bus, &asked),
            Some(response),
            "{subtype} {lun} {id}"
        );
    }
    script.release();
    bus.run();
    answer(&mut bus, &sent).good();
}

#[test]
fn a_task_of_many_steps_ends_between_two() {
    let (mut bus, _, [script, _]) = scripted();
    script.hold(true);
    let mut list = vec![0, 38, 0, 32, 0, 0, 0, 0];
    for lba in [0_u64, 64] {
        list.extend(lba.to_be_bytes());
        list.extend([0, 0, 0, 8, 0, 0, 0, 0]);
    }
    let header = header(lun_field(1, 0), 77, &[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0]);
    let sent = bus.submit(REQUEST, &[&header, &list], &[108]);
    bus.notify(REQUEST);
    bus.run();
    let asked = send_function(&mut bus, 0, 0, 77);
    script.release();
    bus.run();
    assert_eq!(answer(&mut bus, &sent).response, ABORTED);
    assert_eq!(function(&mut bus, &asked), Some(OK));
    assert_eq!(
        script.calls(),
        [Call::Discard],
        "the second range is untouched"
    );
}

#[test]
fn compare_and_write_is_alone() {
    let (mut bus, _, [script, _]) = scripted();
    let mut cdb = transfer16(0x89, 0, 0, 0);
    cdb[13] = 1;
    let data = [pattern(512), vec![9; 512]].concat();
    script.hold(true);
    let header = header(lun_field(1, 0), 1, &cdb);
    let first = bus.submit(REQUEST, &[&header, &data], &[108]);
    bus.notify(REQUEST);
    bus.run();
    assert_eq!(command(&mut bus, &cdb, &data, 0).status, BUSY);
    for _ in 0..2 {
        script.release();
        bus.run();
    }
    answer(&mut bus, &first).good();
    script.hold(false);
    let again = command(&mut bus, &cdb, &data, 0);
    assert_eq!(again.refused(), (0xe, 0x1d00));
}

#[test]
fn a_unit_that_leaves_takes_its_commands_to_their_end() {
    let (mut bus, handle, [script, _]) = scripted();
    script.hold(true);
    let sent = send(&mut bus, 0, 10, &read10(0, 1), 512);
    assert!(handle.remove(address(1, 0)));
    bus.run();
    assert_eq!(
        command(&mut bus, &read10(0, 1), &[], 512).refused(),
        (5, 0x2500)
    );
    script.release();
    bus.run();
    answer(&mut bus, &sent).good();
}

#[test]
fn a_reset_waits_for_what_is_in_flight() {
    let (mut bus, _, [script, _]) = scripted();
    script.hold(true);
    send(&mut bus, 0, 10, &read10(0, 1), 512);
    send_function(&mut bus, 5, 0, 0);
    script.end_when_started();
    script.release();
    bus.reset();
    assert_eq!(script.held(), 0);
}
