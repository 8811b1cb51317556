//! The graph of drives, over QMP: what is above what, who may have what, and who goes first.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use imago::qcow2::Qcow2;
use imago::{FormatCreateBuilder, file};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};

/// A VMM that may open what is in a directory of its own.
struct Graph {
    vmm: Vmm,
    directory: TempDir,
}

impl Graph {
    fn start(arguments: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let allowed = directory.path().display();
        let arguments = format!("-M pc -sandbox on,allow={allowed} {arguments}");
        Self {
            vmm: Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments),
            directory,
        }
    }

    fn run(&mut self, command: &str, arguments: Value) -> Value {
        let result = self.vmm.qmp().execute(command, arguments.clone());
        result.unwrap_or_else(|error| panic!("{command} {arguments}: {error}"))
    }

    fn refused(&mut self, command: &str, arguments: Value) -> String {
        let error = self.vmm.qmp().execute(command, arguments).unwrap_err();
        assert_eq!(error["class"], "GenericError");
        error["desc"].as_str().unwrap().to_owned()
    }

    fn delete(&mut self, node: &str) -> Result<Value, Value> {
        let name = json!({"node-name": node});
        self.vmm.qmp().execute("blockdev-del", name)
    }

    /// A new raw image of bytes of this value.
    fn raw(&self, name: &str, byte: u8) -> PathBuf {
        let path = self.directory.path().join(name);
        let file = File::create(&path).unwrap();
        file.write_all_at(&vec![byte; SIZE as usize], 0).unwrap();
        path
    }

    /// A new qcow2 image that has nothing and names nothing.
    fn qcow2(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true);
        let storage = file::File::try_from(file.open(&path).unwrap()).unwrap();
        let builder = Qcow2::<file::File>::create_builder(storage);
        builder.size(SIZE).create().unwrap();
        path
    }

    /// Adds a disk in slot 5 on `node`, and has its driver set up a queue.
    fn plug(&mut self, node: &str) -> VirtioQueue {
        let device = json!({"driver": "virtio-blk-pci", "id": "disk", "drive": node, "addr": "5"});
        self.run("device_add", device);
        let device = VirtioPci::find(&mut self.vmm, 5, 0xe020_0000);
        device.negotiate(&mut self.vmm, !(1 << 30));
        let queue = device.queue(&mut self.vmm, 0, None);
        device.start(&mut self.vmm);
        queue
    }

    fn unplug(&mut self) {
        self.run("device_del", json!({"id": "disk"}));
        self.vmm.output(0xae08, 4, 1 << 5);
        self.vmm.qmp().event("DEVICE_DELETED");
        self.vmm.qmp().event("DEVICE_DELETED");
    }

    /// The first byte of each of two sectors from `sector` on.
    fn read(&mut self, queue: &mut VirtioQueue, sector: u64) -> [u8; 2] {
        let parts = [Part::Out(&header(0, sector)), Part::In(1024), Part::In(1)];
        let places = queue.add(&mut self.vmm, &parts);
        queue.kick(&mut self.vmm);
        queue.used(&mut self.vmm);
        assert_eq!(self.vmm.read(places[2], 1), [0]);
        [0, 512].map(|at| self.vmm.read(places[1] + at, 1)[0])
    }

    fn write(&mut self, queue: &mut VirtioQueue, sector: u64, byte: u8) {
        let parts = [
            Part::Out(&header(1, sector)),
            Part::Out(&[byte; 512]),
            Part::In(1),
        ];
        let places = queue.add(&mut self.vmm, &parts);
        queue.kick(&mut self.vmm);
        queue.used(&mut self.vmm);
        assert_eq!(self.vmm.read(places[2], 1), [0]);
    }
}

fn header(kind: u8, sector: u64) -> Vec<u8> {
    let mut header = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    header.extend(sector.to_le_bytes());
    header
}

fn overlay(name: &str, path: &Path, backing: Value) -> Value {
    json!({
        "driver": "qcow2", "node-name": name, "backing": backing,
        "file": {"driver": "file", "filename": path},
    })
}

/// What QEMU's test iothread-attach-node does, and what becomes of the overlay then.
#[test]
fn an_overlay_is_put_above_a_node_that_a_disk_has() {
    let mut graph = Graph::start(
        "-object iothread,id=io0 -device virtio-scsi-pci,id=s0,iothread=io0,addr=4 \
         -blockdev driver=null-co,read-zeroes=on,node-name=null0 \
         -device scsi-hd,id=disk0,drive=null0,bus=s0.0,scsi-id=1",
    );
    let bus = VirtioPci::find(&mut graph.vmm, 4, 0xe000_0000);
    bus.negotiate(&mut graph.vmm, !(1 << 30));
    let mut queues = [0, 1, 2].map(|index| bus.queue(&mut graph.vmm, index, None));
    bus.start(&mut graph.vmm);
    let mut ready = |graph: &mut Graph| {
        let mut request = vec![1, 1];
        request.resize(19 + 32, 0);
        let places = queues[2].add(&mut graph.vmm, &[Part::Out(&request), Part::In(108)]);
        queues[2].kick(&mut graph.vmm);
        queues[2].used(&mut graph.vmm);
        graph.vmm.read(places[1], 108)[10]
    };
    assert_eq!(ready(&mut graph), 2, "a unit attention");
    let path = graph.qcow2("overlay");
    graph.run("blockdev-add", overlay("above", &path, json!("null0")));
    assert_eq!(ready(&mut graph), 0);

    let device = json!({"driver": "virtio-blk-pci", "drive": "above", "addr": "5"});
    assert!(graph.refused("device_add", device).contains("in use"));
    let error = graph.delete("null0").unwrap_err();
    assert_eq!(error["desc"], "Node null0 is in use");
    graph.run("device_del", json!({"id": "disk0"}));
    graph.vmm.qmp().event("DEVICE_DELETED");
    let mut queue = graph.plug("above");
    assert_eq!(graph.read(&mut queue, 0), [0, 0]);
    let error = graph.delete("null0").unwrap_err();
    assert_eq!(error["desc"], "Block device null0 is in use");
    graph.unplug();
    graph.delete("above").unwrap();
    graph.delete("null0").unwrap();
    assert_eq!(graph.vmm.terminate(), Some(0));
}

#[test]
fn a_chain_is_made_of_named_nodes_and_taken_apart_from_above() {
    let mut graph = Graph::start("");
    let (base, middle, top) = (
        graph.raw("base", 3),
        graph.qcow2("middle"),
        graph.qcow2("top"),
    );
    let file =
        |name: &str, path: &Path| json!({"driver": "file", "node-name": name, "filename": path});
    let format = |name: &str, file: &str, backing: &str| json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing});
    graph.run("blockdev-add", file("base", &base));
    graph.run("blockdev-add", file("middle-file", &middle));
    graph.run("blockdev-add", format("middle", "middle-file", "base"));
    let mut queue = graph.plug("middle");
    graph.write(&mut queue, 1, 4);
    let busy = graph.refused("blockdev-add", overlay("top", &top, json!("middle")));
    assert!(busy.contains("in use"), "{busy}");
    graph.unplug();

    graph.run("blockdev-add", overlay("top", &top, json!("middle")));
    let device = |node: &str| json!({"driver": "virtio-blk-pci", "drive": node, "addr": "6"});
    for below in ["base", "middle", "middle-file"] {
        let desc = graph.refused("device_add", device(below));
        assert!(desc.contains("in use"), "{below}: {desc}");
        let error = graph.delete(below).unwrap_err();
        assert_eq!(error["desc"], format!("Block device {below} is in use"));
        let size = json!({"node-name": below, "size": 2 * SIZE});
        assert!(graph.refused("block_resize", size).contains("in use"));
    }
    let taken = graph.refused("blockdev-add", format("other", "middle-file", "base"));
    assert!(taken.contains("in use"), "{taken}");
    let mut queue = graph.plug("top");
    assert_eq!(graph.read(&mut queue, 0), [3, 4]);
    graph.write(&mut queue, 0, 5);
    assert_eq!(graph.read(&mut queue, 0), [5, 4]);

    let nodes = graph.run("query-named-block-nodes", json!({"flat": true}));
    let rows = nodes.as_array().unwrap().iter();
    let rows: Vec<_> = rows
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            (
                text("node-name"),
                text("drv"),
                row["backing_file_depth"].as_u64(),
                text("backing_file"),
            )
        })
        .collect();
    let row = |name: &str, driver: &str, depth, backing: &str| {
        (
            name.to_owned(),
            driver.to_owned(),
            Some(depth),
            backing.to_owned(),
        )
    };
    let shown = |path: &Path| path.display().to_string();
    assert_eq!(
        rows,
        [
            row("base", "raw", 0, "-"),
            row("middle", "qcow2", 1, &shown(&base)),
            row("middle-file", "raw", 0, "-"),
            row("top", "qcow2", 2, &shown(&middle)),
        ]
    );
    graph.unplug();
    for node in ["top", "middle", "middle-file", "base"] {
        graph.delete(node).unwrap();
    }
    let mut below = [0; 512];
    File::open(&base)
        .unwrap()
        .read_exact_at(&mut below, 0)
        .unwrap();
    assert_eq!(below, [3; 512], "what is below is never written");
    assert_eq!(graph.vmm.terminate(), Some(0));
}

#[test]
fn what_is_not_there_or_does_not_fit_is_refused() {
    let mut graph = Graph::start("-blockdev driver=null-co,node-name=null0");
    let (raw, image) = (graph.raw("raw", 0), graph.qcow2("image"));
    let add =
        |driver: &str, file: Value| json!({"driver": driver, "node-name": "new", "file": file});
    let read_only = json!({
        "driver": "file", "node-name": "ro", "filename": raw, "read-only": true,
    });
    graph.run("blockdev-add", read_only);
    for (arguments, expected) in [
        (
            overlay("null0", &image, json!("x")),
            "Duplicate nodes with node-name='null0'",
        ),
        (
            overlay("new", &image, json!("x")),
            "backing=x: no such node",
        ),
        (add("qcow2", json!("x")), "file=x: no such node"),
        (add("qcow2", json!("null0")), "file=null0: no file"),
        (add("raw", json!("ro")), "file=ro: read-only"),
        (
            add("qcow2", json!({"driver": "file", "filename": raw})),
            "a qcow2 image of its own",
        ),
        (
            overlay("new", &image, json!({"driver": "tape"})),
            "backing.driver=tape: not accepted",
        ),
        (
            overlay("new", &image, json!({"drivre": "raw"})),
            "backing.drivre=raw: unknown name",
        ),
    ] {
        let desc = graph.refused("blockdev-add", arguments.clone());
        assert!(desc.contains(expected), "{arguments}: {desc}");
    }
    graph.run("blockdev-add", overlay("new", &image, Value::Null));
    let error = graph.delete("none").unwrap_err();
    assert_eq!(error["desc"], "Failed to find node with node-name='none'");
    let size = json!({"device": "none", "size": 512});
    let desc = graph.refused("block_resize", size);
    assert_eq!(desc, "Cannot find device='none' nor node-name=''");
    assert_eq!(graph.vmm.terminate(), Some(0));
}

const SIZE: u64 = 1 << 20;
