//! SCSI of the whole VMM, driven over qtest and QMP: what QEMU's own tests ask of it, and media
//! that change.

use std::os::unix::fs::FileExt;

use imago::FormatCreateBuilder;
use serde_json::json;
use tempfile::NamedTempFile;
use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};

/// A SCSI bus with its request queue ready.
struct Bus {
    vmm: Vmm,
    events: VirtioQueue,
    requests: VirtioQueue,
    control: VirtioQueue,
}

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    response: u8,
    status: u8,
    sense: Vec<u8>,
    data: Vec<u8>,
}

impl Bus {
    fn start(arguments: &str) -> Self {
        let arguments = format!("-M pc -device virtio-scsi-pci,id=vs0,addr=04.0 {arguments}");
        let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments);
        let device = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        device.negotiate(&mut vmm, !(1 << 30));
        let control = device.queue(&mut vmm, 0, None);
        let events = device.queue(&mut vmm, 1, None);
        let requests = device.queue(&mut vmm, 2, None);
        device.start(&mut vmm);
        Self {
            vmm,
            events,
            requests,
            control,
        }
    }

    /// A bus whose disk at target 1 has told its first unit attention, as it must.
    fn settled(arguments: &str) -> Self {
        let mut bus = Self::start(arguments);
        let first = bus.command(&[0; 6], &[], 0);
        assert_eq!((first.response, first.status), (0, 2));
        assert_eq!(first.sense[0], 0x70);
        assert_eq!(first.reason(), (6, 0x2900));
        bus
    }

    fn command(&mut self, cdb: &[u8], out: &[u8], room: u32) -> Answer {
        let mut header = vec![1, 1, 0, 0, 0, 0, 0, 0];
        header.extend([0; 11]);
        header.extend(cdb);
        header.resize(19 + 32, 0);
        let mut parts = vec![Part::Out(&header)];
        if !out.is_empty() {
            parts.push(Part::Out(out));
        }
        parts.push(Part::In(108));
        if room > 0 {
            parts.push(Part::In(room as usize));
        }
        let answer_at = parts.len() - 1 - usize::from(room > 0);
        let places = self.requests.add(&mut self.vmm, &parts);
        self.requests.kick(&mut self.vmm);
        self.requests.used(&mut self.vmm);
        let answer = self.vmm.read(places[answer_at], 108);
        let sense = u32::from_le_bytes(answer[..4].try_into().unwrap());
        let data = match room {
            0 => Vec::new(),
            _ => self.vmm.read(places[answer_at + 1], room as usize),
        };
        Answer {
            response: answer[11],
            status: answer[10],
            sense: answer[12..12 + sense as usize].to_vec(),
            data,
        }
    }

    fn qmp(&mut self, command: &str, arguments: serde_json::Value) {
        self.vmm.qmp().execute(command, arguments).unwrap();
    }
}

impl Answer {
    /// Sense key, and additional sense code with its qualifier.
    fn reason(&self) -> (u8, u16) {
        let code = u16::from_be_bytes([self.sense[12], self.sense[13]]);
        (self.sense[2] & 0x0f, code)
    }

    #[track_caller]
    fn good(self) -> Vec<u8> {
        assert_eq!((self.response, self.status), (0, 0), "{self:x?}");
        self.data
    }
}

fn file(len: u64, byte: u8) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    file.as_file().write_all_at(&[byte; 2048], 0).unwrap();
    file
}

const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];

#[test]
fn disks_come_and_go() {
    let mut bus = Bus::start("-drive if=none,id=drive1,file=null-co://,format=raw");
    for _ in 0..3 {
        let buffer = bus.events.add(&mut bus.vmm, &[Part::In(16)])[0];
        bus.events.kick(&mut bus.vmm);
        let disk = json!({"driver": "scsi-hd", "id": "scsi-hd", "drive": "drive1",
                          "bus": "vs0.0", "scsi-id": 1, "lun": 0});
        bus.qmp("device_add", disk.clone());
        assert_eq!(bus.events.used(&mut bus.vmm), 16);
        let event = bus.vmm.read(buffer, 16);
        assert_eq!(event, [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let twice = bus.vmm.qmp().execute("device_add", disk).unwrap_err();
        assert!(
            twice["desc"].as_str().unwrap().contains("scsi-hd"),
            "{twice}"
        );
        assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2900));
        assert_eq!(bus.command(&READ, &[], 512).good(), [0; 512]);
        let buffer = bus.events.add(&mut bus.vmm, &[Part::In(16)])[0];
        bus.events.kick(&mut bus.vmm);
        bus.qmp("device_del", json!({"id": "scsi-hd"}));
        assert_eq!(bus.events.used(&mut bus.vmm), 16);
        assert_eq!(bus.vmm.read(buffer, 16)[12], 2);
        let data = bus.vmm.qmp().event("DEVICE_DELETED")["data"].take();
        let path = "/machine/peripheral/scsi-hd";
        assert_eq!(data, json!({"device": "scsi-hd", "path": path}));
        assert_eq!(bus.command(&[0; 6], &[], 0).response, 3, "BAD_TARGET");
    }
    assert_eq!(bus.vmm.terminate(), Some(0));
}

#[test]
fn write_same_needs_no_alignment() {
    let mut bus = Bus::settled(
        "-drive file=blkdebug::null-co://,file.image.read-zeroes=on,if=none,id=dr1,format=raw,\
         file.align=4k -device scsi-hd,drive=dr1,bus=vs0.0,lun=0,scsi-id=1",
    );
    let ten = |ndob: u8, blocks: u16| {
        let [high, low] = blocks.to_be_bytes();
        [0x41, ndob, 0, 0, 0, 1, 0, high, low, 0]
    };
    bus.command(&ten(0, 2), &[0; 512], 0).good();
    bus.command(&ten(0, 0x3300), &[1; 512], 0).good();
    bus.command(&ten(1, 0x3300), &[], 0).good();
    // NDOB, from block 1 on.
    let sixteen = [0x93, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x33, 0, 0];
    bus.command(&sixteen, &[], 0).good();
}

#[test]
fn unmap_of_a_large_address_is_refused() {
    let mut bus = Bus::settled(
        "-drive file=null-co://,if=none,id=dr1,format=raw \
         -device scsi-hd,drive=dr1,bus=vs0.0,lun=0,scsi-id=1,logical_block_size=4k",
    );
    let cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
    let mut list = [0; 24];
    (list[1], list[3]) = (22, 16);
    list[8..16].copy_from_slice(&0x7fff_ffff_ffff_ffff_u64.to_be_bytes());
    list[16..20].copy_from_slice(&0x0000_0001_u32.to_be_bytes());
    let answer = bus.command(&cdb, &list, 0);
    assert_eq!(answer.reason(), (5, 0x2100));
}

#[test]
fn a_cdrom_is_write_protected() {
    let mut bus = Bus::settled(
        "-drive file=null-co://,file.read-zeroes=on,if=none,id=dr1,format=raw \
         -device scsi-cd,drive=dr1,bus=vs0.0,lun=0,scsi-id=1",
    );
    let write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let answer = bus.command(&write, &[0; 2048], 0);
    assert_eq!(answer.sense[0], 0x70);
    assert_eq!(answer.reason(), (7, 0x2700));
}

#[test]
fn nodes_are_attached_while_the_machine_runs() {
    let image = file(1 << 20, 7);
    let arguments = format!(
        "-blockdev driver=null-co,read-zeroes=on,node-name=null0 \
         -blockdev driver=file,filename={},node-name=file0",
        image.path().display()
    );
    let mut bus = Bus::start(&arguments);
    for (node, byte) in [("null0", 0), ("file0", 7)] {
        let disk = json!({"driver": "scsi-hd", "id": "disk", "drive": node,
                          "bus": "vs0.0", "scsi-id": 1, "lun": 0});
        bus.qmp("device_add", disk);
        assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2900));
        assert_eq!(bus.command(&READ, &[], 512).good(), [byte; 512]);
        bus.qmp("device_del", json!({"id": "disk"}));
        bus.vmm.qmp().event("DEVICE_DELETED");
    }
}

#[test]
fn a_disk_is_resized_under_its_driver() {
    let image = file(1 << 20, 0);
    let arguments = format!(
        "-drive if=none,id=d,file={},format=raw -device scsi-hd,drive=d,scsi-id=1,lun=0",
        image.path().display()
    );
    let mut bus = Bus::settled(&arguments);
    let buffer = bus.events.add(&mut bus.vmm, &[Part::In(16)])[0];
    bus.events.kick(&mut bus.vmm);
    bus.qmp("block_resize", json!({"device": "d", "size": 2 << 20}));
    assert_eq!(bus.events.used(&mut bus.vmm), 16);
    assert_eq!(bus.vmm.read(buffer, 16)[..4], [3, 0, 0, 0]);
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2a09));
    let capacity = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let capacity = bus.command(&capacity, &[], 8).good();
    assert_eq!(capacity, [0, 0, 0x0f, 0xff, 0, 0, 2, 0]);
}

#[test]
fn a_disk_is_on_an_image_of_qemus_format_which_may_shrink() {
    let image = NamedTempFile::new().unwrap();
    let storage = imago::file::File::try_from(image.reopen().unwrap()).unwrap();
    let builder = imago::qcow2::Qcow2::<imago::file::File>::create_builder(storage);
    builder.size(4 << 20).create().unwrap();
    let arguments = format!(
        "-drive if=none,id=d,file={},format=qcow2 -device scsi-hd,drive=d,scsi-id=1,lun=0",
        image.path().display()
    );
    let mut bus = Bus::settled(&arguments);
    let write = [0x2a, 0, 0, 0, 4, 0, 0, 0, 1, 0];
    bus.command(&write, &[7; 512], 0).good();
    bus.command(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 0)
        .good();
    let read = [0x28, 0, 0, 0, 4, 0, 0, 0, 1, 0];
    assert_eq!(bus.command(&read, &[], 512).good(), [7; 512]);
    assert_eq!(bus.command(&READ, &[], 512).good(), [0; 512]);
    bus.qmp("block_resize", json!({"device": "d", "size": 8 << 20}));
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2a09));
    // Its data are gone, and then its tables.
    let len = image.as_file().metadata().unwrap().len();
    for len in [len / 2, 0] {
        image.as_file().set_len(len).unwrap();
        for lba in 0..8 {
            let cdb = [0x28, 0, 0, 0, lba * 8, 0, 0, 0, 1, 0];
            assert_eq!(bus.command(&cdb, &[], 512).response, 0);
        }
    }
    assert_eq!(bus.vmm.terminate(), Some(0));
}

#[test]
fn discs_are_changed_by_a_monitor_and_ejected_by_the_guest() {
    let (first, second) = (file(1 << 20, 1), file(1 << 21, 2));
    let arguments = format!(
        "-drive if=none,id=disc1,file={},format=raw,readonly=on \
         -blockdev driver=file,filename={},node-name=disc2,read-only=on \
         -device scsi-cd,id=cd0,drive=disc1,bus=vs0.0,scsi-id=1,lun=0",
        first.path().display(),
        second.path().display()
    );
    let mut bus = Bus::settled(&arguments);
    assert_eq!(bus.command(&READ, &[], 2048).good(), [1; 2048]);
    let moved = |bus: &mut Bus, open: bool| {
        let data = bus.vmm.qmp().event("DEVICE_TRAY_MOVED")["data"].take();
        assert_eq!(
            (&data["id"], &data["tray-open"]),
            (&json!("cd0"), &json!(open))
        );
    };
    // Step by step.
    let cd0 = json!({"id": "cd0"});
    let closed = bus.vmm.qmp().execute("blockdev-remove-medium", cd0.clone());
    assert!(
        closed.unwrap_err()["desc"]
            .as_str()
            .unwrap()
            .contains("is not open")
    );
    bus.qmp("blockdev-open-tray", cd0.clone());
    moved(&mut bus, true);
    assert_eq!(bus.command(&READ, &[], 2048).reason(), (2, 0x3a02));
    bus.qmp("blockdev-remove-medium", cd0.clone());
    bus.qmp(
        "blockdev-insert-medium",
        json!({"id": "cd0", "node-name": "disc2"}),
    );
    bus.qmp("blockdev-close-tray", cd0.clone());
    moved(&mut bus, false);
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2800));
    assert_eq!(bus.command(&READ, &[], 2048).good(), [2; 2048]);
    // A locked tray opens by force alone.
    bus.command(&[0x1e, 0, 0, 0, 1, 0], &[], 0).good();
    let locked = bus.vmm.qmp().execute("eject", cd0.clone()).unwrap_err();
    assert!(
        locked["desc"].as_str().unwrap().contains("is locked"),
        "{locked}"
    );
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x5a01));
    bus.qmp("eject", json!({"id": "cd0", "force": true}));
    moved(&mut bus, true);
    bus.command(&[0x1e, 0, 0, 0, 0, 0], &[], 0).good();
    // The guest closes the empty drive.
    bus.command(&[0x1b, 0, 0, 0, 3, 0], &[], 0).good();
    moved(&mut bus, false);
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2800));
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (2, 0x3a01));
    // What was taken out can be put in again.
    bus.qmp("blockdev-open-tray", cd0.clone());
    moved(&mut bus, true);
    bus.qmp(
        "blockdev-insert-medium",
        json!({"id": "cd0", "node-name": "disc1"}),
    );
    bus.qmp("blockdev-close-tray", cd0);
    moved(&mut bus, false);
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2800));
    assert_eq!(bus.command(&READ, &[], 2048).good(), [1; 2048]);
    assert_eq!(bus.vmm.terminate(), Some(0));
}

#[test]
fn discs_that_come_by_name_leave_nothing_behind() {
    let disc = file(1 << 20, 1);
    let cd = "-device scsi-cd,id=cd0,bus=vs0.0,scsi-id=1,lun=0";
    let mut bus = Bus::start(&format!("-sandbox off {cd}"));
    let nodes = |bus: &mut Bus| {
        let nodes = bus.vmm.qmp().execute("query-named-block-nodes", json!({}));
        nodes.unwrap().as_array().unwrap().len()
    };
    for _ in 0..3 {
        let disc = json!({"id": "cd0", "filename": disc.path()});
        bus.qmp("blockdev-change-medium", disc);
        assert_eq!(nodes(&mut bus), 1);
    }
    let nowhere = json!({"id": "none", "filename": disc.path()});
    let error = bus.vmm.qmp().execute("blockdev-change-medium", nowhere);
    assert_eq!(error.unwrap_err()["class"], "DeviceNotFound");
    assert_eq!(nodes(&mut bus), 1);
    bus.qmp("eject", json!({"id": "cd0"}));
    assert_eq!(nodes(&mut bus), 0);
    assert_eq!(bus.vmm.terminate(), Some(0));
}

#[test]
fn functions_are_answered() {
    let mut bus = Bus::settled(
        "-drive file=null-co://,if=none,id=dr1,format=raw -device scsi-hd,drive=dr1,scsi-id=1,lun=0",
    );
    let mut reset = vec![0, 0, 0, 0, 5, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0];
    reset.extend([0; 8]);
    let places = bus
        .control
        .add(&mut bus.vmm, &[Part::Out(&reset), Part::In(1)]);
    bus.control.kick(&mut bus.vmm);
    assert_eq!(bus.control.used(&mut bus.vmm), 1);
    assert_eq!(bus.vmm.read(places[1], 1), [0]);
    assert_eq!(bus.command(&[0; 6], &[], 0).reason(), (6, 0x2903));
}

#[test]
fn what_cannot_be_is_said_in_a_line() {
    let null = "-drive if=none,id=a,file=null-co://";
    let bus = "-device virtio-scsi-pci,id=vs0";
    for (arguments, expected) in [
        (
            format!("{null} -device scsi-hd,drive=a"),
            "bus=: no such bus",
        ),
        (
            format!("{null} {bus} -device scsi-hd,drive=a,bus=vs1.0"),
            "bus=vs1.0: no such bus",
        ),
        (format!("{null} {bus} -device scsi-hd"), "drive=: missing"),
        (
            format!("{null} {bus} -device scsi-hd,drive=c"),
            "drive=c: no such drive",
        ),
        (
            format!(
                "{null} -drive if=none,id=b,file=null-co:// {bus} -device scsi-hd,drive=a,lun=1,scsi-id=1 -device scsi-hd,drive=b,lun=1,scsi-id=1"
            ),
            "lun=1: not accepted",
        ),
        (
            format!("{null} {bus} -device scsi-hd,drive=a,lun=16384"),
            "lun=16384: not accepted",
        ),
        (
            format!("{null} {bus} -device scsi-hd,drive=a,scsi-id=256"),
            "scsi-id=256: not accepted",
        ),
        (
            format!("{null} {bus} -device scsi-hd,drive=a,channel=1"),
            "channel=1: not accepted",
        ),
        (
            format!("{null} {bus} -device scsi-hd,drive=a -device scsi-hd,drive=a"),
            "drive=a: already in use",
        ),
        (
            format!("{null} {bus} -device scsi-hd,drive=a,werror=stops"),
            "werror=stops: not accepted",
        ),
        (
            format!("{null} -device virtio-scsi-pci,num_queues=0"),
            "num_queues=0: not accepted",
        ),
        (
            format!("{null} {bus} -device scsi-cd,drive=a,product=12345678901234567"),
            "at most 16",
        ),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_mini-vmm"))
            .args(["-accel", "qtest"])
            .args(arguments.split(' '))
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        // Drives that are unused for that reason are told as well.
        let lines = error
            .lines()
            .filter(|line| !line.contains("no device uses it"));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 1, "{error}");
        assert!(lines[0].contains(expected), "{arguments}: {error}");
    }
}
