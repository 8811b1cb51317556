//! The console driver, to a socket.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use driver_tests::virtio_drivers::device::console::{Size, VirtIOConsole};
use driver_tests::{Board, Guest, GuestHal, on_every_board};
use virtio_serial::{Port, PortBackend, Serial, SerialProps};

on_every_board!(
    sends,
    receives,
    echoes_much,
    knows_its_size,
    writes_in_an_emergency,
    can_be_bound_again_and_again,
);

/// The device's end of a pair of sockets.
struct Socket(UnixStream);

impl PortBackend for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn poll_connected(&mut self) -> bool {
        true
    }
}

fn device() -> (Serial, UnixStream) {
    let (host, device) = UnixStream::pair().expect("sockets");
    device.set_nonblocking(true).expect("nonblocking");
    host.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let ports = vec![Port::console(Socket(device))];
    let props = SerialProps::default();
    let serial = Serial::new(&props, ports).expect("console device");
    (serial.with_size(132, 43), host)
}

fn bind<B: Board>(board: &B) -> VirtIOConsole<GuestHal, B::Driver> {
    VirtIOConsole::new(board.driver()).expect("console driver")
}

fn receive<B: Board>(console: &mut VirtIOConsole<GuestHal, B::Driver>, len: usize) -> Vec<u8> {
    let start = Instant::now();
    let mut bytes = Vec::new();
    while bytes.len() < len {
        match console.recv(true).expect("receive") {
            Some(byte) => bytes.push(byte),
            None => assert!(start.elapsed() < PATIENCE, "{} bytes came", bytes.len()),
        }
    }
    bytes
}

fn expect(host: &mut UnixStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    host.read_exact(&mut got).expect("bytes of the guest");
    assert_eq!(got, bytes);
}

fn sends<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut console = bind(&board);
    console.send(b'>').expect("send");
    console.send_bytes(b" hello, host").expect("send");
    expect(&mut host, b"> hello, host");
}

fn receives<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut console = bind(&board);
    for word in ["hello, ", "guest", "!"] {
        host.write_all(word.as_bytes()).expect("write");
        assert_eq!(receive::<B>(&mut console, word.len()), word.as_bytes());
    }
    assert_eq!(console.recv(true), Ok(None));
}

fn echoes_much<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut console = bind(&board);
    for round in 0..100u32 {
        let bytes: Vec<u8> = (0..5000 + round).map(|n| (n * round) as u8).collect();
        host.write_all(&bytes).expect("write");
        let received = receive::<B>(&mut console, bytes.len());
        console.send_bytes(&received).expect("send");
        expect(&mut host, &bytes);
    }
}

fn knows_its_size<B: Board>() {
    let guest = Guest::new();
    let (device, _host) = device();
    let board = B::new(&guest, device);
    let size = bind(&board).size();
    assert_eq!(
        size,
        Ok(Some(Size {
            columns: 132,
            rows: 43
        }))
    );
}

fn writes_in_an_emergency<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut console = bind(&board);
    for &byte in b"panic" {
        console.emergency_write(byte).expect("emergency write");
    }
    expect(&mut host, b"panic");
}

fn can_be_bound_again_and_again<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    for round in 0..50u8 {
        let mut console = bind(&board);
        console.send(round).expect("send");
        expect(&mut host, &[round]);
        host.write_all(&[!round]).expect("write");
        assert_eq!(receive::<B>(&mut console, 1), [!round]);
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
