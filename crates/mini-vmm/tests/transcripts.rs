//! What QEMU 11.1's own tests of virtio devices saw of QEMU, line by line on the wire: these are the
//! facts of three of their transcripts, over raw requests and replies.
//!
//! Replayed line by line, the whole transcripts differ in nothing but when: a device works in a thread
//! of its own, so where QEMU has a used buffer, an event or an interrupt at the very next request, it is
//! asked for here until it is there.

use serde_json::json;
use testkit::qtest::{Part, VirtioPci, Vmm};

/// A machine whose fourth slot has the device that the options make.
fn start(device: &str) -> Vmm {
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &format!("-M pc {device}"))
}

/// Sends the lines, of which each is a request and its reply.
fn replay(vmm: &mut Vmm, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, reply) = line.split_once(" -> ").unwrap();
        assert_eq!(vmm.say(request), reply, "{request}");
    }
}

/// A read of the device's configuration space and what it gives, as the tests make it.
fn config(vmm: &mut Vmm, offset: u8, width: usize, value: u32) {
    let slot = 0x8000_2000 | u32::from(offset);
    let letter = [' ', 'b', 'w', ' ', 'l'][width];
    replay(
        vmm,
        &format!("outl 0xcf8 {slot:#x} -> OK\nin{letter} 0xcfc -> OK {value:#06x}"),
    );
}

/// The walk that every test begins with: ids, the capabilities in their order, and where in the BAR
/// the five structures are.
fn enumerate(vmm: &mut Vmm, device: u32, kind: u32) {
    replay(vmm, "endianness -> OK little\noutw 0x510 0x3 -> OK");
    for byte in 0x800_0000u64.to_le_bytes() {
        replay(vmm, &format!("inb 0x511 -> OK {byte:#06x}"));
    }
    config(vmm, 0x00, 2, 0x1af4);
    config(vmm, 0x02, 2, device);
    config(vmm, 0x2e, 2, kind);
    config(vmm, 0x34, 1, 0x98);
    config(vmm, 0x98, 1, 0x11);
    config(vmm, 0x99, 1, 0x84);
    // Kind, place in the list, next one: PCI_CFG, notifications, device, ISR, common.
    for (at, kind, next) in [
        (0x84, 5, 0x70),
        (0x70, 2, 0x60),
        (0x60, 4, 0x50),
        (0x50, 3, 0x40),
    ] {
        config(vmm, at, 1, 0x09);
        config(vmm, at + 3, 1, kind);
        config(vmm, at + 1, 1, next);
    }
    for (at, offset) in [(0x40, 0), (0x70, 0x3000), (0x50, 0x1000), (0x60, 0x2000)] {
        config(vmm, at + 4, 1, 4);
        config(vmm, at + 8, 4, offset);
        config(vmm, at + 12, 4, 0x1000);
    }
    config(vmm, 0x80, 4, 4);
    config(vmm, 0x04, 2, 0);
    // The BAR's size, and its place.
    replay(
        vmm,
        "outl 0xcf8 0x80002020 -> OK
         outl 0xcfc 0xffffffff -> OK
         outl 0xcf8 0x80002020 -> OK
         inl 0xcfc -> OK 0xffffc00c
         outl 0xcf8 0x80002020 -> OK
         outl 0xcfc 0xe0000000 -> OK
         outl 0xcf8 0x80002004 -> OK
         outw 0xcfc 0x7 -> OK",
    );
}

/// From reset to the driver's bit in the status.
const TAKEN: &str = "write 0xe0000014 0x1 0x00 -> OK
    read 0xe0000014 0x1 -> OK 0x00
    write 0xe0000014 0x1 0x01 -> OK
    read 0xe0000014 0x1 -> OK 0x01
    write 0xe0000014 0x1 0x03 -> OK
    read 0xe0000014 0x1 -> OK 0x03";

#[test]
fn rng_hotplug() {
    let mut vmm = start("-device virtio-rng-pci,addr=04.0");
    enumerate(&mut vmm, 0x1005, 4);
    replay(&mut vmm, TAKEN);
    let device = json!({"addr": "0x06", "driver": "virtio-rng-pci", "id": "rng1"});
    assert_eq!(vmm.qmp().execute("device_add", device).unwrap(), json!({}));
    let gone = json!({"id": "rng1"});
    assert_eq!(vmm.qmp().execute("device_del", gone).unwrap(), json!({}));
    replay(&mut vmm, "outl 0xae08 0x40 -> OK");
    let path = "/machine/peripheral/rng1/virtio-backend";
    assert_eq!(
        vmm.qmp().event("DEVICE_DELETED")["data"],
        json!({"path": path})
    );
}

#[test]
fn serial_hotplug() {
    let mut vmm = start("-device virtio-serial-pci,id=vser0,addr=04.0");
    enumerate(&mut vmm, 0x1003, 3);
    replay(&mut vmm, TAKEN);
    let port = json!({"driver": "virtserialport", "id": "hp-port"});
    assert_eq!(vmm.qmp().execute("device_add", port).unwrap(), json!({}));
    let gone = json!({"id": "hp-port"});
    assert_eq!(vmm.qmp().execute("device_del", gone).unwrap(), json!({}));
    let data = json!({"device": "hp-port", "path": "/machine/peripheral/hp-port"});
    assert_eq!(vmm.qmp().event("DEVICE_DELETED")["data"], data);
}

#[test]
fn blk_basic() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(64 << 20).unwrap();
    let mut vmm = start(&format!(
        "-device virtio-blk-pci,id=drv0,drive=drive0,addr=4.0 \
         -drive if=none,id=drive0,file={},format=raw,auto-read-only=off",
        image.path().display()
    ));
    enumerate(&mut vmm, 0x1001, 2);
    replay(&mut vmm, TAKEN);
    // 64 MiB, and the features of both words, of which the driver declines two.
    replay(
        &mut vmm,
        "read 0xe0002000 0x8 -> OK 0x0000020000000000
         write 0xe0000000 0x4 0x00000000 -> OK
         read 0xe0000004 0x4 -> OK 0x546e0030
         write 0xe0000000 0x4 0x01000000 -> OK
         read 0xe0000004 0x4 -> OK 0x01010000
         write 0xe0000008 0x4 0x00000000 -> OK
         write 0xe000000c 0x4 0x546e0000 -> OK
         write 0xe0000008 0x4 0x01000000 -> OK
         write 0xe000000c 0x4 0x01010000 -> OK
         write 0xe0000014 0x1 0x0b -> OK
         read 0xe0000014 0x1 -> OK 0x0b
         write 0xe0000008 0x4 0x00000000 -> OK
         read 0xe000000c 0x4 -> OK 0x546e0000
         write 0xe0000016 0x2 0x0000 -> OK
         read 0xe0000018 0x2 -> OK 0x0001
         write 0xe0000020 0x4 0x00001000 -> OK
         write 0xe0000028 0x4 0x00101000 -> OK
         write 0xe0000030 0x4 0x00201000 -> OK
         read 0xe000001e 0x2 -> OK 0x0000
         write 0xe000001c 0x2 0x0100 -> OK
         write 0xe0000014 0x1 0x0f -> OK
         read 0xe0000014 0x1 -> OK 0x0f",
    );
    // Out, in, write zeroes and discard: kind, length of the data, which way it goes, head.
    for (index, (kind, length, write)) in [
        (1u8, 0x200, false),
        (0, 0x200, true),
        (13, 0x10, false),
        (11, 0x10, false),
    ]
    .into_iter()
    .enumerate()
    {
        request(&mut vmm, index, kind, length, write);
        if write {
            let data = vmm.say("read 0x103010 0x4");
            assert_eq!(data, "OK 0x54455354", "what was written before");
        }
    }
}

/// One request in three descriptors, as the driver of the test lays them out.
fn request(vmm: &mut Vmm, index: usize, kind: u8, length: usize, write: bool) {
    let data = match kind {
        1 => "54455354".to_owned(),
        // One sector from sector 0 on.
        11 | 13 => format!("{}01000000", "00".repeat(8)),
        _ => "00".to_owned(),
    };
    let status = 0x10_3010 + length;
    let (head, flags) = (3 * index, if write { 3 } else { 1 });
    replay(
        vmm,
        &format!(
            "write 0x103000 0x10 0x{kind:02x}00000001 -> OK\nwrite 0x103010 {length:#x} 0x{data} -> OK\nwrite {status:#x} 0x1 0xff -> OK"
        ),
    );
    for (at, (address, length, flags)) in [
        (0x10_3000, 0x10, 1),
        (0x10_3010, length, flags),
        (status, 1, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let descriptor = 0x10_0000 + 16 * (head + at);
        let next = head + at + 1;
        replay(
            vmm,
            &format!(
                "writeq {descriptor:#x} {address:#x} -> OK
                 writel {:#x} {length:#x} -> OK
                 writew {:#x} {flags:#x} -> OK
                 writew {:#x} {next:#x} -> OK",
                descriptor + 8,
                descriptor + 12,
                descriptor + 14
            ),
        );
    }
    replay(
        vmm,
        &format!(
            "readw 0x101002 -> OK {index:#018x}
             writew {:#x} {head:#x} -> OK
             writew 0x101002 {:#x} -> OK
             write 0xe0003000 0x2 0x0000 -> OK",
            0x10_1004 + 2 * index,
            index + 1
        ),
    );
    vmm.wait("an interrupt", |vmm| {
        vmm.say("read 0xe0001000 0x1") == "OK 0x01"
    });
    replay(
        vmm,
        &format!(
            "readw 0x102002 -> OK {:#018x}
             readl {:#x} -> OK {head:#018x}
             readb {status:#x} -> OK {:#018x}",
            index + 1,
            0x10_2004 + 8 * index,
            0
        ),
    );
}

/// Where drivers poll for the end of a reset, a test that does not would see the device of before.
#[test]
fn a_reset_is_complete_at_the_next_request() {
    let mut vmm = start("-device virtio-rng-pci,addr=04.0");
    for _ in 0..50 {
        let rng = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        rng.negotiate(&mut vmm, !(1 << 30));
        let mut queue = rng.queue(&mut vmm, 0, None);
        rng.start(&mut vmm);
        queue.add(&mut vmm, &[Part::In(64)]);
        queue.kick(&mut vmm);
        rng.set_status(&mut vmm, 0);
        assert_eq!(rng.status(&mut vmm), 0);
    }
}
