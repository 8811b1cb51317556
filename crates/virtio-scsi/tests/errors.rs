//! What becomes of commands that the back-end fails, by the policy of the unit.

mod common;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use common::*;
use guest_io::Mode;
use guest_io::block::{ErrorPolicy, OnError, Verdict};
use scsi_target::{LogicalUnit, Setup};
use testkit::scripted::{Call, Fault, Script, Scripted};
use testkit::{Request, TestBus};
use virtio_scsi::virtio_device::Features;
use virtio_scsi::{Scsi, ScsiHandle};

struct Judged {
    bus: TestBus,
    handle: ScsiHandle<Scripted>,
    script: Script,
    heard: Receiver<Verdict>,
}

/// A bus with a unit of this policy for all commands, ready.
fn judged(policy: OnError) -> Judged {
    let scsi = Scsi::new(&Default::default()).unwrap();
    let (script, (sender, heard)) = (Script::new(), channel());
    let backend = Scripted {
        image: raw(&image()).mode(Mode::Sync),
        script: script.clone(),
    };
    let both = ErrorPolicy {
        read: policy,
        write: policy,
    };
    let unit = LogicalUnit::new(Setup::default(), backend).unwrap();
    let unit = unit.judged(both, move |failure| {
        let _ = sender.send(failure.verdict);
    });
    let handle = scsi.handle();
    handle.add(at(1, 0), Arc::new(unit)).unwrap();
    let mut bus = TestBus::new(scsi);
    bus.boot(Features::VERSION_1 | F_HOTPLUG);
    settle(&mut bus, 1, 0);
    Judged {
        bus,
        handle,
        script,
        heard,
    }
}

impl Judged {
    fn send(&mut self, cdb: &[u8], out: &[u8], room: &[u32]) -> Request {
        let header = header(lun_field(1, 0), 7, cdb);
        let writable = [&[108], room].concat();
        let request = self.bus.submit(REQUEST, &[&header, out], &writable);
        self.bus.notify(REQUEST);
        self.bus.run();
        request
    }

    fn stop_and_go(&mut self) {
        self.bus.core().pause();
        self.bus.core().resume();
        self.bus.run();
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let used = self.bus.queue(REQUEST).collect().expect("an answer");
        assert_eq!(used.id, request.id);
        Answer::of(&self.bus.response(request, used), 96)
    }
}

#[test]
fn a_full_disk_is_waited_for_and_other_errors_are_told() {
    let mut judged = judged(OnError::Enospc);
    judged.script.fail([Fault::Error(5), Fault::Error(28)]);
    let told = command(&mut judged.bus, &write10(3, 1), &[5; 512], 0);
    assert_eq!(told.refused(), (3, 0x0c00));
    let kept = judged.send(&write10(3, 1), &[5; 512], &[]);
    assert!(!judged.bus.queue(REQUEST).has_used());
    let heard: Vec<_> = judged.heard.try_iter().collect();
    assert_eq!(heard, [Verdict::Report, Verdict::Keep]);
    judged.stop_and_go();
    judged.answer(&kept).good();
    let read = command(&mut judged.bus, &read10(3, 1), &[], 512);
    assert_eq!(read.good().data, [5; 512]);
}

#[test]
fn what_is_ignored_went_well() {
    let mut judged = judged(OnError::Ignore);
    let mut list = vec![0, 22, 0, 16, 0, 0, 0, 0];
    list.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
    for (cdb, out, room) in [
        (read10(0, 1), vec![], 512),
        (write10(0, 1), vec![1; 512], 0),
        (vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![], 0),
        (vec![0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list, 0),
        (transfer16(0x93, 0, 0, 8), vec![1; 512], 0),
    ] {
        judged.script.fail([Fault::Error(5)]);
        command(&mut judged.bus, &cdb, &out, room).good();
    }
}

#[test]
fn what_is_kept_is_made_again_from_its_start() {
    let mut judged = judged(OnError::Stop);
    let mut compare = transfer16(0x89, 0, 0, 0);
    compare[13] = 1;
    let both = [pattern(512), vec![9; 512]].concat();
    for hold in [false, true] {
        for (cdb, out, room) in [
            (read10(0, 1), vec![], &[512][..]),
            (transfer16(0x93, 0, 8, 8), vec![1; 512], &[]),
            (compare.clone(), both.clone(), &[]),
        ] {
            judged.script.hold(hold);
            judged.script.fail([Fault::Error(5)]);
            let kept = judged.send(&cdb, &out, room);
            judged.script.release();
            judged.bus.run();
            judged.script.hold(false);
            assert!(!judged.bus.queue(REQUEST).has_used(), "{cdb:x?}");
            judged.stop_and_go();
            judged.answer(&kept).good();
            command(&mut judged.bus, &write10(0, 1), &pattern(512), 0).good();
        }
    }
    assert_eq!(judged.heard.try_iter().count(), 6);
    judged.stop_and_go();
    assert!(!judged.bus.queue(REQUEST).has_used(), "answered twice");
}

#[test]
fn a_command_that_is_kept_keeps_no_other_out() {
    let mut judged = judged(OnError::Stop);
    let mut compare = transfer16(0x89, 0, 0, 0);
    compare[13] = 1;
    let both = [pattern(512), vec![9; 512]].concat();
    judged.script.fail([Fault::Error(5)]);
    let kept = judged.send(&compare, &both, &[]);
    command(&mut judged.bus, &compare, &both, 0).good();
    judged.stop_and_go();
    assert_eq!(judged.answer(&kept).refused(), (0xe, 0x1d00));
}

#[test]
fn functions_end_what_is_kept() {
    for (function, response) in [(0, ABORTED), (1, ABORTED), (4, RESET), (5, RESET)] {
        let mut judged = judged(OnError::Stop);
        judged.script.fail([Fault::Error(5)]);
        let kept = judged.send(&read10(0, 1), &[], &[512]);
        let query = manage(&mut judged.bus, 6, lun_field(1, 0), 7);
        assert_eq!(query, SUCCEEDED, "it is still there");
        assert!(!judged.bus.queue(REQUEST).has_used());
        let done = manage(&mut judged.bus, function, lun_field(1, 0), 7);
        assert_eq!(done, OK);
        assert_eq!(judged.answer(&kept).response, response);
        judged.script.calls();
        judged.stop_and_go();
        assert_eq!(judged.script.calls(), []);
        assert!(!judged.bus.queue(REQUEST).has_used(), "answered twice");
    }
}

#[test]
fn a_unit_that_has_gone_meanwhile_is_missed() {
    let mut judged = judged(OnError::Stop);
    judged.script.fail([Fault::Error(5)]);
    let kept = judged.send(&read10(0, 1), &[], &[512]);
    judged.bus.core().pause();
    assert!(judged.bus.core().save().is_err(), "it would be lost");
    judged.handle.remove(address(1, 0));
    judged.bus.core().resume();
    judged.bus.run();
    assert_eq!(judged.answer(&kept).response, BAD_TARGET);
}

#[test]
fn a_reset_forgets_what_is_kept() {
    let mut judged = judged(OnError::Stop);
    judged.script.fail([Fault::Error(5)]);
    judged.send(&read10(0, 1), &[], &[512]);
    judged.script.calls();
    judged.bus.reset();
    judged.bus.boot(Features::VERSION_1);
    judged.bus.run();
    assert_eq!(judged.script.calls(), []);
    settle(&mut judged.bus, 1, 0);
    command(&mut judged.bus, &read10(0, 1), &[], 512).good();
    assert_eq!(judged.script.calls(), [Call::Read]);
}
