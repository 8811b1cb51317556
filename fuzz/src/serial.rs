//! The console device.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use arbitrary::{Arbitrary, Unstructured};
use testkit::TestBus;
use virtio_serial::{Port, PortBackend, Serial, SerialHandle, SerialProps};

use crate::device::{Subject, play};

/// The console device, with a console and two ports whose other ends talk, stall and leave.
pub fn serial(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let many = u.arbitrary().unwrap_or(true);
    play(Ends::new(many), &mut u);
}

/// The host's ends of the ports.
pub(crate) struct Ends {
    many: bool,
    far: Vec<Option<UnixStream>>,
    handle: Option<SerialHandle>,
}

/// A port on a socket.
struct Socket {
    stream: UnixStream,
    connected: bool,
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Message {
    Control { port: u8, event: u8, value: u16 },
    Any([u8; 12]),
    Bytes(u8, u16),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Event {
    Send(u8, u16),
    Receive(u8),
    HangUp(u8),
    Resize(u16, u16),
}

impl Ends {
    pub(crate) fn new(many: bool) -> Self {
        Self {
            many,
            far: Vec::new(),
            handle: None,
        }
    }

    fn port(&mut self) -> Socket {
        let (near, far) = UnixStream::pair().expect("a pair of sockets");
        for end in [&near, &far] {
            end.set_nonblocking(true).expect("a socket of our own");
        }
        self.far.push(Some(far));
        Socket {
            stream: near,
            connected: true,
        }
    }

    fn far(&mut self, port: u8) -> Option<&mut Option<UnixStream>> {
        let index = usize::from(port).checked_rem(self.far.len())?;
        self.far.get_mut(index)
    }

    fn receive(&mut self, port: u8) {
        if let Some(Some(stream)) = self.far(port) {
            let mut bytes = [0; 4096];
            while stream.read(&mut bytes).is_ok_and(|len| len > 0) {}
        }
    }
}

impl Subject for Ends {
    type Device = Serial;
    type Words = Message;
    type Host = Event;

    fn device(&mut self) -> Serial {
        self.far.clear();
        let mut ports = vec![Port::console(self.port())];
        if self.many {
            ports.push(Port::serial("org.fuzz.0", self.port()));
            ports.push(Port::console(self.port()));
        }
        let props = SerialProps::default().max_ports(if self.many { 4 } else { 1 });
        let device = Serial::new(&props, ports)
            .expect("a device")
            .with_size(80, 25);
        self.handle = Some(device.handle());
        device
    }

    fn words(&self, message: Message) -> Vec<u8> {
        match message {
            Message::Control { port, event, value } => {
                let mut bytes = u32::from(port & 7).to_le_bytes().to_vec();
                bytes.extend(u16::from(event & 15).to_le_bytes());
                bytes.extend((value & 3).to_le_bytes());
                bytes
            }
            Message::Any(bytes) => bytes.to_vec(),
            Message::Bytes(byte, len) => vec![byte; len.into()],
        }
    }

    fn host(&mut self, event: Event) {
        match event {
            Event::Send(port, len) => {
                if let Some(Some(stream)) = self.far(port) {
                    let _ = stream.write(&vec![port; len.into()]);
                }
            }
            Event::Receive(port) => self.receive(port),
            Event::HangUp(port) => drop(self.far(port).and_then(Option::take)),
            Event::Resize(cols, rows) => {
                if let Some(handle) = &self.handle {
                    handle.set_size(cols, rows);
                }
            }
        }
    }

    /// What was not read far ends of ports would keep their transmit queues waiting.
    fn release(&mut self) {
        (0..self.far.len() as u8).for_each(|port| self.receive(port));
    }

    fn probe(&mut self, bus: &mut TestBus) {
        self.release();
        assert_eq!(bus.request(1, &[b"still ", b"there"], &[]).len, 0);
        if self.many {
            // DEVICE_READY, which is answered by news of the ports.
            bus.request(3, &[&[0, 0, 0, 0, 0, 0, 1, 0]], &[]);
            let answer = bus.request(2, &[], &[64]);
            assert!(answer.len >= 8, "{answer:?}");
        }
    }
}

impl PortBackend for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.read(buffer);
        let would_block = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
        if !result.as_ref().is_ok_and(|&len| len > 0) && !result.as_ref().is_err_and(would_block) {
            self.connected = false;
        }
        result
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        // Hung up for good, it would be ready for ever.
        self.connected.then(|| self.stream.as_fd())
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_fd())
    }

    fn is_connected(&self) -> bool {
        self.connected
    }
}
