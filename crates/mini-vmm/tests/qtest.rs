//! The whole VMM, driven over qtest and QMP: neither KVM nor a guest is needed.

use std::io::Write;
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::qtest::{Part, PciDevice, Qmp, VirtioPci, Vmm};

fn start(arguments: &str) -> Vmm {
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), arguments)
}

/// A disk of 64 MiB, and the options that put it into slot 4.
fn disk() -> (NamedTempFile, String) {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let options = format!(
        "-M pc -device virtio-blk-pci,id=drv0,drive=drive0,addr=4.0 \
         -drive if=none,id=drive0,file={},format=raw,auto-read-only=off \
         -drive if=none,id=drive1,file=null-co://,file.read-zeroes=on,format=raw",
        file.path().display()
    );
    (file, options)
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(sector.to_le_bytes());
    bytes
}

#[test]
fn a_probe_gets_what_it_asks_for() {
    let mut vmm = start("-machine none");
    assert_eq!(vmm.say("endianness"), "OK little");
    let machines = vmm.qmp().execute("query-machines", json!({})).unwrap();
    let pc = machines.as_array().unwrap().iter();
    let pc = pc.clone().find(|machine| machine["name"] == "pc").unwrap();
    let mut fields: Vec<_> = pc.as_object().unwrap().keys().collect();
    fields.sort();
    let six = [
        "acpi",
        "cpu-max",
        "deprecated",
        "hotpluggable-cpus",
        "name",
        "numa-mem-supported",
    ];
    assert_eq!(fields, six);
    let arguments = json!({"abstract": true, "implements": "device"});
    let types = vmm.qmp().execute("qom-list-types", arguments).unwrap();
    let has = |name| {
        types
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["name"] == name)
    };
    assert!(
        ["virtio-blk-pci", "virtio-rng-pci", "virtserialport"]
            .into_iter()
            .all(has)
    );
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn the_board_is_where_a_pc_has_it() {
    let mut vmm = start("-M pc -m 256");
    vmm.output(0x510, 2, 3);
    let size: Vec<_> = (0..8).map(|_| vmm.input(0x511, 1) as u8).collect();
    assert_eq!(size, (256u64 << 20).to_le_bytes());
    let bridge = PciDevice::find(&mut vmm, 0).unwrap();
    assert_eq!(bridge.read(&mut vmm, 0, 4), 0x1237_8086);
    assert_eq!(PciDevice::find(&mut vmm, 4), None);
}

#[test]
fn blk_reads_and_writes_by_chains_and_by_indirect_tables() {
    let (file, options) = disk();
    let mut vmm = start(&options);
    let blk = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    assert_eq!(blk.config(&mut vmm, 0, 8), (64 << 20) / 512);
    // Without EVENT_IDX every completion interrupts.
    blk.negotiate(&mut vmm, !(1 << 29 | 1 << 30));
    let mut queue = blk.queue(&mut vmm, 0, None);
    blk.start(&mut vmm);
    let mut data = b"TEST".to_vec();
    data.resize(512, 0);
    for sector in [0, 1] {
        let out = [Part::Out(&header(1, sector)), Part::Out(&data), Part::In(1)];
        let read = [Part::Out(&header(0, sector)), Part::In(512), Part::In(1)];
        let (out, read) = match sector {
            0 => (queue.add(&mut vmm, &out), queue.add(&mut vmm, &read)),
            _ => (
                queue.add_indirect(&mut vmm, &out),
                queue.add_indirect(&mut vmm, &read),
            ),
        };
        queue.kick(&mut vmm);
        assert_eq!((queue.used(&mut vmm), queue.used(&mut vmm)), (1, 513));
        assert_eq!(vmm.read(out[2], 1), [0]);
        assert_eq!(vmm.read(read[2], 1), [0]);
        assert_eq!(vmm.read(read[1], 512), data);
        vmm.wait("an interrupt", |vmm| blk.isr(vmm) == 1);
    }
    let mut written = vec![0; 1024];
    file.as_file().read_exact_at(&mut written, 0).unwrap();
    assert_eq!(written, [data.clone(), data].concat());
    assert_eq!(vmm.terminate(), Some(0));
}

/// An access has its reply when the device has seen it, on whichever thread that works.
#[test]
fn blk_answers_what_waits_for_nothing_before_the_kick_has_a_reply() {
    let mut vmm = start(
        "-M pc -object iothread,id=io0 \
         -drive if=none,id=zeroes0,file=null-co://,file.read-zeroes=on,format=raw \
         -drive if=none,id=zeroes1,file=null-co://,file.read-zeroes=on,format=raw \
         -device virtio-blk-pci,drive=zeroes0,addr=4.0 \
         -device virtio-blk-pci,drive=zeroes1,addr=5.0,iothread=io0",
    );
    for slot in [4, 5] {
        let blk = VirtioPci::find(&mut vmm, slot, 0xe000_0000 + (u32::from(slot) << 20));
        blk.negotiate(&mut vmm, !(1 << 30));
        let mut queue = blk.queue(&mut vmm, 0, None);
        blk.start(&mut vmm);
        for _ in 0..200 {
            let parts = [Part::Out(&header(0, 0)), Part::In(512), Part::In(1)];
            queue.add(&mut vmm, &parts);
            queue.kick(&mut vmm);
            assert!(queue.has_used(&mut vmm));
            assert_eq!(queue.used(&mut vmm), 513);
        }
        blk.set_status(&mut vmm, 0);
        assert_eq!(blk.status(&mut vmm), 0, "no need to wait for a reset");
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn blk_zeroes_and_discards() {
    let (file, options) = disk();
    file.as_file().write_all_at(&[1; 1024], 0).unwrap();
    let mut vmm = start(&options);
    let blk = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    let features = blk.negotiate(&mut vmm, !(1 << 30));
    assert_eq!(features >> 13 & 3, 3, "both are offered");
    let mut queue = blk.queue(&mut vmm, 0, None);
    blk.start(&mut vmm);
    let mut range = 0u64.to_le_bytes().to_vec();
    range.extend(1u32.to_le_bytes());
    range.extend([0; 4]);
    for kind in [13, 11] {
        let parts = [Part::Out(&header(kind, 0)), Part::Out(&range), Part::In(1)];
        let places = queue.add(&mut vmm, &parts);
        queue.kick(&mut vmm);
        assert_eq!(queue.used(&mut vmm), 1);
        assert_eq!(vmm.read(places[2], 1), [0], "request {kind}");
    }
    let mut left = [0; 1024];
    file.as_file().read_exact_at(&mut left, 0).unwrap();
    assert_eq!((&left[..512], &left[512..]), (&[0; 512][..], &[1; 512][..]));
}

#[test]
fn blk_is_resized_under_its_driver_with_an_interrupt() {
    let (_file, options) = disk();
    let mut vmm = start(&options);
    let blk = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    blk.negotiate(&mut vmm, !(1 << 30));
    blk.start(&mut vmm);
    let arguments = json!({"device": "drive0", "size": 32 << 20});
    vmm.qmp().execute("block_resize", arguments).unwrap();
    vmm.wait("an interrupt", |vmm| blk.isr(vmm) == 3);
    assert_eq!(blk.config(&mut vmm, 0, 8), (32 << 20) / 512);
}

#[test]
fn blk_is_resized_under_its_driver_with_an_interrupt_message() {
    let (file, options) = disk();
    let mut vmm = start(&options);
    let mut blk = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    blk.enable_msix(&mut vmm, 0xe010_0000);
    let config = blk.vector(&mut vmm, 0, 0x1234_5678);
    let used = blk.vector(&mut vmm, 1, 0x8765_4321);
    blk.set_config_vector(&mut vmm, 0);
    blk.negotiate(&mut vmm, !(1 << 30));
    let mut queue = blk.queue(&mut vmm, 0, Some(1));
    blk.start(&mut vmm);

    let arguments = json!({"device": "drive0", "size": 32 << 20});
    vmm.qmp().execute("block_resize", arguments).unwrap();
    vmm.wait("a configuration message", |vmm| {
        vmm.load(config, 4) == 0x1234_5678
    });
    assert_eq!(blk.config(&mut vmm, 0, 8), (32 << 20) / 512);
    assert_eq!(file.as_file().metadata().unwrap().len(), 32 << 20);

    assert_eq!(vmm.load(used, 4), 0);
    let parts = [Part::Out(&header(0, 0)), Part::In(512), Part::In(1)];
    queue.add(&mut vmm, &parts);
    queue.kick(&mut vmm);
    assert_eq!(queue.used(&mut vmm), 513);
    vmm.wait("a queue message", |vmm| vmm.load(used, 4) == 0x8765_4321);
}

#[test]
fn blk_holds_interrupts_back_until_the_event_that_the_driver_names() {
    let (_file, options) = disk();
    let mut vmm = start(&options);
    let mut blk = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    blk.enable_msix(&mut vmm, 0xe010_0000);
    let message = blk.vector(&mut vmm, 1, 7);
    let features = blk.negotiate(&mut vmm, !(1 << 30));
    assert_ne!(features & 1 << 29, 0, "EVENT_IDX");
    let mut queue = blk.queue(&mut vmm, 0, Some(1));
    blk.start(&mut vmm);
    let parts = [Part::Out(&header(0, 0)), Part::In(512), Part::In(1)];
    // The interrupt is wanted for the second request from here on.
    queue.set_used_event(&mut vmm, 1);
    queue.add(&mut vmm, &parts);
    queue.kick(&mut vmm);
    queue.used(&mut vmm);
    assert_eq!(vmm.load(message, 4), 0);
    vmm.wait("a wish for a kick", |vmm| queue.avail_event(vmm) == 1);
    queue.add(&mut vmm, &parts);
    queue.kick(&mut vmm);
    queue.used(&mut vmm);
    vmm.wait("a message", |vmm| vmm.load(message, 4) == 7);
}

#[test]
fn a_queue_that_is_not_there_does_no_harm_to_the_legacy_interface() {
    let (_file, options) = disk();
    let mut vmm = start(&options);
    let blk = PciDevice::find(&mut vmm, 4).unwrap();
    blk.enable(&mut vmm);
    blk.map(&mut vmm, 0, 0xc000);
    vmm.output(0xc000 + 14, 2, 2);
    assert_eq!(vmm.input(0xc000 + 12, 2), 0);
    vmm.output(0xc000 + 8, 4, 1);
    assert_eq!(vmm.input(0xc000 + 8, 4), 0);
    assert_eq!(vmm.say("endianness"), "OK little");
}

/// Adds a device to slot 6, uses it, and has the guest let it go; three times.
fn comes_and_goes(options: &str, device: Value, use_it: fn(&mut Vmm, &VirtioPci)) {
    let mut vmm = start(options);
    let descriptors = |vmm: &Vmm| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", vmm.id()));
        open.unwrap().count()
    };
    let mut before = None;
    for _ in 0..3 {
        vmm.qmp().execute("device_add", device.clone()).unwrap();
        assert_eq!(vmm.input(0xae00, 4), 1 << 6);
        let found = VirtioPci::find(&mut vmm, 6, 0xe020_0000);
        use_it(&mut vmm, &found);
        let arguments = json!({"id": device["id"]});
        vmm.qmp().execute("device_del", arguments).unwrap();
        assert_eq!(vmm.input(0xae04, 4), 1 << 6);
        vmm.output(0xae08, 4, 1 << 6);
        let path = format!("/machine/peripheral/{}", device["id"].as_str().unwrap());
        let first = vmm.qmp().event("DEVICE_DELETED");
        assert_eq!(first["data"]["path"], format!("{path}/virtio-backend"));
        let last = vmm.qmp().event("DEVICE_DELETED");
        assert_eq!(last["data"], json!({"device": device["id"], "path": path}));
        assert_eq!(PciDevice::find(&mut vmm, 6), None);
        // The first round opens what is kept, such as a pool of entropy.
        let open = descriptors(&vmm);
        assert_eq!(*before.get_or_insert(open), open, "descriptors");
    }
    assert_eq!(vmm.terminate(), Some(0));
}

fn draw_entropy(vmm: &mut Vmm, rng: &VirtioPci) {
    rng.negotiate(vmm, !(1 << 30));
    let mut queue = rng.queue(vmm, 0, None);
    rng.start(vmm);
    let places = queue.add(vmm, &[Part::In(64)]);
    queue.kick(vmm);
    let length = queue.used(vmm) as usize;
    assert!((1..=64).contains(&length));
    assert_ne!(vmm.read(places[0], length), vec![0; length]);
}

#[test]
fn rng_gives_entropy() {
    let mut vmm = start("-M pc -device virtio-rng-pci,addr=04.0");
    let rng = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    draw_entropy(&mut vmm, &rng);
}

#[test]
fn rng_comes_and_goes() {
    let device = json!({"driver": "virtio-rng-pci", "id": "rng1", "addr": "0x06"});
    comes_and_goes("-M pc", device, draw_entropy);
}

#[test]
fn blk_comes_and_goes() {
    let device = json!({"driver": "virtio-blk-pci", "id": "drv1", "addr": "6", "drive": "drive1"});
    let (_file, options) = disk();
    comes_and_goes(&options, device, |vmm, blk| {
        blk.negotiate(vmm, !(1 << 30));
        let mut queue = blk.queue(vmm, 0, None);
        blk.start(vmm);
        let places = queue.add(vmm, &[Part::Out(&header(0, 9)), Part::In(512), Part::In(1)]);
        queue.kick(vmm);
        assert_eq!(queue.used(vmm), 513);
        assert_eq!(vmm.read(places[1], 512), [0; 512]);
    });
}

#[test]
fn serial_ports_come_and_go() {
    let mut vmm = start(
        "-M pc -chardev null,id=c0 -device virtio-serial-pci,id=vser0,addr=04.0 \
         -device virtconsole,bus=vser0.0",
    );
    let serial = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    serial.negotiate(&mut vmm, !(1 << 30));
    let _console = [0, 1].map(|index| serial.queue(&mut vmm, index, None));
    let mut from_device = serial.queue(&mut vmm, 2, None);
    let mut to_device = serial.queue(&mut vmm, 3, None);
    serial.start(&mut vmm);
    let mut letters = Vec::new();
    for _ in 0..16 {
        letters.extend(from_device.add(&mut vmm, &[Part::In(32)]));
    }
    from_device.kick(&mut vmm);
    to_device.add(&mut vmm, &[Part::Out(&[0, 0, 0, 0, 0, 0, 1, 0])]);
    to_device.kick(&mut vmm);
    let mut letters = letters.into_iter();
    let mut hear = |vmm: &mut Vmm| {
        assert_eq!(from_device.used(vmm), 8);
        let at = letters.next().unwrap();
        (vmm.load(at, 4), vmm.load(at + 4, 2))
    };
    assert_eq!(hear(&mut vmm), (0, 1), "the console");
    for _ in 0..3 {
        let port = json!({"driver": "virtserialport", "id": "hp-port", "chardev": "c0"});
        vmm.qmp().execute("device_add", port).unwrap();
        assert_eq!(hear(&mut vmm), (1, 1));
        let arguments = json!({"id": "hp-port"});
        vmm.qmp().execute("device_del", arguments).unwrap();
        assert_eq!(hear(&mut vmm), (1, 2));
        let data = vmm.qmp().event("DEVICE_DELETED")["data"].take();
        let path = "/machine/peripheral/hp-port";
        assert_eq!(data, json!({"device": "hp-port", "path": path}));
    }
}

#[test]
fn monitors_hear_of_serial_ports_that_are_opened_and_closed() {
    let mut vmm = start(
        "-M pc -chardev null,id=c0 -device virtio-serial-pci,addr=04.0 \
         -device virtserialport,chardev=c0,id=p0 -device virtserialport",
    );
    let serial = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    serial.negotiate(&mut vmm, !(1 << 30));
    let mut queues = [0, 1, 2, 3].map(|index| serial.queue(&mut vmm, index, None));
    serial.start(&mut vmm);
    // DEVICE_READY; of the second port, without an identifier, and the first: PORT_READY, PORT_OPEN.
    for message in [
        [0, 0, 0, 0, 0, 0, 1, 0],
        [2, 0, 0, 0, 3, 0, 1, 0],
        [2, 0, 0, 0, 6, 0, 1, 0],
        [1, 0, 0, 0, 3, 0, 1, 0],
        [1, 0, 0, 0, 6, 0, 1, 0],
    ] {
        queues[3].add(&mut vmm, &[Part::Out(&message)]);
        queues[3].kick(&mut vmm);
    }
    let heard = |vmm: &mut Vmm| vmm.qmp().event("VSERPORT_CHANGE")["data"].take();
    assert_eq!(heard(&mut vmm), json!({"id": "p0", "open": true}));
    serial.set_status(&mut vmm, 0);
    assert_eq!(heard(&mut vmm), json!({"id": "p0", "open": false}));
}

#[test]
fn a_machine_is_stopped_and_reset_in_the_midst_of_work() {
    let (_file, options) = disk();
    let mut vmm = start(&options);
    for _ in 0..3 {
        let blk = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        blk.negotiate(&mut vmm, !(1 << 30));
        let mut queue = blk.queue(&mut vmm, 0, None);
        blk.start(&mut vmm);
        vmm.qmp().execute("stop", json!({})).unwrap();
        vmm.qmp().event("STOP");
        queue.add(
            &mut vmm,
            &[Part::Out(&header(0, 0)), Part::In(512), Part::In(1)],
        );
        queue.kick(&mut vmm);
        let status = vmm.qmp().execute("query-status", json!({})).unwrap();
        assert_eq!(status, json!({"running": false, "status": "paused"}));
        assert!(!queue.has_used(&mut vmm));
        vmm.qmp().execute("cont", json!({})).unwrap();
        vmm.qmp().event("RESUME");
        assert_eq!(queue.used(&mut vmm), 513);
        vmm.qmp().execute("system_reset", json!({})).unwrap();
        vmm.qmp().event("RESET");
        let pci = PciDevice::find(&mut vmm, 4).unwrap();
        assert_eq!(pci.read(&mut vmm, 4, 2), 0, "as at power-on");
    }
    vmm.qmp().execute("quit", json!({})).unwrap();
    let data = vmm.qmp().event("SHUTDOWN")["data"].take();
    assert_eq!(data, json!({"guest": false, "reason": "host-qmp-quit"}));
    assert_eq!(vmm.qmp().receive(), None);
}

#[test]
fn a_monitor_survives_what_it_is_sent() {
    let mut vmm = start("-machine none");
    for (text, class) in [
        ("nonsense\n", "GenericError"),
        ("{\"execute\": }", "GenericError"),
        ("{\"a\": \"\n", "GenericError"),
        ("[1, 2]", "GenericError"),
        ("{\"execute\": \"no-such\"}", "CommandNotFound"),
        (
            "{\"execute\": \"stop\", \"arguments\": {\"x\": 1}}",
            "GenericError",
        ),
        (
            "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"x\"}}",
            "DeviceNotFound",
        ),
        ("{\"execute\": \"qmp_capabilities\"}", "CommandNotFound"),
    ] {
        vmm.qmp().send(text);
        assert_eq!(vmm.qmp().answer()["error"]["class"], class, "{text}");
    }
    vmm.qmp()
        .send(&format!("{{\"execute\": \"{}\"}}\n", "x".repeat(2 << 20)));
    assert_eq!(vmm.qmp().answer()["error"]["desc"], "request too long");
    vmm.qmp()
        .send("{\"execute\": \"query-status\", \"id\": {\"a\": [1]}}");
    assert_eq!(vmm.qmp().answer()["id"], json!({"a": [1]}));
    vmm.qmp()
        .send(&"{\"execute\": \"query-qmp-schema\"}".repeat(200));
    for _ in 0..200 {
        assert!(vmm.qmp().answer()["return"].is_array());
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn monitors_come_one_after_the_other_and_may_leave_at_any_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let socket = format!("unix:{},server=on,wait=off", path.display());
    let mut vmm = start(&format!("-machine none -qmp {socket}"));
    for half in [
        "",
        "{\"execute\": \"query-",
        "{\"execute\": \"query-qmp-schema\"}",
    ] {
        for _ in 0..20 {
            let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
            stream.write_all(half.as_bytes()).unwrap();
        }
        let mut qmp = Qmp::new(std::os::unix::net::UnixStream::connect(&path).unwrap());
        let status = qmp.execute("query-status", json!({})).unwrap();
        assert_eq!(status["running"], true);
    }
    assert_eq!(vmm.say("endianness"), "OK little");
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_sandbox_opens_no_files_for_a_monitor() {
    let (file, _) = disk();
    let add = json!({
        "driver": "raw",
        "node-name": "late",
        "file": {"driver": "file", "filename": file.path()},
    });
    let mut vmm = start("-M pc");
    let error = vmm.qmp().execute("blockdev-add", add.clone()).unwrap_err();
    assert!(
        error["desc"]
            .as_str()
            .unwrap()
            .contains("the sandbox opens no files")
    );
    assert_eq!(vmm.terminate(), Some(0));

    let mut vmm = start("-M pc -sandbox off");
    vmm.qmp().execute("blockdev-add", add.clone()).unwrap();
    assert!(vmm.qmp().execute("blockdev-add", add).is_err(), "twice");
    let blocks = vmm.qmp().execute("query-block", json!({})).unwrap();
    assert_eq!(blocks[0]["inserted"]["image"]["virtual-size"], 64 << 20);
    let gone = json!({"node-name": "late"});
    vmm.qmp().execute("blockdev-del", gone).unwrap();
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_machine_may_be_described_in_json() {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let path = json!(file.path());
    let mut vmm = start(&format!(
        r#"-M q35 -blockdev {{"driver":"file","filename":{path},"node-name":"s0","discard":"unmap"}}
           -blockdev {{"driver":"raw","read-only":true,"node-name":"f0","file":"s0"}}
           -device {{"driver":"pcie-root-port","id":"rp0","chassis":1,"addr":"0x2"}}
           -device {{"driver":"virtio-blk-pci","drive":"f0","id":"d0","bus":"rp0","addr":"0x0"}}"#
    ));
    let blocks = vmm.qmp().execute("query-block", json!({})).unwrap();
    let disk = &blocks[0]["inserted"];
    assert_eq!(disk["image"]["virtual-size"], 64 << 20);
    assert_eq!(disk["ro"], true);
    let property = json!({"path": "d0", "property": "disable-legacy"});
    assert_eq!(vmm.qmp().execute("qom-get", property).unwrap(), "auto");
    assert_eq!(vmm.terminate(), Some(0));
}

/// Slot control and slot status of the root port in slot 2.
struct PortSlot {
    port: PciDevice,
    at: u8,
}

impl PortSlot {
    fn find(vmm: &mut Vmm) -> Self {
        let port = PciDevice::find(vmm, 2).unwrap();
        let at = port.capabilities(vmm, 0x10)[0] + 0x18;
        Self { port, at }
    }

    fn control(&self, vmm: &mut Vmm, value: u32) {
        self.port.write(vmm, self.at, 2, value);
    }

    /// Reads slot status and clears its events.
    fn status(&self, vmm: &mut Vmm) -> u32 {
        let status = self.port.read(vmm, self.at + 2, 2);
        self.port.write(vmm, self.at + 2, 2, status);
        status
    }
}

const ON: u32 = 0x1c0;
const BLINKS: u32 = 0x2c0;
const OFF: u32 = 0x7c0;

fn add_rng(vmm: &mut Vmm, bus: &str) -> Result<Value, Value> {
    let device = json!({"driver": "virtio-rng-pci", "id": "r", "bus": bus});
    vmm.qmp().execute("device_add", device)
}

fn delete_rng(vmm: &mut Vmm) -> Result<Value, Value> {
    vmm.qmp().execute("device_del", json!({"id": "r"}))
}

fn desc(error: Result<Value, Value>) -> String {
    error.unwrap_err()["desc"].as_str().unwrap().to_owned()
}

#[test]
fn devices_come_and_go_behind_a_root_port() {
    let mut vmm = start("-M q35 -device pcie-root-port,id=rp0,addr=2.0,chassis=1,slot=7");
    let slot = PortSlot::find(&mut vmm);
    assert_eq!(slot.port.read(&mut vmm, slot.at - 4, 4) >> 19, 7);
    for round in 0..3 {
        add_rng(&mut vmm, "rp0").unwrap();
        assert_eq!(slot.status(&mut vmm) & 0x5f, 1 << 6 | 1 << 3 | 1, "{round}");
        assert!(desc(add_rng(&mut vmm, "rp0")).contains("Duplicate device ID 'r'"));
        slot.control(&mut vmm, ON);
        slot.status(&mut vmm);
        delete_rng(&mut vmm).unwrap();
        assert_eq!(slot.status(&mut vmm) & 0x5f, 1 << 6 | 1, "the button");
        let again = desc(delete_rng(&mut vmm));
        assert_eq!(again, "Device r is already in the process of unplug");
        slot.control(&mut vmm, BLINKS);
        slot.control(&mut vmm, OFF);
        vmm.qmp().event("DEVICE_DELETED");
        assert_eq!(vmm.qmp().event("DEVICE_DELETED")["data"]["device"], "r");
        assert_eq!(slot.status(&mut vmm) & 1 << 6, 0);
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_slot_that_is_off_lets_go_without_its_guest() {
    let mut vmm = start("-M q35 -device pcie-root-port,id=rp0,addr=2.0");
    add_rng(&mut vmm, "rp0").unwrap();
    delete_rng(&mut vmm).unwrap();
    vmm.qmp().event("DEVICE_DELETED");
    assert_eq!(vmm.qmp().event("DEVICE_DELETED")["data"]["device"], "r");
}

#[test]
fn a_guest_that_is_busy_or_silent_is_not_asked_twice() {
    let mut vmm = start("-M q35 -device pcie-root-port,id=rp0,addr=2.0");
    let slot = PortSlot::find(&mut vmm);
    add_rng(&mut vmm, "rp0").unwrap();
    slot.control(&mut vmm, BLINKS);
    let busy = "Hot-unplug failed: guest is busy (power indicator blinking)";
    assert_eq!(desc(delete_rng(&mut vmm)), busy);
    slot.control(&mut vmm, ON);
    delete_rng(&mut vmm).unwrap();
    // A reset answers for a guest that never does.
    vmm.qmp().execute("system_reset", json!({})).unwrap();
    vmm.qmp().event("DEVICE_DELETED");
    assert_eq!(vmm.qmp().event("DEVICE_DELETED")["data"]["device"], "r");
    vmm.qmp().event("RESET");
    add_rng(&mut vmm, "rp0").unwrap();
}

#[test]
fn devices_stay_where_there_is_no_hot_plug() {
    let mut vmm = start(
        "-M q35 -device pcie-root-port,id=rp0,addr=2.0,hotplug=off \
         -device virtio-rng-pci,id=r,bus=rp0",
    );
    let slot = PortSlot::find(&mut vmm);
    assert_eq!(slot.port.read(&mut vmm, slot.at - 4, 4) & 0x7f, 0);
    let unplug = "Hot-unplug failed: unsupported by the port device 'rp0'";
    assert_eq!(desc(delete_rng(&mut vmm)), unplug);
    for (bus, error) in [
        ("pcie.0", "Bus 'pcie.0' does not support hotplugging"),
        (
            "rp0",
            "Hot-plug failed: unsupported by the port device 'rp0'",
        ),
    ] {
        let device = json!({"driver": "virtio-rng-pci", "id": "s", "bus": bus});
        assert_eq!(desc(vmm.qmp().execute("device_add", device)), error);
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_guest_may_be_asked_again_on_a_conventional_bus() {
    let mut vmm = start("-M pc -device virtio-rng-pci,id=r,addr=6");
    for _ in 0..3 {
        delete_rng(&mut vmm).unwrap();
        assert_eq!(vmm.input(0x608, 1), 1, "an event");
        assert_eq!(vmm.input(0xae04, 4), 1 << 6);
    }
    let taken = json!({"driver": "virtio-rng-pci", "id": "s", "addr": "6"});
    assert!(vmm.qmp().execute("device_add", taken).is_err());
    vmm.output(0xae08, 4, 1 << 6);
    vmm.qmp().event("DEVICE_DELETED");
    assert_eq!(vmm.qmp().event("DEVICE_DELETED")["data"]["device"], "r");
}

#[test]
fn ports_go_with_their_controller() {
    let mut vmm = start("-M pc -chardev null,id=c0");
    for _ in 0..3 {
        for device in [
            json!({"driver": "virtio-serial-pci", "id": "s", "addr": "6"}),
            json!({"driver": "virtserialport", "id": "p", "bus": "s.0", "chardev": "c0"}),
        ] {
            vmm.qmp().execute("device_add", device).unwrap();
        }
        vmm.qmp().execute("device_del", json!({"id": "s"})).unwrap();
        vmm.output(0xae08, 4, 1 << 6);
        for path in ["p", "s/virtio-backend", "s"] {
            let event = vmm.qmp().event("DEVICE_DELETED");
            assert_eq!(event["data"]["path"], format!("/machine/peripheral/{path}"));
        }
    }
    assert_eq!(vmm.terminate(), Some(0));
}
