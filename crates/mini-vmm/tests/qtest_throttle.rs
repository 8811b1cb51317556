//! Disks with limits, over qtest and QMP: what waits, what monitors say of it and change, and what
//! does not wait. A byte a second lets one request in, and no other while a test runs.

use std::io::Write;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};

/// A machine with one disk, whose queue is ready. Its sectors consist of [`DATA`], unlike memory that
/// nothing was read into.
struct Machine {
    vmm: Vmm,
    queue: VirtioQueue,
    _file: NamedTempFile,
}

impl Machine {
    /// A virtio-blk device on the drive or node `d0` of `backends`, where `FILE` is the image.
    fn blk(backends: &str) -> Self {
        Self::start(backends, "-device virtio-blk-pci,id=b0,drive=d0,addr=4", 0)
    }

    /// A SCSI disk on the same, which has told its unit attention.
    fn scsi(backends: &str) -> Self {
        let disk = "-device scsi-hd,id=h0,drive=d0,scsi-id=1,lun=0";
        let devices = format!("-device virtio-scsi-pci,id=s0,addr=4 {disk}");
        let mut machine = Self::start(backends, &devices, 2);
        machine.command(&[0; 6]);
        machine.queue.used(&mut machine.vmm);
        machine
    }

    fn start(backends: &str, devices: &str, index: u16) -> Self {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&[DATA; 1 << 16]).unwrap();
        let backends = backends.replace("FILE", file.path().to_str().unwrap());
        let arguments = format!("-M pc {backends} {devices}");
        let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments);
        let device = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        device.negotiate(&mut vmm, !(1 << 30));
        for other in 0..index {
            device.queue(&mut vmm, other, None);
        }
        let queue = device.queue(&mut vmm, index, None);
        device.start(&mut vmm);
        Self {
            vmm,
            queue,
            _file: file,
        }
    }

    /// Begins a read of a sector. Returns where its data will be.
    fn read(&mut self) -> u64 {
        self.begin(&[Part::Out(&[0; 16]), Part::In(512), Part::In(1)])[1]
    }

    /// Begins a flush, which waits for nothing.
    fn flush(&mut self) {
        let header = [&4_u64.to_le_bytes()[..], &[0; 8]].concat();
        self.begin(&[Part::Out(&header), Part::In(1)]);
    }

    /// Begins a SCSI command. Returns where its data will be.
    fn command(&mut self, cdb: &[u8]) -> u64 {
        let mut header = vec![1, 1, 0, 0, 0, 0, 0, 0];
        header.extend([0; 11]);
        header.extend(cdb);
        header.resize(19 + 32, 0);
        self.begin(&[Part::Out(&header), Part::In(108), Part::In(512)])[2]
    }

    fn begin(&mut self, parts: &[Part<'_>]) -> Vec<u64> {
        let places = self.queue.add(&mut self.vmm, parts);
        self.queue.kick(&mut self.vmm);
        places
    }

    /// Whether data has been read into a place.
    fn has_read(&mut self, data: u64) -> bool {
        self.vmm.read(data, 1) == [DATA]
    }

    /// A read that waits behind another one, which does not.
    fn waiting_read(&mut self) -> u64 {
        let (first, second) = (self.read(), self.read());
        self.flush();
        self.wait_for_one_of(first, second)
    }

    /// A command that waits, likewise.
    fn waiting_command(&mut self) -> u64 {
        let (first, second) = (self.command(&READ), self.command(&READ));
        self.command(&[0; 6]);
        self.wait_for_one_of(first, second)
    }

    /// What came after the second has ended, and that waits.
    fn wait_for_one_of(&mut self, first: u64, second: u64) -> u64 {
        for _ in 0..2 {
            self.queue.used(&mut self.vmm);
        }
        assert_eq!([first, second].map(|at| self.has_read(at)), [true, false]);
        second
    }

    /// That what waited has been read, which is the next to end.
    #[track_caller]
    fn ends(&mut self, data: u64) {
        self.queue.used(&mut self.vmm);
        assert!(self.has_read(data));
    }

    fn run(&mut self, command: &str, arguments: Value) -> Value {
        let result = self.vmm.qmp().execute(command, arguments.clone());
        result.unwrap_or_else(|error| panic!("{command} {arguments}: {error}"))
    }

    fn refused(&mut self, command: &str, arguments: Value) -> String {
        let error = self.vmm.qmp().execute(command, arguments).unwrap_err();
        error["desc"].as_str().unwrap().to_owned()
    }

    /// What the first drive says of its limits.
    fn inserted(&mut self) -> Value {
        self.run("query-block", json!({}))[0]["inserted"].take()
    }
}

/// Arguments of `block_set_io_throttle`: no limits but `more`.
fn limits(whose: &str, id: &str, more: Value) -> Value {
    let mut limits = json!({
        whose: id, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
    });
    let more = more.as_object().unwrap().clone();
    limits.as_object_mut().unwrap().extend(more);
    limits
}

const SET: &str = "block_set_io_throttle";
const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const DRIVE: &str = "-drive if=none,format=raw,id=d0,file=FILE,";
const DATA: u8 = 0x55;

#[test]
fn what_waits_begins_when_its_limit_is_lifted() {
    let mut machine = Machine::blk(&format!("{DRIVE}throttling.bps-read=1"));
    let waits = machine.waiting_read();
    machine.run(SET, limits("device", "d0", json!({})));
    machine.ends(waits);
    machine.run(SET, limits("id", "b0", json!({"bps": 1})));
    let waits = machine.waiting_read();
    machine.run(
        SET,
        limits(
            "id",
            "/machine/peripheral/b0/virtio-backend",
            json!({"bps_wr": 1}),
        ),
    );
    machine.ends(waits);
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn a_disk_without_identifier_goes_by_its_path() {
    let backends = format!("{DRIVE}throttling.bps-total=1");
    let blk = (0, "-device virtio-blk-pci,drive=d0,addr=4");
    let scsi = "-device virtio-scsi-pci,addr=4 -device scsi-hd,drive=d0,scsi-id=1,lun=0";
    for ((queue, devices), paths) in [
        (blk, &["device[0]/virtio-backend", "device[0]"][..]),
        ((2, scsi), &["device[1]"]),
    ] {
        let anonymous = |name| format!("/machine/peripheral-anon/{name}");
        let paths: Vec<_> = paths.iter().map(anonymous).collect();
        let mut machine = Machine::start(&backends, devices, queue);
        let user = machine.run("query-block", json!({}))[0]["qdev"].take();
        assert_eq!(user, paths[0]);
        for path in &paths {
            machine.run(SET, limits("id", path, json!({"bps": 7})));
            assert_eq!(machine.inserted()["bps"], 7, "{path}");
            machine.run(SET, limits("id", path, json!({})));
        }
        for nobody in [
            "device[0]",
            "/machine/peripheral-anon",
            "/machine/peripheral-anon/device[7]",
        ] {
            let desc = machine.refused(SET, limits("id", nobody, json!({})));
            assert_eq!(desc, format!("Device '{nobody}' not found"));
        }
        assert_eq!(machine.vmm.terminate(), Some(0));
    }
}

#[test]
fn monitors_are_told_of_limits() {
    let other = "-drive if=none,format=raw,id=d1,file=null-co://,throttling.group=g,\
                 throttling.iops-read=30";
    let first = "throttling.group=g,throttling.iops-total=20,throttling.iops-total-max=200";
    let mut machine = Machine::blk(&format!("{DRIVE}{first} {other}"));
    let of_group = machine.inserted();
    for (name, value) in [
        ("iops", json!(0)),
        ("iops_rd", json!(30)),
        ("iops_max", Value::Null),
        ("group", json!("g")),
    ] {
        assert_eq!(
            of_group[name], value,
            "{name}: the group has those of its last member"
        );
    }
    let new = json!({
        "bps": 1000, "bps_max": 3000, "bps_max_length": 4, "iops_wr": 10, "iops_size": 4096,
    });
    machine.run(SET, limits("device", "d1", new.clone()));
    let inserted = machine.inserted();
    for (name, value) in new.as_object().unwrap() {
        assert_eq!(&inserted[name], value, "{name}");
    }
    machine.run(
        SET,
        limits("device", "d0", json!({"iops": 7, "group": "h"})),
    );
    machine.run(SET, limits("device", "d0", json!({"iops": 8})));
    let inserted = machine.inserted();
    assert_eq!(
        (&inserted["group"], &inserted["iops"]),
        (&json!("h"), &json!(8))
    );
    machine.run(SET, limits("device", "d0", json!({})));
    let inserted = machine.inserted();
    assert_eq!(
        (inserted.get("group"), &inserted["iops"]),
        (None, &json!(0))
    );
    let nodes = machine.run("query-named-block-nodes", json!({}));
    assert_eq!(
        (&nodes[1]["group"], &nodes[1]["bps_max"]),
        (&json!("g"), &json!(3000))
    );

    for (arguments, expected) in [
        (limits("device", "d7", json!({})), "Device 'd7' not found"),
        (limits("id", "b7", json!({})), "Device 'b7' not found"),
        (
            limits("device", "d0", json!({"iops": 1, "iops_rd": 1})),
            "iops_rd=1: total values and read/write values cannot be used at the same time; \
             accepted: it without iops",
        ),
        (
            limits("device", "d0", json!({"bps_wr_max": 1})),
            "bps_wr_max=1: a burst without an average; accepted: it with bps_wr",
        ),
        (
            limits("device", "d0", json!({"iops_size": 1})),
            "iops size requires an iops value to be set",
        ),
    ] {
        let desc = machine.refused(SET, arguments);
        assert!(desc.contains(expected), "{desc}");
    }
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn stops_and_ends_do_not_wait() {
    let mut machine = Machine::blk(&format!("{DRIVE}throttling.bps-total=1"));
    let waits = machine.waiting_read();
    machine.run("stop", json!({}));
    machine.ends(waits);
    machine.run("cont", json!({}));
    let waits = machine.read();
    machine.flush();
    machine.queue.used(&mut machine.vmm);
    assert!(!machine.has_read(waits));
    machine.run("device_del", json!({"id": "b0"}));
    machine.vmm.output(0xae08, 4, 1 << 4);
    machine.vmm.qmp().event("DEVICE_DELETED");
    machine.vmm.qmp().event("DEVICE_DELETED");
    assert!(!machine.has_read(waits), "nobody is there to wait for it");

    let mut machine = Machine::blk(&format!("{DRIVE}throttling.bps-total=1"));
    machine.waiting_read();
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn a_reset_lets_nothing_through() {
    let mut machine = Machine::blk(&format!("{DRIVE}throttling.bps-total=1"));
    let waits = machine.waiting_read();
    VirtioPci::find(&mut machine.vmm, 4, 0xe000_0000);
    assert!(!machine.has_read(waits));
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn nodes_keep_to_the_limits_of_an_object() {
    let mut machine = Machine::blk(
        "-object throttle-group,id=g,x-bps-total=1 -blockdev driver=file,filename=FILE,node-name=n0 \
         -blockdev driver=throttle,node-name=d0,throttle-group=g,file=n0",
    );
    let waits = machine.waiting_read();
    let object = |value: Value| json!({"path": "/objects/g", "property": "limits", "value": value});
    machine.run("qom-set", object(json!({"bps-total": 0, "iops-total": 9})));
    machine.ends(waits);
    let limits_of = json!({"path": "/objects/g", "property": "limits"});
    let found = machine.run("qom-get", limits_of);
    assert_eq!(
        (&found["bps-total"], &found["iops-total"]),
        (&json!(0), &json!(9))
    );
    let set = machine.refused("qom-set", object(json!({"iops-read": 9})));
    assert!(set.contains("iops-read=9: total values"), "{set}");

    let nodes = machine.run("query-named-block-nodes", json!({}));
    let drivers: Vec<_> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|node| &node["drv"])
        .collect();
    assert_eq!(drivers, ["throttle", "raw"]);
    let used = machine.refused("object-del", json!({"id": "g"}));
    assert_eq!(used, "object 'g' is in use, can not be deleted");
    let own = machine.refused(SET, limits("id", "b0", json!({"iops": 1})));
    assert_eq!(own, "Node 'd0' has the limits of the throttle-group 'g'");
    let device = json!({"driver": "virtio-blk-pci", "drive": "n0"});
    assert!(machine.refused("device_add", device).contains("in use"));
    for (node, expected) in [
        (
            json!({"driver": "throttle", "node-name": "t", "throttle-group": "x", "file": {"driver": "null-co"}}),
            "throttle-group=x: no such group; accepted: g",
        ),
        (
            json!({"driver": "raw", "node-name": "t", "file": "d0"}),
            "file=d0: already in use",
        ),
        (
            json!({"driver": "throttle", "node-name": "t", "file": {"driver": "null-co"}}),
            "throttle-group=: missing; accepted: the id of a -object throttle-group",
        ),
    ] {
        let desc = machine.refused("blockdev-add", node);
        assert!(desc.contains(expected), "{desc}");
    }
    machine.run(
        "blockdev-add",
        json!({"driver": "throttle", "node-name": "t", "throttle-group": "g",
               "file": {"driver": "null-co", "size": 1048576}}),
    );
    let above = json!({"driver": "raw", "node-name": "u", "file": "t"});
    let desc = machine.refused("blockdev-add", above);
    assert!(
        desc.contains("a throttle node, which is above all others"),
        "{desc}"
    );
    machine.run("blockdev-del", json!({"node-name": "t"}));
    assert_eq!(machine.vmm.terminate(), Some(0));
}

#[test]
fn scsi_disks_have_limits_as_well() {
    let mut machine = Machine::scsi(&format!("{DRIVE}throttling.bps-total=1"));
    let waits = machine.waiting_command();
    machine.run(SET, limits("id", "h0", json!({})));
    machine.ends(waits);
    machine.run(SET, limits("id", "h0", json!({"bps": 1})));
    let waits = machine.waiting_command();
    machine.run("device_del", json!({"id": "h0"}));
    machine.vmm.qmp().event("DEVICE_DELETED");
    machine.ends(waits);
    machine.run("blockdev-del", json!({"node-name": "d0"}));
    assert_eq!(machine.vmm.terminate(), Some(0));
}
