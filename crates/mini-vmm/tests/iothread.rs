//! Devices on an iothread: it does their work, none has a thread of its own, and it stays as long as
//! one of them does.

use std::fs;

use serde_json::{Value, json};
use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};

fn start(arguments: &str) -> Vmm {
    let arguments = format!("-M pc {DRIVES} {arguments}");
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments)
}

fn run(vmm: &mut Vmm, command: &str, arguments: Value) {
    let result = vmm.qmp().execute(command, arguments.clone());
    result.unwrap_or_else(|error| panic!("{command} {arguments}: {error}"));
}

fn refused(vmm: &mut Vmm, command: &str, arguments: Value) -> String {
    let error = vmm.qmp().execute(command, arguments).unwrap_err();
    error["desc"].as_str().unwrap().to_owned()
}

/// How many threads of the VMM have a name that begins with `name`.
fn threads(vmm: &Vmm, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", vmm.id())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|found| found.starts_with(name)).count()
}

/// The device in `slot`, whose driver has set up the queue that takes requests, number `queue`, and
/// those before it.
fn driven(vmm: &mut Vmm, slot: u8, queue: u16) -> (VirtioPci, VirtioQueue) {
    let window = 0xe000_0000 + (u32::from(slot) << 20);
    let device = VirtioPci::find(vmm, slot, window);
    device.negotiate(vmm, !(1 << 30));
    for other in 0..queue {
        device.queue(vmm, other, None);
    }
    let queue = device.queue(vmm, queue, None);
    device.start(vmm);
    (device, queue)
}

/// Reads the first sector of a disk.
fn read_block(vmm: &mut Vmm, queue: &mut VirtioQueue) {
    let parts = [Part::Out(&[0; 16]), Part::In(512), Part::In(1)];
    let places = queue.add(vmm, &parts);
    queue.kick(vmm);
    assert_eq!(queue.used(vmm), 513);
    assert_eq!(vmm.read(places[2], 1), [0]);
}

/// Asks the disk at `target` of a SCSI bus whether it is ready, and returns its status.
fn test_unit(vmm: &mut Vmm, queue: &mut VirtioQueue, target: u8) -> u8 {
    let mut header = vec![1, target];
    header.resize(19 + 32, 0);
    let places = queue.add(vmm, &[Part::Out(&header), Part::In(108)]);
    queue.kick(vmm);
    queue.used(vmm);
    vmm.read(places[1], 108)[10]
}

#[test]
fn one_thread_works_for_all_that_name_it() {
    let mut vmm = start(
        "-object iothread,id=io0 -device virtio-blk-pci,id=b0,drive=d0,iothread=io0,addr=4 \
         -device virtio-scsi-pci,id=s0,iothread=io0,addr=5,num_queues=4 \
         -device scsi-hd,drive=d1,scsi-id=1,lun=0 -device virtio-balloon-pci,id=m0,iothread=io0 \
         -device virtio-blk-pci,id=own,drive=d2,addr=7",
    );
    let (_, mut block) = driven(&mut vmm, 4, 0);
    let (_, mut bus) = driven(&mut vmm, 5, 2);
    let (_, mut own) = driven(&mut vmm, 7, 0);
    assert_eq!(test_unit(&mut vmm, &mut bus, 1), 2, "a unit attention");
    for _ in 0..50 {
        read_block(&mut vmm, &mut block);
        assert_eq!(test_unit(&mut vmm, &mut bus, 1), 0);
        read_block(&mut vmm, &mut own);
    }
    let count = |name| threads(&vmm, name);
    assert_eq!(
        ["IO io0", "b0", "s0", "m0", "own"].map(count),
        [1, 0, 0, 0, 1]
    );
    assert_eq!(vmm.terminate(), Some(0));
}

/// The names that the host has for the threads of the VMM, by their numbers.
fn thread_name(vmm: &Vmm, number: &Value) -> String {
    let path = format!("/proc/{}/task/{number}/comm", vmm.id());
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

#[test]
fn threads_are_told_of_with_their_numbers() {
    let mut vmm = start(
        "-object iothread,id=used -object iothread,id=idle,poll-max-ns=0 \
         -device virtio-blk-pci,drive=d0,iothread=used,addr=4",
    );
    driven(&mut vmm, 4, 0);
    let query = |vmm: &mut Vmm| vmm.qmp().execute("query-iothreads", json!({})).unwrap();
    let rows = query(&mut vmm);
    for (row, id, time) in [(&rows[0], "idle", 0), (&rows[1], "used", 32_768)] {
        let number = row["thread-id"].clone();
        assert_eq!(thread_name(&vmm, &number), format!("IO {id}"));
        let expected = json!({
            "id": id, "thread-id": number, "poll-max-ns": time, "poll-grow": 0, "poll-shrink": 0,
            "aio-max-batch": 0,
        });
        assert_eq!(row, &expected);
    }
    assert_eq!(query(&mut vmm), rows, "threads stay");
    run(&mut vmm, "object-del", json!({"id": "idle"}));
    assert_eq!(query(&mut vmm).as_array().unwrap().len(), 1);
    assert_eq!(vmm.terminate(), Some(0));
}

/// What QEMU's test of that name does: nodes come while requests are served on the thread.
#[test]
fn nodes_are_attached() {
    let mut vmm = start(
        "-object iothread,id=io0 -device virtio-scsi-pci,id=s0,iothread=io0,addr=4 \
         -device scsi-hd,bus=s0.0,drive=d1,scsi-id=1,lun=0",
    );
    let (_, mut bus) = driven(&mut vmm, 4, 2);
    assert_eq!(test_unit(&mut vmm, &mut bus, 1), 2);
    let node = json!({"driver": "null-co", "node-name": "late", "size": 1 << 20});
    run(&mut vmm, "blockdev-add", node);
    assert_eq!(test_unit(&mut vmm, &mut bus, 1), 0);
    let disk =
        json!({"driver": "scsi-hd", "id": "h", "drive": "late", "bus": "s0.0", "scsi-id": 2});
    run(&mut vmm, "device_add", disk);
    assert_eq!(test_unit(&mut vmm, &mut bus, 2), 2, "a unit attention");
    assert_eq!(test_unit(&mut vmm, &mut bus, 2), 0);
    assert_eq!(vmm.terminate(), Some(0));
}

/// A driver that breaks its ring gets its device back by a reset; others on the thread go on.
#[test]
fn a_broken_queue_is_one_device_s_alone() {
    let mut vmm = start(
        "-object iothread,id=io0 -device virtio-blk-pci,drive=d0,iothread=io0,addr=4 \
         -device virtio-blk-pci,drive=d1,iothread=io0,addr=5",
    );
    let (device, broken) = driven(&mut vmm, 4, 0);
    let (_, mut other) = driven(&mut vmm, 5, 0);
    broken.claim(&mut vmm, 2 * broken.size());
    broken.kick(&mut vmm);
    vmm.wait("a wish for a reset", |vmm| device.status(vmm) & 0x40 != 0);
    read_block(&mut vmm, &mut other);
    device.set_status(&mut vmm, 0);
    let (_, mut mended) = driven(&mut vmm, 4, 0);
    read_block(&mut vmm, &mut mended);
    read_block(&mut vmm, &mut other);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_thread_comes_and_goes_with_an_object_that_devices_use() {
    let mut vmm = start("-device virtio-rng-pci,addr=4");
    let device = json!({
        "driver": "virtio-blk-pci", "id": "b0", "drive": "d0", "iothread": "late", "addr": "6",
    });
    assert!(refused(&mut vmm, "device_add", device.clone()).contains("no such object"));
    let object = json!({"qom-type": "iothread", "id": "late", "poll-max-ns": 0});
    run(&mut vmm, "object-add", object);
    for _ in 0..3 {
        run(&mut vmm, "device_add", device.clone());
        let (_, mut queue) = driven(&mut vmm, 6, 0);
        read_block(&mut vmm, &mut queue);
        assert_eq!(threads(&vmm, "IO late"), 1);
        let name = json!({"id": "late"});
        assert!(refused(&mut vmm, "object-del", name).contains("in use"));
        run(&mut vmm, "device_del", json!({"id": "b0"}));
        vmm.output(0xae08, 4, 1 << 6);
        vmm.qmp().event("DEVICE_DELETED");
        vmm.qmp().event("DEVICE_DELETED");
    }
    run(&mut vmm, "object-del", json!({"id": "late"}));
    vmm.wait("the thread's end", |vmm| threads(vmm, "IO late") == 0);
    assert_eq!(vmm.terminate(), Some(0));
}

const DRIVES: &str = "-drive if=none,id=d0,file=null-co://,format=raw \
    -drive if=none,id=d1,file=null-co://,format=raw -drive if=none,id=d2,file=null-co://,format=raw";
