use std::sync::Mutex as StdMutex;

use vm_device::bus::{MmioAddress, MmioAddressOffset, MmioRange};
use vm_device::device_manager::MmioManager;
use vm_device::{DeviceMmio, device_manager::IoManager};

use super::*;
use crate::chardev::Host;
use crate::memory;
use crate::options::ChardevKind;

/// Remembers accesses, and reads as the number of bytes asked for.
#[derive(Default)]
struct Recorder(StdMutex<Vec<(u64, Vec<u8>)>>);

impl DeviceMmio for Recorder {
    fn mmio_read(&self, _: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        data.fill(data.len() as u8);
        self.0.lock().unwrap().push((offset, Vec::new()));
    }

    fn mmio_write(&self, _: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        self.0.lock().unwrap().push((offset, data.to_vec()));
    }
}

fn server() -> (Qtest, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let mut bus = IoManager::new();
    let range = MmioRange::new(MmioAddress(0xe000_0000), 0x100).unwrap();
    bus.register_mmio(range, recorder.clone()).unwrap();
    let memory = SharedMemory::new(memory::allocate(16 << 20).unwrap());
    let chardev = Chardev::open("-qtest", "qtest", &ChardevKind::Null, &Host::of_test()).unwrap();
    let server = Qtest::new(
        Arc::new(chardev),
        (Arc::new(bus), memory),
        Activity::new().unwrap(),
    );
    (server, recorder)
}

fn say(server: &Qtest, line: &str) -> String {
    let reply = server.execute(line.as_bytes());
    reply.unwrap_or_else(|refusal| refusal.to_string())
}

#[test]
fn replies_have_qemus_shape() {
    let (server, _) = server();
    for (line, reply) in [
        ("endianness", "OK little"),
        ("inb 0x511", "OK 0x00ff"),
        ("inl 0xcfc", "OK 0xffffffff"),
        ("outl 0xcf8 0x80002000", "OK"),
        ("write 0x1000 0x4 0x01ff", "OK"),
        ("read 0x1000 0x4", "OK 0x01ff0000"),
        ("readw 0x1000", "OK 0x000000000000ff01"),
        ("writeq 0x1008 0x0102030405060708", "OK"),
        ("read 0x1008 8", "OK 0x0807060504030201"),
        ("writeb 0x1008 0x1ff", "OK"),
        ("readl 0x1008", "OK 0x00000000050607ff"),
    ] {
        assert_eq!(say(&server, line), reply, "{line}");
    }
}

#[test]
fn what_is_no_request_is_refused_and_has_no_effect() {
    let (server, recorder) = server();
    for (line, start) in [
        ("", "FAIL Unknown command ''"),
        ("clock_warp", "FAIL Unknown command 'clock_warp'"),
        ("read 0x1000", "ERR "),
        ("read 0x1000 0", "ERR "),
        ("read 0x1000 0xffffffffffffffff", "ERR "),
        ("write 0xe0000000 2 0x1", "ERR "),
        ("write 0xe0000000 2 0xzz", "ERR "),
        ("write 0xe0000000 2 ff", "ERR "),
        ("inb 0x10000", "ERR "),
        ("outl 0xcf8 0x100000000", "ERR "),
        ("outb 0xcf8 -1", "ERR "),
    ] {
        let reply = say(&server, line);
        assert!(reply.starts_with(start), "{line}: {reply}");
    }
    assert!(recorder.0.lock().unwrap().is_empty());
}

#[test]
fn device_memory_is_accessed_in_the_width_asked_for() {
    let (server, recorder) = server();
    for width in [1, 2, 4, 8] {
        let reply = say(&server, &format!("read 0xe0000008 {width}"));
        assert_eq!(reply, format!("OK 0x{}", format!("0{width}").repeat(width)));
    }
    recorder.0.lock().unwrap().clear();
    say(&server, "write 0xe0000008 2 0x0102");
    say(&server, "writel 0xe0000010 7");
    say(&server, "write 0xe0000003 6 0x010203040506");
    let seen = std::mem::take(&mut *recorder.0.lock().unwrap());
    let expected: [(u64, &[u8]); 5] = [
        (8, &[1, 2]),
        (16, &[7, 0, 0, 0]),
        (3, &[1]),
        (4, &[2, 3, 4, 5]),
        (8, &[6]),
    ];
    assert_eq!(seen, expected.map(|(at, data)| (at, data.to_vec())));
}

#[test]
fn nothing_answers_where_there_is_nothing() {
    let (server, _) = server();
    assert_eq!(say(&server, "readl 0xd0000000"), "OK 0x00000000ffffffff");
    assert_eq!(
        say(&server, "read 0xffffff 2"),
        "OK 0x00ff",
        "the end of memory"
    );
    assert_eq!(say(&server, "write 0xffffffffffffffff 4 0x00"), "OK");
}

#[test]
fn lines_come_in_pieces_and_are_bounded() {
    let mut lines = Lines::default();
    lines.push(b"endian");
    assert_eq!(lines.next(), None);
    lines.push(b"ness\ninb 1\nx");
    assert_eq!(lines.next(), Some(Ok(b"endianness".to_vec())));
    assert_eq!(lines.next(), Some(Ok(b"inb 1".to_vec())));
    assert_eq!(lines.next(), None);
    for _ in 0..=LONGEST >> 20 {
        lines.push(&vec![b'y'; 1 << 20]);
        assert_eq!(lines.next(), None);
        assert!(lines.bytes.len() <= LONGEST + (1 << 20));
    }
    lines.push(b"y\nendianness\n");
    assert_eq!(lines.next(), Some(Err(Refusal::TooLong)));
    assert_eq!(lines.next(), Some(Ok(b"endianness".to_vec())));
}
