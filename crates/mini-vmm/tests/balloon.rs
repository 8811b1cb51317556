//! The memory balloon over qtest and QMP: neither KVM nor a guest is needed.

use serde_json::{Value, json};
use testkit::qtest::{Part, PciDevice, VirtioPci, Vmm};

fn start(arguments: &str) -> Vmm {
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), arguments)
}

fn run(vmm: &mut Vmm, command: &str, arguments: Value) -> Value {
    let result = vmm.qmp().execute(command, arguments);
    result.unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// Resident memory of a process in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

fn numbers(pages: std::ops::Range<u32>) -> Vec<u8> {
    pages.flat_map(u32::to_le_bytes).collect()
}

#[test]
fn inflation_gives_memory_back_and_deflation_costs_nothing() {
    let mut vmm = start("-M pc -m 128 -device virtio-balloon-pci,id=b0,addr=04.0");
    let balloon = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    assert_eq!(
        balloon.offered(&mut vmm) & 0xff_ffff,
        0x12,
        "STATS_VQ, PAGE_POISON"
    );
    balloon.negotiate(&mut vmm, !(1 << 30));
    let mut inflate = balloon.queue(&mut vmm, 0, None);
    let mut deflate = balloon.queue(&mut vmm, 1, None);
    balloon.start(&mut vmm);
    // 16 MiB at 64 MiB, in use.
    let (first, pages, process) = (64 << 20, 16 << 8, vmm.id());
    for chunk in 0..16u64 {
        vmm.write(first + (chunk << 20), &vec![7; 1 << 20]);
    }
    let before = resident(process);
    let start = (first >> 12) as u32;
    for chunk in (start..start + pages).step_by(256) {
        inflate.add(&mut vmm, &[Part::Out(&numbers(chunk..chunk + 256))]);
        inflate.kick(&mut vmm);
        assert_eq!(inflate.used(&mut vmm), 0);
    }
    let after = resident(process);
    assert!(before - after > 15 << 10, "{before} KiB became {after} KiB");
    assert_eq!(vmm.read(first + 0x5000, 4), [0; 4]);
    deflate.add(&mut vmm, &[Part::Out(&numbers(start..start + 1))]);
    deflate.kick(&mut vmm);
    assert_eq!(deflate.used(&mut vmm), 0);
    vmm.write(first, &[9; 4]);
    assert_eq!(vmm.read(first, 4), [9; 4]);
    assert_eq!(vmm.terminate(), Some(0));
}

/// As QEMU 11.1's was seen, with Linux 6.1.
#[test]
fn it_looks_as_qemus_does() {
    let mut vmm = start("-M q35 -m 128 -device virtio-balloon-pci-transitional,addr=05.0");
    let balloon = VirtioPci::find(&mut vmm, 5, 0xe000_0000);
    assert_eq!(balloon.offered(&mut vmm), 0x101_3000_0012);
    let config = |vmm: &mut Vmm, offset| balloon.config(vmm, offset, 4);
    let fields = [0, 4, 8, 12, 16].map(|offset| config(&mut vmm, offset));
    assert_eq!(fields, [0, 0, 0, 0, 0xffff_ffff]);
    balloon.negotiate(&mut vmm, !(1 << 30));
    for queue in 0..3 {
        assert_eq!(balloon.queue(&mut vmm, queue, None).size(), 128);
    }
    let ids = [0, 8, 0x2c].map(|offset| balloon.pci.read(&mut vmm, offset, 4));
    assert_eq!(ids, [0x1002_1af4, 0x00ff_0000, 0x0005_1af4]);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn the_monitor_sets_a_size_and_hears_of_what_the_guest_does() {
    let mut vmm = start("-M pc -m 128 -device virtio-balloon-pci,addr=4.0");
    let balloon = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    balloon.negotiate(&mut vmm, !(1 << 30));
    let _queues: Vec<_> = (0..3).map(|n| balloon.queue(&mut vmm, n, None)).collect();
    balloon.start(&mut vmm);
    balloon.isr(&mut vmm);
    let all = json!({"actual": 128 << 20});
    assert_eq!(run(&mut vmm, "query-balloon", json!({})), all);
    run(&mut vmm, "balloon", json!({"value": 96 << 20}));
    vmm.wait("a configuration interrupt", |vmm| balloon.isr(vmm) & 2 != 0);
    assert_eq!(balloon.config(&mut vmm, 0, 4), (32 << 20) >> 12);
    balloon.set_config(&mut vmm, 4, 4, (8 << 20) >> 12);
    let event = vmm.qmp().event("BALLOON_CHANGE");
    assert_eq!(event["data"], json!({"actual": 120 << 20}));
    // However often it changes, what is told last is how it is.
    for actual in [1, 2, 3, (32 << 20) >> 12] {
        balloon.set_config(&mut vmm, 4, 4, actual);
    }
    let last = json!({"actual": 96 << 20});
    while vmm.qmp().event("BALLOON_CHANGE")["data"] != last {}
    assert_eq!(run(&mut vmm, "query-balloon", json!({})), last);
    // Past bug 68: more than there is.
    balloon.set_config(&mut vmm, 4, 4, u32::MAX.into());
    let none = json!({"actual": 0});
    assert_eq!(run(&mut vmm, "query-balloon", json!({})), none);
    // More than there is of memory is all of it.
    run(&mut vmm, "balloon", json!({"value": 1u64 << 40}));
    vmm.wait("the target", |vmm| balloon.config(vmm, 0, 4) == 0);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn statistics_are_those_that_the_guest_sends() {
    let mut vmm = start("-M q35 -m 128 -device virtio-balloon-pci,id=b0,addr=04.0");
    let path = "/machine/peripheral/b0";
    let get = |vmm: &mut Vmm, property: &str| {
        run(vmm, "qom-get", json!({"path": path, "property": property}))
    };
    let stats = get(&mut vmm, "guest-stats");
    assert_eq!(stats["last-update"], 0);
    assert_eq!(stats["stats"].as_object().unwrap().len(), 16);
    assert_eq!(stats["stats"]["stat-free-memory"], u64::MAX);
    let balloon = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    balloon.negotiate(&mut vmm, !(1 << 30));
    let mut queues: Vec<_> = (0..3).map(|n| balloon.queue(&mut vmm, n, None)).collect();
    balloon.start(&mut vmm);
    let entries = [(4u16, 4096u64), (5, 1 << 27)];
    let bytes = entries.map(|(tag, value)| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat());
    queues[2].add(&mut vmm, &[Part::Out(&bytes.concat())]);
    queues[2].kick(&mut vmm);
    vmm.wait("statistics", |vmm| {
        get(vmm, "guest-stats")["last-update"] != 0
    });
    let stats = get(&mut vmm, "guest-stats");
    assert_eq!(stats["stats"]["stat-free-memory"], 4096);
    assert_eq!(stats["stats"]["stat-total-memory"], 1 << 27);
    assert_eq!(stats["stats"]["stat-swap-in"], u64::MAX);
    // The buffer comes back when the guest is to fill it again.
    assert!(!queues[2].has_used(&mut vmm));
    let interval = |value: Value| json!({"path": path, "property": "guest-stats-polling-interval", "value": value});
    run(&mut vmm, "qom-set", interval(json!(1)));
    assert_eq!(get(&mut vmm, "guest-stats-polling-interval"), 1);
    assert_eq!(queues[2].used(&mut vmm), 0);
    run(&mut vmm, "qom-set", interval(json!(0)));
    for (value, desc) in [
        (json!(-1), "timer value must be greater than zero"),
        (json!(1u64 << 32), "timer value is too big"),
    ] {
        let error = vmm.qmp().execute("qom-set", interval(value)).unwrap_err();
        assert_eq!(error["desc"], desc);
    }
    let list = run(&mut vmm, "qom-list", json!({"path": path}));
    let row = json!({"name": "guest-stats", "type": "guest statistics"});
    assert!(list.as_array().unwrap().contains(&row));
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn without_a_balloon_there_is_nothing_to_ask() {
    let mut vmm = start("-M pc");
    for (command, arguments) in [
        ("query-balloon", json!({})),
        ("balloon", json!({"value": 1 << 20})),
    ] {
        let error = vmm.qmp().execute(command, arguments).unwrap_err();
        assert_eq!(error["class"], "DeviceNotActive", "{error}");
    }
    let error = vmm
        .qmp()
        .execute("balloon", json!({"value": 0}))
        .unwrap_err();
    assert_eq!(error["desc"], "Parameter 'target' expects a size");
}

#[test]
fn the_window_in_configuration_space_reaches_the_device() {
    let mut vmm = start("-M q35 -m 128 -device virtio-balloon-pci,id=b0,addr=04.0");
    run(&mut vmm, "balloon", json!({"value": 127 << 20}));
    let balloon = PciDevice::find(&mut vmm, 4).unwrap();
    balloon.enable(&mut vmm);
    let (mut window, mut device) = (0, (0, 0));
    for at in balloon.capabilities(&mut vmm, 9) {
        match balloon.read(&mut vmm, at + 3, 1) {
            4 => {
                let bar = balloon.read(&mut vmm, at + 4, 1);
                device = (bar, balloon.read(&mut vmm, at + 8, 4));
            }
            5 => window = at,
            _ => {}
        }
    }
    balloon.map(&mut vmm, device.0 as u8, 0xe000_0000);
    balloon.write(&mut vmm, window + 4, 1, device.0);
    balloon.write(&mut vmm, window + 8, 4, device.1);
    balloon.write(&mut vmm, window + 12, 4, 4);
    assert_eq!(balloon.read(&mut vmm, window + 16, 4), (1 << 20) >> 12);
    balloon.write(&mut vmm, window + 8, 4, device.1 + 4);
    balloon.write(&mut vmm, window + 16, 4, 256);
    let actual = json!({"actual": 127 << 20});
    assert_eq!(run(&mut vmm, "query-balloon", json!({})), actual);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_balloon_comes_and_goes() {
    let mut vmm = start("-M pc -m 128");
    for _ in 0..3 {
        let device = json!({"driver": "virtio-balloon-pci", "id": "b0", "addr": "06.0"});
        run(&mut vmm, "device_add", device);
        run(&mut vmm, "query-balloon", json!({}));
        run(&mut vmm, "device_del", json!({"id": "b0"}));
        vmm.output(0xae08, 4, 1 << 6);
        let gone = |event: Value| event["data"]["device"] == "b0";
        while !gone(vmm.qmp().event("DEVICE_DELETED")) {}
        vmm.qmp().execute("query-balloon", json!({})).unwrap_err();
    }
    assert_eq!(vmm.terminate(), Some(0));
}
