//! What monitors can do, without a guest.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use testkit::qtest::{Qmp, VirtioPci, Vmm};

fn start(arguments: &str) -> Vmm {
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), arguments)
}

fn run(vmm: &mut Vmm, command: &str, arguments: Value) -> Value {
    let result = vmm.qmp().execute(command, arguments.clone());
    result.unwrap_or_else(|error| panic!("{command} {arguments}: {error}"))
}

/// The class and the description of the error that `command` ends in.
fn refused(vmm: &mut Vmm, command: &str, arguments: Value) -> (String, String) {
    let error = vmm.qmp().execute(command, arguments).unwrap_err();
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("class"), text("desc"))
}

#[test]
fn objects_come_and_go_and_are_found_in_the_tree() {
    let mut vmm = start("-M pc -object iothread,id=io0");
    let builtin = json!({"qom-type": "rng-builtin", "id": "rng0"});
    run(&mut vmm, "object-add", builtin.clone());
    let (class, desc) = refused(&mut vmm, "object-add", builtin);
    assert_eq!(
        (class.as_str(), desc.as_str()),
        ("GenericError", "Duplicate ID 'rng0'")
    );
    let objects = run(&mut vmm, "qom-list", json!({"path": "/objects"}));
    let child = |name, kind| json!({"name": name, "type": format!("child<{kind}>")});
    assert_eq!(
        objects,
        json!([child("io0", "iothread"), child("rng0", "rng-builtin")])
    );
    let get = |path, property| json!({"path": path, "property": property});
    assert_eq!(
        run(&mut vmm, "qom-get", get("/objects/io0", "poll-max-ns")),
        32_768
    );
    assert_eq!(
        run(&mut vmm, "qom-get", get("/objects/rng0", "type")),
        "rng-builtin"
    );

    let device = json!({
        "driver": "virtio-rng-pci", "id": "dev0", "addr": "5", "rng": "rng0", "max-bytes": 4,
    });
    run(&mut vmm, "device_add", device);
    let path = "/machine/peripheral/dev0";
    for name in [path, "/machine/peripheral/dev0/virtio-backend", "dev0"] {
        assert_eq!(run(&mut vmm, "qom-get", get(name, "max-bytes")), 4);
    }
    assert_eq!(
        run(&mut vmm, "qom-get", get("rng0", "type")),
        "rng-builtin",
        "objects have identifiers as well"
    );
    assert_eq!(run(&mut vmm, "qom-get", get(path, "rng")), "rng0");
    let (class, desc) = refused(&mut vmm, "qom-get", get(path, "none"));
    assert_eq!(class, "GenericError");
    assert_eq!(desc, format!("Property '{path}.none' not found"));
    let (class, _) = refused(&mut vmm, "qom-get", get("/machine/peripheral/x", "type"));
    assert_eq!(class, "DeviceNotFound");
    let (_, desc) = refused(&mut vmm, "object-del", json!({"id": "rng0"}));
    assert_eq!(desc, "object 'rng0' is in use, can not be deleted");
    run(&mut vmm, "device_del", json!({"id": "dev0"}));
    vmm.output(0xae08, 4, 1 << 5);
    vmm.qmp().event("DEVICE_DELETED");
    vmm.qmp().event("DEVICE_DELETED");
    run(&mut vmm, "object-del", json!({"id": "rng0"}));
    let (_, desc) = refused(&mut vmm, "object-del", json!({"id": "rng0"}));
    assert_eq!(desc, "object 'rng0' not found");
    let (class, desc) = refused(&mut vmm, "netdev_del", json!({"id": "net0"}));
    assert_eq!(
        (&*class, &*desc),
        ("DeviceNotFound", "Device 'net0' not found")
    );
    assert_eq!(vmm.terminate(), Some(0));
}

/// What is made stays as it is, as in QEMU; an iothread looks for work for as long as it is told.
#[test]
fn what_can_be_set_is_set_and_what_stays_is_said_to() {
    let mut vmm = start(
        "-M pc -object iothread,id=io0 -object rng-builtin,id=rng0 \
         -object rng-random,id=file,filename=/dev/urandom \
         -device virtio-rng-pci,id=dev0,rng=rng0 -device virtio-balloon-pci,id=b0",
    );
    let set = |path: &str, property: &str, value: Value| json!({"path": path, "property": property, "value": value});
    for value in [json!(0), json!("5000")] {
        let time = set("/objects/io0", "poll-max-ns", value);
        run(&mut vmm, "qom-set", time);
    }
    let time = json!({"path": "/objects/io0", "property": "poll-max-ns"});
    assert_eq!(run(&mut vmm, "qom-get", time), 5000);
    for (path, property, value, expected) in [
        (
            "/objects/io0",
            "poll-max-ns",
            json!(2_000_000),
            "not accepted; accepted: a number from 0",
        ),
        (
            "/objects/io0",
            "poll-grow",
            json!(2),
            "poll-grow=2: not accepted",
        ),
        (
            "/objects/io0",
            "type",
            json!("x"),
            "Property '/objects/io0.type' is not writable",
        ),
        (
            "/objects/io0",
            "none",
            json!(1),
            "Property '/objects/io0.none' not found",
        ),
        (
            "/objects/file",
            "filename",
            json!("/x"),
            "set when it was made",
        ),
        ("/objects", "x", json!(1), "Property '/objects.x' not found"),
        ("/machine/peripheral/dev0", "none", json!(1), "not found"),
        (
            "/machine/peripheral/dev0",
            "max-bytes",
            json!(5),
            "Attempt to set property 'max-bytes' on device 'dev0' (type 'virtio-rng-pci') after it \
             was realized",
        ),
        (
            "/machine/peripheral/b0",
            "guest-stats",
            json!({}),
            "Property 'virtio-balloon-pci.guest-stats' is not writable",
        ),
    ] {
        let (class, desc) = refused(&mut vmm, "qom-set", set(path, property, value));
        assert_eq!(class, "GenericError");
        assert!(desc.contains(expected), "{path}.{property}: {desc}");
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn what_a_monitor_passes_is_opened_in_the_sandbox() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(1 << 20).unwrap();
    let mut vmm = start("-M pc");
    let added = vmm
        .qmp()
        .pass(image.as_file(), "add-fd", json!({"opaque": "disk"}));
    let set = added.unwrap()["fdset-id"].clone();
    let sets = run(&mut vmm, "query-fdsets", json!({}));
    assert_eq!(sets[0]["fds"][0]["opaque"], "disk");
    let path = format!("/dev/fdset/{set}");
    let disk = json!({
        "driver": "raw", "node-name": "late", "file": {"driver": "file", "filename": path},
    });
    run(&mut vmm, "blockdev-add", disk);
    run(&mut vmm, "remove-fd", json!({"fdset-id": set}));
    assert_eq!(run(&mut vmm, "query-fdsets", json!({})), json!([]));
    let blocks = run(&mut vmm, "query-block", json!({}));
    assert_eq!(blocks[0]["inserted"]["image"]["virtual-size"], 1 << 20);
    let device = json!({"driver": "virtio-blk-pci", "id": "d", "drive": "late", "addr": "5"});
    run(&mut vmm, "device_add", device);

    let (ours, theirs) = UnixStream::pair().unwrap();
    let name = json!({"fdname": "line"});
    vmm.qmp().pass(&theirs, "getfd", name.clone()).unwrap();
    let line = json!({
        "id": "c1",
        "backend": {"type": "socket", "data": {
            "addr": {"type": "fd", "data": {"str": "line"}}, "server": false,
        }},
    });
    run(&mut vmm, "chardev-add", line.clone());
    let (_, desc) = refused(&mut vmm, "closefd", name);
    assert_eq!(desc, "File descriptor named 'line' not found");
    assert!(
        refused(&mut vmm, "chardev-add", line)
            .1
            .contains("already exists")
    );
    drop((ours, theirs));
    for (command, arguments) in [
        ("getfd", json!({"fdname": "0"})),
        ("getfd", json!({"fdname": "none"})),
        ("add-fd", json!({})),
        ("remove-fd", json!({"fdset-id": 77})),
    ] {
        assert_eq!(
            refused(&mut vmm, command, arguments).0,
            "GenericError",
            "{command}"
        );
    }
    run(&mut vmm, "chardev-remove", json!({"id": "c1"}));
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_sandbox_opens_what_is_below_an_allowed_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::File::create(path("disk"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let mut vmm = start(&format!(
        "-M pc -sandbox on,allow={}",
        directory.path().display()
    ));
    let disk =
        |file: &std::path::Path| json!({"driver": "file", "node-name": "late", "filename": file});
    let (_, desc) = refused(&mut vmm, "blockdev-add", disk("/etc/hostname".as_ref()));
    assert!(desc.contains("Permission denied"), "{desc}");
    run(&mut vmm, "blockdev-add", disk(&path("disk")));
    let socket = |path: &std::path::Path| {
        json!({"id": "c1", "backend": {"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": path}}, "server": true,
        }}})
    };
    run(&mut vmm, "chardev-add", socket(&path("line")));
    UnixStream::connect(path("line")).unwrap();
    run(&mut vmm, "chardev-remove", json!({"id": "c1"}));
    assert!(!path("line").exists());
    let outside = tempfile::tempdir().unwrap();
    assert!(
        refused(&mut vmm, "chardev-add", socket(&outside.path().join("x")))
            .1
            .contains("denied")
    );
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn character_devices_change_while_a_port_has_them() {
    let mut vmm = start(
        "-M pc -chardev ringbuf,id=c0,size=64 -device virtio-serial-pci,id=s0,addr=4 \
         -device virtserialport,chardev=c0,bus=s0.0",
    );
    let write = |data| json!({"device": "c0", "data": data, "format": "base64"});
    run(&mut vmm, "ringbuf-write", write("AAEC"));
    assert!(
        refused(&mut vmm, "ringbuf-write", write("AAE"))
            .1
            .contains("base64")
    );
    let read = json!({"device": "c0", "size": 10, "format": "base64"});
    assert_eq!(run(&mut vmm, "ringbuf-read", read.clone()), "");
    let (_, desc) = refused(&mut vmm, "chardev-remove", json!({"id": "c0"}));
    assert!(desc.contains("in use"), "{desc}");
    let null = json!({"id": "c0", "backend": {"type": "null", "data": {}}});
    run(&mut vmm, "chardev-change", null.clone());
    assert!(
        refused(&mut vmm, "ringbuf-read", read)
            .1
            .contains("not a ringbuf")
    );
    let chardevs = run(&mut vmm, "query-chardev", json!({}));
    assert_eq!(
        chardevs
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["label"] == "c0")
            .unwrap()["filename"],
        "null"
    );
    let pty = json!({"id": "c0", "backend": {"type": "pty", "data": {}}});
    assert!(
        refused(&mut vmm, "chardev-change", pty)
            .1
            .contains("the sandbox opens no files")
    );
    let unknown = json!({"id": "c0", "backend": {"type": "tape", "data": {}}});
    assert!(
        refused(&mut vmm, "chardev-change", unknown)
            .1
            .contains("unknown back-end")
    );
    assert_eq!(
        refused(&mut vmm, "chardev-remove", json!({"id": "x"})).0,
        "GenericError"
    );
    assert_eq!(vmm.terminate(), Some(0));
}

/// A second monitor of `vmm`, which was introduced to.
fn second(path: &std::path::Path) -> Qmp {
    Qmp::new(UnixStream::connect(path).unwrap())
}

/// Kilobytes that the process has in memory, and descriptors that it has open.
fn uses(vmm: &Vmm) -> (u64, usize) {
    let process = format!("/proc/{}", vmm.id());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let resident = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (
        resident,
        std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
    )
}

#[test]
fn a_peer_that_floods_harms_neither_the_machine_nor_other_monitors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let socket = format!("unix:{},server=on,wait=off", path.display());
    let mut vmm = start(&format!("-M pc -qmp {socket}"));
    let (memory, descriptors) = uses(&vmm);

    // Asks and asks, and reads nothing.
    let deaf = second(&path);
    deaf.stream().set_nonblocking(true).unwrap();
    let question = "{\"execute\": \"query-qmp-schema\"}".repeat(1000);
    for _ in 0..50 {
        let _ = (&mut deaf.stream()).write(question.as_bytes());
        run(&mut vmm, "query-status", json!({}));
    }
    // Is told of more than its socket takes.
    for _ in 0..300 {
        run(&mut vmm, "stop", json!({}));
        run(&mut vmm, "cont", json!({}));
    }
    drop(deaf);

    // Nests as deeply as it can, and longer than anybody may speak.
    let mut deep = second(&path);
    for open in ["[", "{\"a\":", "{\"execute\": ["] {
        deep.send(&format!("{}\n", open.repeat(50_000)));
        let closed = if open.starts_with('[') { "]" } else { "]}" };
        deep.send(&format!("{}\n", closed.repeat(50_000)));
        assert_eq!(deep.answer()["error"]["class"], "GenericError", "{open}");
    }
    drop(deep);

    // Passes what nobody takes.
    let mut generous = second(&path);
    let null = std::fs::File::open("/dev/null").unwrap();
    for _ in 0..500 {
        let status = generous.pass(&null, "query-status", json!({})).unwrap();
        assert_eq!(status["running"], true);
    }
    assert!(uses(&vmm).1 <= descriptors + 20, "{:?}", uses(&vmm));
    for number in 0..200 {
        let name = json!({"fdname": format!("n{number}")});
        let _ = generous.pass(&null, "getfd", name);
        let _ = generous.pass(&null, "add-fd", json!({}));
    }
    let (now, open) = uses(&vmm);
    assert!(
        open <= descriptors + 64 + 256 + 20,
        "{open} of {descriptors}"
    );
    assert!(now < memory + (32 << 10), "{now} kB of {memory} kB");
    drop(generous);

    // One after the other, each leaving in the middle of a word.
    for _ in 0..200 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"{\"execute\": \"qmp_cap").unwrap();
    }
    let mut last = second(&path);
    let status = last.execute("query-status", json!({})).unwrap();
    assert_eq!(status["running"], true);
    assert_eq!(vmm.terminate(), Some(0));
}

/// It has room for a mebibyte; then it is cut off, and what it has not heard it knows not to know.
#[test]
fn a_monitor_that_does_not_hear_of_events_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let mut vmm = start(&format!(
        "-M pc -chardev socket,id=deaf,path={},server=on,wait=off -mon chardev=deaf,mode=control",
        path.display()
    ));
    let mut deaf = second(&path);
    let (memory, _) = uses(&vmm);
    let mut told = 0;
    while connected(&mut vmm, "deaf") {
        assert!(told < 100_000, "it is never cut off");
        for _ in 0..500 {
            run(&mut vmm, "stop", json!({}));
            run(&mut vmm, "cont", json!({}));
        }
        told += 1000;
    }
    let (now, _) = uses(&vmm);
    assert!(now < memory + (8 << 10), "{now} kB of {memory} kB");
    let mut heard = 0;
    while deaf.receive().is_some() {
        heard += 1;
    }
    assert!(heard > 0 && heard < told, "{heard} of {told}");
    let mut next = second(&path);
    run(&mut vmm, "stop", json!({}));
    next.event("STOP");
    assert_eq!(vmm.terminate(), Some(0));
}

/// Whether somebody is at the other end of the character device `id`.
fn connected(vmm: &mut Vmm, id: &str) -> bool {
    let chardevs = run(vmm, "query-chardev", json!({}));
    let mut rows = chardevs.as_array().unwrap().iter();
    rows.find(|row| row["label"] == id).unwrap()["frontend-open"] == true
}

#[test]
fn many_monitors_are_served_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..8)
        .map(|at| directory.path().join(format!("m{at}")))
        .collect();
    let options = paths
        .iter()
        .map(|path| format!(" -qmp unix:{},server=on,wait=off", path.display()));
    let mut vmm = start(&format!("-M pc{}", options.collect::<String>()));
    let mut monitors: Vec<_> = paths.iter().map(|path| second(path)).collect();
    run(&mut vmm, "stop", json!({}));
    for monitor in &mut monitors {
        monitor.event("STOP");
        let status = monitor.execute("query-status", json!({})).unwrap();
        assert_eq!(status["status"], "paused");
    }
    monitors[3].execute("cont", json!({})).unwrap();
    for monitor in &mut monitors {
        monitor.event("RESUME");
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_console_is_told_of_its_size() {
    let mut vmm = start(
        "-M pc -chardev null,id=c0 -chardev null,id=c1 \
         -device virtio-serial-pci,id=s0,addr=4,console-size=on -device virtconsole,chardev=c0",
    );
    let serial = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    assert_eq!(serial.offered(&mut vmm) & 1, 1, "VIRTIO_CONSOLE_F_SIZE");
    assert_eq!(serial.config(&mut vmm, 0, 4), 0);
    let size = |id, cols: u32| json!({"id": id, "cols": cols, "rows": 40});
    run(&mut vmm, "chardev-window-size-changed", size("c0", 132));
    run(&mut vmm, "chardev-window-size-changed", size("c1", 1));
    assert_eq!(serial.config(&mut vmm, 0, 4), 40 << 16 | 132);
    for bad in [size("c2", 1), size("c0", 1 << 16)] {
        assert_eq!(
            refused(&mut vmm, "chardev-window-size-changed", bad).0,
            "GenericError"
        );
    }
}

#[test]
fn a_console_on_the_terminal_has_the_size_of_its_window() {
    let window = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&window).unwrap();
    let name = ptsname(&window, Vec::new()).unwrap();
    let resize = |cols, rows| {
        let size = Winsize {
            ws_col: cols,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&window, size).unwrap();
    };
    resize(80, 25);
    let terminal = File::open(name.to_str().unwrap()).unwrap();
    let mut vmm = Vmm::start_at(
        env!("CARGO_BIN_EXE_mini-vmm"),
        "-M pc -chardev stdio,id=c0 \
         -device virtio-serial-pci,addr=4,console-size=on -device virtconsole,chardev=c0",
        terminal.into(),
    );
    let serial = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    let wait = |vmm: &mut Vmm, cols: u64, rows: u64| {
        let size = rows << 16 | cols;
        vmm.wait("the size", |vmm| serial.config(vmm, 0, 4) == size);
    };
    wait(&mut vmm, 80, 25);
    resize(132, 40);
    // The terminal is not the one that controls the process, which would have it told by itself.
    let process = Pid::from_raw(vmm.id() as i32).unwrap();
    kill_process(process, Signal::WINCH).unwrap();
    wait(&mut vmm, 132, 40);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn the_power_button_is_an_event_of_the_board() {
    for machine in ["pc", "q35"] {
        let mut vmm = start(&format!("-M {machine}"));
        run(&mut vmm, "system_powerdown", json!({}));
        assert_eq!(vmm.qmp().event("POWERDOWN").get("data"), None);
        assert_eq!((vmm.input(0x608, 1), vmm.input(0x608, 1)), (2, 0));
        let status = run(&mut vmm, "query-status", json!({}));
        assert_eq!(
            status["running"], true,
            "it is the guest that turns itself off"
        );
    }
}

#[test]
fn a_machine_of_a_test_has_no_processors() {
    let mut vmm = start("-M pc");
    assert_eq!(run(&mut vmm, "query-cpus-fast", json!({})), json!([]));
    let target = run(&mut vmm, "query-target", json!({}));
    assert_eq!(target, json!({"arch": "x86_64"}));
}
