use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use event_manager::{EventManager, SubscriberOps};
use vmm_sys_util::tempdir::TempDir;

use super::*;
use crate::chardev::Host;
use crate::files::Endpoint;
use crate::options::{ChardevKind, SocketOptions};

struct Line {
    port: Arc<SerialPort>,
    interrupt: EventFd,
    events: EventManager<Arc<SerialPort>>,
    other: UnixStream,
    _dir: TempDir,
}

impl Line {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path: PathBuf = dir.as_path().join("s");
        let kind = ChardevKind::Socket(SocketOptions::new(Endpoint::Unix(path.clone()), true));
        let chardev = Chardev::open("-serial", "serial0", &kind, &Host::of_test()).unwrap();
        let other = UnixStream::connect(&path).unwrap();
        chardev.let_in();
        let interrupt = EventFd::new(EFD_NONBLOCK).unwrap();
        let port = SerialPort::new(interrupt.try_clone().unwrap(), Arc::new(chardev)).unwrap();
        let port = Arc::new(port);
        let mut events = EventManager::new().unwrap();
        events.add_subscriber(Arc::clone(&port));
        Self {
            port,
            interrupt,
            events,
            other,
            _dir: dir,
        }
    }

    fn write(&self, offset: u16, value: u8) {
        self.port.pio_write(PioAddress(0x3f8), offset, &[value]);
    }

    fn read(&self, offset: u16) -> u8 {
        let mut byte = [0];
        self.port.pio_read(PioAddress(0x3f8), offset, &mut byte);
        byte[0]
    }

    fn run_events(&mut self) -> usize {
        self.events.run_with_timeout(20).unwrap()
    }

    fn has_data(&self) -> bool {
        self.read(LINE_STATUS) & 1 != 0
    }
}

const LINE_STATUS: u16 = 5;

#[test]
fn bytes_go_both_ways_with_an_interrupt() {
    let mut line = Line::new();
    line.write(0, b'h');
    line.write(0, b'i');
    let mut out = [0; 2];
    line.other.read_exact(&mut out).unwrap();
    assert_eq!(&out, b"hi");
    line.write(1, 1);
    line.other.write_all(b"yes").unwrap();
    line.run_events();
    assert_eq!(line.interrupt.read().unwrap(), 1);
    assert_eq!([line.read(0), line.read(0), line.read(0)], *b"yes");
    assert!(!line.has_data());
}

#[test]
fn bug_64_host_input_is_held_back_until_the_guest_makes_room() {
    let mut line = Line::new();
    let sent: Vec<u8> = (0..=255).collect();
    line.other.write_all(&sent).unwrap();
    for _ in 0..4 {
        line.run_events();
    }
    assert_eq!(line.run_events(), 0, "wakes up without work");
    let mut received = Vec::new();
    while line.has_data() {
        let byte = line.read(0);
        received.push(byte);
        if !line.has_data() {
            line.run_events();
            line.run_events();
        }
    }
    assert_eq!(received, sent);
}

#[test]
fn any_access_of_any_width_is_survived() {
    let line = Line::new();
    for offset in 0..8 {
        for width in 0..=8 {
            line.port
                .pio_write(PioAddress(0x3f8), offset, &vec![0xff; width]);
            let mut data = vec![0; width];
            line.port.pio_read(PioAddress(0x3f8), offset, &mut data);
            assert!(width == 1 || data.iter().all(|byte| *byte == 0xff));
        }
    }
}

#[test]
fn reset_puts_registers_back_and_drops_unread_input() {
    let mut line = Line::new();
    line.write(1, 0xf);
    line.write(7, 0x55);
    line.other.write_all(&[1; 200]).unwrap();
    line.run_events();
    assert!(line.has_data());
    line.port.reset().unwrap();
    assert_eq!((line.read(1), line.read(7), line.has_data()), (0, 0, false));
    line.run_events();
    line.run_events();
    assert!(line.has_data(), "input goes on after a reset");
}

#[test]
fn guest_is_not_held_up_by_a_reader_that_stalls() {
    let line = Line::new();
    let start = std::time::Instant::now();
    for _ in 0..2_000_000 {
        line.write(0, b'x');
        if start.elapsed().as_secs() > 60 {
            panic!("writes block");
        }
        if line.port.uart().writer().stalled {
            break;
        }
    }
    assert!(line.port.uart().writer().stalled);
    let stalled = std::time::Instant::now();
    (0..1000).for_each(|_| line.write(0, b'x'));
    assert!(
        stalled.elapsed().as_millis() < u128::from(PATIENCE) * 1000,
        "waits for each byte"
    );
}
