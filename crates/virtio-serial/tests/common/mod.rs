//! Back-ends in memory, and a driver's words.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::event::{EventfdFlags, eventfd};
use testkit::TestBus;
use virtio_device::Features;
use virtio_serial::{Port, PortBackend, PortKind, PortProps, Serial, SerialProps};

/// The far end of a port: what a test holds.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    input: Level,
    output: Level,
}

#[derive(Default)]
struct State {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    room: usize,
    echo: bool,
    connected: bool,
    caller: bool,
    hung_up: bool,
    guest: Vec<bool>,
    reads: usize,
}

/// The near end.
pub struct Near(Wire);

impl Wire {
    /// A connected wire that takes everything.
    pub fn new() -> Self {
        let state = State {
            room: usize::MAX,
            connected: true,
            ..State::default()
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            input: Level::readable(),
            output: Level::writable(),
        }))
    }

    /// A wire that gives back what it takes.
    pub fn echo() -> Self {
        let wire = Self::new();
        wire.state().echo = true;
        wire
    }

    /// A wire with nobody there.
    pub fn unconnected() -> Self {
        let wire = Self::new();
        wire.state().connected = false;
        wire
    }

    /// A wire that takes `room` bytes.
    pub fn with_room(room: usize) -> Self {
        let wire = Self::new();
        wire.set_room(room);
        wire
    }

    pub fn near(&self) -> Near {
        Near(self.clone())
    }

    /// Bytes for the guest.
    pub fn send(&self, bytes: &[u8]) {
        self.change(|state| state.incoming.extend(bytes));
    }

    /// Takes what the guest has sent.
    pub fn received(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().outgoing)
    }

    /// Bytes that wait for the guest.
    pub fn waiting(&self) -> usize {
        self.state().incoming.len()
    }

    pub fn set_room(&self, room: usize) {
        self.change(|state| state.room = room);
    }

    /// Somebody calls.
    pub fn connect(&self) {
        self.change(|state| state.caller = true);
    }

    /// Somebody leaves.
    pub fn hang_up(&self) {
        self.change(|state| state.hung_up = true);
    }

    /// Somebody has left, and the back-end knows.
    pub fn leave(&self) {
        self.change(|state| (state.connected, state.hung_up) = (false, false));
    }

    /// What the guest told of its end.
    pub fn guest(&self) -> Vec<bool> {
        self.state().guest.clone()
    }

    /// How often it was read.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let input = match state.connected {
            true => !state.incoming.is_empty() || state.hung_up,
            false => state.caller,
        };
        self.0.input.set(input);
        self.0.output.set(state.room > 0);
        changed
    }
}

impl PortBackend for Near {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty());
        self.0.change(|state| {
            state.reads += 1;
            let len = buffer.len().min(state.incoming.len());
            for (to, from) in buffer.iter_mut().zip(state.incoming.drain(..len)) {
                *to = from;
            }
            if len == 0 && std::mem::take(&mut state.hung_up) {
                state.connected = false;
            }
            match len {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(len),
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty());
        self.0.change(|state| {
            let len = bytes.len().min(state.room);
            if state.room != usize::MAX {
                state.room -= len;
            }
            match state.echo {
                true => state.incoming.extend(&bytes[..len]),
                false => state.outgoing.extend(&bytes[..len]),
            }
            match len {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(len),
            }
        })
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.0.input.fd.as_fd())
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.0.output.fd.as_fd())
    }

    fn is_connected(&self) -> bool {
        self.0.state().connected
    }

    fn poll_connected(&mut self) -> bool {
        self.0.change(|state| {
            state.connected |= std::mem::take(&mut state.caller);
            state.connected
        })
    }

    fn guest_opened(&mut self, open: bool) {
        self.0.change(|state| {
            state.guest.push(open);
            if state.echo {
                state.incoming.clear();
            }
        });
    }
}

/// A descriptor that is ready or not: an event counter. For reading, one is ready and none is not;
/// for writing, none is ready and a full one is not.
struct Level {
    fd: OwnedFd,
    ready: u64,
    not: u64,
}

impl Level {
    fn readable() -> Self {
        Self::new(1, 0)
    }

    fn writable() -> Self {
        Self::new(0, u64::MAX - 1)
    }

    fn new(ready: u64, not: u64) -> Self {
        let fd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        Self { fd, ready, not }
    }

    fn set(&self, ready: bool) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        let count = if ready { self.ready } else { self.not };
        if count > 0 {
            rustix::io::write(&self.fd, &count.to_ne_bytes()).unwrap();
        }
    }
}

/// A device with these ports and 4 at most.
pub fn serial(ports: Vec<Port>) -> Serial {
    Serial::new(&SerialProps::default().max_ports(4), ports).unwrap()
}

/// A device with a console on `console` and a port called `org.test` on `port`.
pub fn console_and_port(console: &Wire, port: &Wire) -> Serial {
    serial(vec![
        Port::console(console.near()),
        Port::serial("org.test", port.near()),
    ])
}

pub fn plain(kind: PortKind, wire: &Wire) -> Port {
    Port::new(kind, PortProps::default(), Box::new(wire.near()))
}

/// Features of a modern driver that knows ports.
pub fn modern() -> Features {
    Features::VERSION_1 | Features::RING_RESET | MULTIPORT | EMERG_WRITE
}

/// The ring formats, with everything that drivers use.
pub fn formats() -> [Features; 2] {
    let split = modern() | Features::INDIRECT_DESC | Features::EVENT_IDX;
    [split, split | Features::RING_PACKED]
}

/// A control message as `(port, event, value)`, and what follows it.
pub type Message = (u32, u16, u16, Vec<u8>);

pub const DEVICE_READY: u16 = 0;
pub const PORT_ADD: u16 = 1;
pub const PORT_READY: u16 = 3;
pub const CONSOLE_PORT: u16 = 4;
pub const RESIZE: u16 = 5;
pub const PORT_OPEN: u16 = 6;
pub const PORT_NAME: u16 = 7;

pub fn message(port: u32, event: u16, value: u16) -> Vec<u8> {
    let mut bytes = port.to_le_bytes().to_vec();
    bytes.extend(event.to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes
}

/// Tells the device something.
pub fn tell(bus: &mut TestBus, port: u32, event: u16, value: u16) {
    assert_eq!(bus.request(3, &[&message(port, event, value)], &[]).len, 0);
}

/// What the device has to say, until it has said everything. The queue is reset then, so that no
/// buffer is left with the device.
pub fn hear(bus: &mut TestBus) -> Vec<Message> {
    let mut heard = Vec::new();
    loop {
        let request = bus.submit(2, &[], &[256]);
        bus.run();
        let Some(used) = bus.queue(2).collect() else {
            break;
        };
        let response = bus.response(&request, used);
        heard.push(parse(&response.bytes[..response.len as usize]));
    }
    bus.reset_queue(2);
    bus.set_up_queue(2, 32);
    bus.run();
    heard
}

pub fn parse(bytes: &[u8]) -> Message {
    let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    let port = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    (port, u16_at(4), u16_at(6), bytes[8..].to_vec())
}

/// As a driver that has just started: all ports set up, and opened.
pub fn open_all(bus: &mut TestBus) {
    tell(bus, 0, DEVICE_READY, 1);
    for (port, event, ..) in hear(bus) {
        assert_eq!(event, PORT_ADD);
        tell(bus, port, PORT_READY, 1);
        tell(bus, port, PORT_OPEN, 1);
    }
    hear(bus);
}

/// The device on a bus, with a driver that has opened all ports.
pub fn opened(device: Serial, features: Features) -> TestBus {
    let mut bus = TestBus::new(device);
    bus.boot(features);
    open_all(&mut bus);
    bus
}

/// Bytes that differ from their neighbours over any distance that matters.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

pub const SIZE: Features = Features::bit(0);
pub const MULTIPORT: Features = Features::bit(1);
pub const EMERG_WRITE: Features = Features::bit(2);
