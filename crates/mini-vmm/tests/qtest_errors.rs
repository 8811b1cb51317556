//! Requests that the host fails, seen from outside of the whole VMM: what the guest is told, what
//! monitors are told, and machines that stop for them and go on.

use std::os::unix::fs::FileExt;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};

const SIZE: u64 = 1 << 20;
/// A sector beyond what [`Machine::limit`] lets the VMM write.
const FAR: u64 = 512;
const OK: u8 = 0;
const IOERR: u8 = 1;
const NONE: u8 = 0xee;

/// A machine with a disk that fails when the test says so.
struct Machine {
    vmm: Vmm,
    queue: VirtioQueue,
    file: NamedTempFile,
}

impl Machine {
    fn blk(drive: &str, device: &str) -> Self {
        Self::start(
            drive,
            &format!("-device virtio-blk-pci,id=b0,drive=d0,addr=4{device}"),
            0,
        )
    }

    fn scsi(device: &str) -> Self {
        let bus =
            "-device virtio-scsi-pci,id=s0,addr=4 -device scsi-hd,id=h0,drive=d0,scsi-id=1,lun=0";
        let mut machine = Self::start("", &format!("{bus}{device}"), 2);
        let attention = machine.command(&[0; 6], &[]);
        let answer = machine.answer(attention);
        assert_eq!(answer[10], 2);
        machine
    }

    fn start(drive: &str, devices: &str, index: u16) -> Self {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE).unwrap();
        let path = file.path().display();
        let arguments =
            format!("-M pc -drive if=none,id=d0,file={path},format=raw{drive} {devices}");
        let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments);
        let queue = driven(&mut vmm, index);
        Self { vmm, queue, file }
    }

    /// Lets the VMM write no further than to the middle of the disk, or lifts that.
    fn limit(&self, on: bool) {
        let limit = Rlimit {
            current: on.then_some(SIZE / 4),
            maximum: None,
        };
        let pid = Pid::from_raw(self.vmm.id() as i32);
        prlimit(pid, Resource::Fsize, limit).unwrap();
    }

    /// Begins a write of a sector. Returns where its status will be.
    fn write(&mut self, sector: u64, byte: u8) -> u64 {
        let header = [&1u64.to_le_bytes()[..], &sector.to_le_bytes()].concat();
        let data = [byte; 512];
        self.begin(&[Part::Out(&header), Part::Out(&data), Part::In(1)])
    }

    /// Begins a read of a sector, likewise.
    fn read(&mut self, sector: u64) -> u64 {
        let header = [&0u64.to_le_bytes()[..], &sector.to_le_bytes()].concat();
        self.begin(&[Part::Out(&header), Part::In(512), Part::In(1)])
    }

    /// Begins a SCSI command. Returns where its answer will be.
    fn command(&mut self, cdb: &[u8], out: &[u8]) -> u64 {
        let mut header = vec![1, 1, 0, 0, 0, 0, 0, 0];
        header.extend([0; 11]);
        header.extend(cdb);
        header.resize(19 + 32, 0);
        match out {
            [] => self.begin(&[Part::Out(&header), Part::In(108)]),
            out => self.begin(&[Part::Out(&header), Part::Out(out), Part::In(108)]),
        }
    }

    fn begin(&mut self, parts: &[Part<'_>]) -> u64 {
        let place = *self.queue.add(&mut self.vmm, parts).last().unwrap();
        self.vmm.write(place, &[NONE]);
        self.queue.kick(&mut self.vmm);
        place
    }

    /// The status of the request that is answered next.
    fn status(&mut self, place: u64) -> u8 {
        self.queue.used(&mut self.vmm);
        self.vmm.read(place, 1)[0]
    }

    fn answer(&mut self, place: u64) -> Vec<u8> {
        self.queue.used(&mut self.vmm);
        self.vmm.read(place, 108)
    }

    fn run(&mut self, command: &str) -> Value {
        self.vmm.qmp().execute(command, json!({})).unwrap()
    }

    fn error(&mut self) -> Value {
        self.vmm.qmp().event("BLOCK_IO_ERROR")["data"].take()
    }

    /// That it has stopped for an error, with a request that is not answered.
    #[track_caller]
    fn has_stopped(&mut self, io_status: &str) {
        self.vmm.qmp().event("STOP");
        let status = self.run("query-status");
        assert_eq!(status, json!({"running": false, "status": "io-error"}));
        assert_eq!(self.run("query-block")[0]["io-status"], io_status);
        assert!(!self.queue.has_used(&mut self.vmm));
    }

    fn goes_on(&mut self) {
        self.run("cont");
        self.vmm.qmp().event("RESUME");
        assert_eq!(self.run("query-status")["status"], "running");
        assert_eq!(self.run("query-block")[0]["io-status"], "ok");
    }
}

/// The device in slot 4, whose driver has set up the queue number `index`, and those before it.
fn driven(vmm: &mut Vmm, index: u16) -> VirtioQueue {
    let device = VirtioPci::find(vmm, 4, 0xe000_0000);
    device.negotiate(vmm, !(1 << 30));
    for other in 0..index {
        device.queue(vmm, other, None);
    }
    let queue = device.queue(vmm, index, None);
    device.start(vmm);
    queue
}

#[test]
fn the_guest_is_told_unless_the_disk_is_full() {
    let mut machine = Machine::blk("", "");
    assert_eq!(machine.run("query-block")[0]["io-status"], "ok");
    machine.limit(true);
    let place = machine.write(FAR + 512, 1);
    assert_eq!(machine.status(place), IOERR);
    let expected = json!({
        "qom-path": "/machine/peripheral/b0/virtio-backend",
        "device": "d0", "node-name": "d0", "operation": "write", "action": "report",
        "nospace": false, "reason": "File too large",
    });
    assert_eq!(machine.error(), expected);
    assert_eq!(machine.run("query-status")["status"], "running");
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn a_write_that_fails_stops_the_machine_until_it_can_be_made() {
    let mut machine = Machine::blk(",werror=stop", "");
    machine.limit(true);
    let place = machine.write(FAR + 512, 7);
    let error = machine.error();
    assert_eq!(
        (&error["action"], &error["operation"]),
        (&json!("stop"), &json!("write"))
    );
    machine.has_stopped("failed");
    // It fails again, and is not lost.
    machine.run("cont");
    machine.vmm.qmp().event("RESUME");
    assert_eq!(machine.error()["action"], "stop");
    machine.has_stopped("failed");
    machine.limit(false);
    machine.goes_on();
    assert_eq!(machine.status(place), OK);
    let mut sector = [0; 512];
    let file = machine.file.as_file();
    file.read_exact_at(&mut sector, (FAR + 512) * 512).unwrap();
    assert_eq!(sector, [7; 512]);
    assert!(!machine.queue.has_used(&mut machine.vmm), "answered twice");
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn a_device_says_otherwise_than_its_drive() {
    let mut machine = Machine::blk(",werror=stop,rerror=stop", ",werror=ignore,rerror=report");
    machine.limit(true);
    let place = machine.write(FAR + 512, 7);
    assert_eq!(machine.status(place), OK);
    assert_eq!(machine.error()["action"], "ignore");
    machine.file.as_file().set_len(SIZE / 2).unwrap();
    let place = machine.read(FAR + 1024);
    assert_eq!(machine.status(place), IOERR);
    assert_eq!(machine.run("query-status")["status"], "running");
}

#[test]
fn an_image_that_has_shrunk_is_read_when_it_has_grown_back() {
    let mut machine = Machine::blk("", ",rerror=stop");
    machine.file.as_file().set_len(SIZE / 2).unwrap();
    let place = machine.read(FAR + 1024);
    let error = machine.error();
    assert_eq!(
        (&error["action"], &error["operation"]),
        (&json!("stop"), &json!("read"))
    );
    assert_eq!(error["reason"], "unexpected end of file");
    machine.has_stopped("failed");
    machine.file.as_file().set_len(SIZE).unwrap();
    machine.goes_on();
    assert_eq!(machine.status(place), OK);
}

#[test]
fn a_machine_that_has_stopped_is_reset_and_ended() {
    let mut machine = Machine::blk(",werror=stop", "");
    machine.limit(true);
    machine.write(FAR + 512, 7);
    machine.error();
    machine.has_stopped("failed");
    machine.run("system_reset");
    machine.vmm.qmp().event("RESET");
    assert_eq!(machine.run("query-status")["status"], "prelaunch");
    assert_eq!(machine.run("query-block")[0]["io-status"], "ok");
    machine.run("cont");
    machine.queue = driven(&mut machine.vmm, 0);
    let place = machine.read(0);
    assert_eq!(machine.status(place), OK);
    // What was kept is not made again.
    machine.write(FAR + 512, 7);
    machine.error();
    machine.has_stopped("failed");
    assert_eq!(machine.vmm.terminate(), Some(0));
    let mut sector = [0; 512];
    let file = machine.file.as_file();
    file.read_exact_at(&mut sector, (FAR + 512) * 512).unwrap();
    assert_eq!(sector, [0; 512]);
}

#[test]
fn scsi_disks_stop_the_machine_as_well() {
    let mut machine = Machine::scsi(",werror=stop");
    machine.limit(true);
    let write = [0x2a, 0, 0, 0, 4, 0, 0, 0, 1, 0];
    let place = machine.command(&write, &[7; 512]);
    let error = machine.error();
    assert_eq!(error["qom-path"], "/machine/peripheral/h0");
    assert_eq!(error["action"], "stop");
    machine.has_stopped("failed");
    machine.limit(false);
    machine.goes_on();
    let answer = machine.answer(place);
    assert_eq!((answer[10], answer[11]), (0, 0));
    assert!(!machine.queue.has_used(&mut machine.vmm), "answered twice");
}

#[test]
fn a_device_with_a_kept_request_leaves() {
    let mut machine = Machine::scsi(",werror=stop");
    machine.limit(true);
    let write = [0x2a, 0, 0, 0, 4, 0, 0, 0, 1, 0];
    let place = machine.command(&write, &[7; 512]);
    machine.has_stopped("failed");
    let arguments = json!({"id": "h0"});
    machine.vmm.qmp().execute("device_del", arguments).unwrap();
    machine.vmm.qmp().event("DEVICE_DELETED");
    machine.run("cont");
    assert_eq!(machine.answer(place)[11], 3, "BAD_TARGET");
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn a_disk_without_an_identifier_is_told_by_its_path() {
    let devices = "-device virtio-rng-pci -device virtio-blk-pci,drive=d0,addr=4";
    let mut machine = Machine::start("", devices, 0);
    let path = "/machine/peripheral-anon/device[1]";
    let backend = format!("{path}/virtio-backend");
    assert_eq!(machine.run("query-block")[0]["qdev"], backend);
    machine.limit(true);
    let place = machine.write(FAR + 512, 1);
    assert_eq!(machine.status(place), IOERR);
    assert_eq!(machine.error()["qom-path"], backend);

    let vmm = &mut machine.vmm;
    let added = json!({"driver": "virtio-rng-pci"});
    vmm.qmp().execute("device_add", added).unwrap();
    let below = json!({"path": "/machine/peripheral-anon"});
    let rows = vmm.qmp().execute("qom-list", below).unwrap();
    let names: Vec<_> = (0..3).map(|row| rows[row]["name"].clone()).collect();
    assert_eq!(names, ["device[0]", "device[1]", "device[2]"]);

    let named = json!({"id": path});
    vmm.qmp().execute("device_del", named).unwrap();
    // The guest's answer.
    vmm.output(0xae08, 4, 1 << 4);
    for path in [&backend, path] {
        let event = vmm.qmp().event("DEVICE_DELETED");
        assert_eq!(event["data"], json!({"path": path}));
    }
}

/// QEMU's name of a drive's host end stays, whatever disc is in it.
#[test]
fn a_failure_is_told_of_the_disc_that_is_in_the_drive() {
    told_of_the_disc("drive=d0", "d0");
}

#[test]
fn a_failure_is_told_of_the_disc_that_has_come_into_an_empty_drive() {
    told_of_the_disc("rerror=report", "");
}

/// A CD-ROM drive with the property `given`, whose host end QEMU calls `name`.
fn told_of_the_disc(given: &str, name: &str) {
    let disc = NamedTempFile::new().unwrap();
    disc.as_file().set_len(SIZE).unwrap();
    let devices = format!(
        "-drive if=none,id=m1,file={},format=raw,readonly=on -device virtio-scsi-pci,id=s0,addr=4 \
         -device scsi-cd,scsi-id=1,lun=0,{given}",
        disc.path().display()
    );
    let mut machine = Machine::start(",readonly=on", &devices, 2);
    let path = "/machine/peripheral-anon/device[0]";
    for (command, mut arguments) in [
        ("blockdev-open-tray", json!({})),
        ("blockdev-remove-medium", json!({})),
        ("blockdev-insert-medium", json!({"node-name": "m1"})),
        ("blockdev-close-tray", json!({})),
    ] {
        arguments["id"] = path.into();
        machine.vmm.qmp().execute(command, arguments).unwrap();
    }
    let moved = machine.vmm.qmp().event("DEVICE_TRAY_MOVED");
    assert_eq!(
        moved["data"],
        json!({"device": name, "id": path, "tray-open": true})
    );
    // What has happened to the drive is told first.
    let mut is_ready = || {
        let ready = machine.command(&[0; 6], &[]);
        machine.answer(ready)[10] == 0
    };
    assert!((0..8).any(|_| is_ready()));
    disc.as_file().set_len(SIZE / 2).unwrap();
    let read = [0x28, 0, 0, 0, 1, 0x80, 0, 0, 1, 0];
    let header = [&[1, 1][..], &[0; 17], &read, &[0; 22]].concat();
    machine.begin(&[Part::Out(&header), Part::In(108), Part::In(2048)]);
    let error = machine.error();
    assert_eq!(
        [&error["qom-path"], &error["device"], &error["node-name"]],
        [path, name, "m1"]
    );
    assert_eq!(error["reason"], "unexpected end of file");
}
