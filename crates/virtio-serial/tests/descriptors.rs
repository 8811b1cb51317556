//! Back-ends on descriptors of the host, with the worker on a thread or by hand.

mod common;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use common::*;
use testkit::TestBus;
use testkit::virtio_bus::ThreadRunner;
use virtio_serial::{Port, PortBackend};

/// One descriptor for both directions.
struct Stream(UnixStream);

impl Stream {
    fn pair() -> (Self, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Self(near), far)
    }
}

impl PortBackend for Stream {
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
}

/// A server that watches its listener, then its client, under numbers that the system reuses.
struct Server {
    listener: UnixListener,
    client: Option<UnixStream>,
    says_end: bool,
}

impl Server {
    fn at(path: &Path, says_end: bool) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            client: None,
            says_end,
        }
    }
}

impl PortBackend for Server {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let client = self.client.as_mut().unwrap();
        let read = client.read(buffer);
        if !matches!(read, Ok(0)) {
            return read;
        }
        self.client = None;
        // Both say that this one is gone.
        match self.says_end {
            true => Ok(0),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.client.as_mut().unwrap().write(bytes)
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        let client = self.client.as_ref().map(AsFd::as_fd);
        client.or(Some(self.listener.as_fd()))
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        self.client.as_ref().map(AsFd::as_fd)
    }

    fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    fn poll_connected(&mut self) -> bool {
        if self.client.is_none()
            && let Ok((client, _)) = self.listener.accept()
        {
            client.set_nonblocking(true).unwrap();
            self.client = Some(client);
        }
        self.client.is_some()
    }
}

/// A regular file, whose descriptor no event loop takes.
struct Regular(File);

impl PortBackend for Regular {
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
        None
    }
}

#[test]
fn one_descriptor_serves_both_directions() {
    let (near, mut far) = Stream::pair();
    let device = serial(vec![Port::serial("both", near)]);
    let mut bus = opened(device, modern());
    // It waits for input, and then for room as well.
    let request = bus.submit(4, &[], &[64]);
    bus.run();
    let data = pattern(1 << 20);
    for chunk in data.chunks(16 << 10) {
        bus.submit(5, &[chunk], &[]);
    }
    bus.run();
    assert!(bus.queue(5).in_flight() > 0, "the socket is full");
    far.write_all(b"input").unwrap();
    bus.run();
    let used = bus.queue(4).collect().unwrap();
    assert_eq!(bus.response(&request, used).bytes[..5], *b"input");
    let mut got = vec![0; data.len()];
    let mut at = 0;
    while at < got.len() {
        at += far.read(&mut got[at..]).unwrap();
        bus.run();
    }
    assert!(got == data);
    assert!(!bus.run(), "it waits for nothing but input again");
}

#[test]
fn clients_of_a_server_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let device = serial(vec![Port::serial("served", Server::at(&path, true))]);
    let mut bus = opened(device, modern());
    for round in 0..5 {
        bus.request(5, &[b"nobody hears"], &[]);
        let mut client = UnixStream::connect(&path).unwrap();
        bus.run();
        assert_eq!(hear(&mut bus), [(1, PORT_OPEN, 1, vec![])], "round {round}");
        bus.request(5, &[b"hello"], &[]);
        let mut got = [0; 5];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        client.write_all(b"bye").unwrap();
        assert_eq!(bus.request(4, &[], &[64]).len, 3);
        drop(client);
        bus.submit(4, &[], &[64]);
        bus.run();
        assert_eq!(hear(&mut bus), [(1, PORT_OPEN, 0, vec![])]);
        assert!(!bus.run(), "nothing spins on a socket that was closed");
        bus.reset_queue(4);
        bus.set_up_queue(4, 128);
    }
}

#[test]
fn client_that_waits_takes_the_place_of_the_last_at_once() {
    replace_clients(true);
    replace_clients(false);
}

/// The next client gets the descriptor of the last.
fn replace_clients(says_end: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let device = serial(vec![Port::serial("served", Server::at(&path, says_end))]);
    let mut bus = opened(device, modern());
    let connect = || UnixStream::connect(&path).unwrap();
    let mut current = connect();
    hear(&mut bus);
    // Kept, so that the only number to become free is that of the device's end.
    let mut old = Vec::new();
    for _ in 0..5 {
        let next = connect();
        let request = bus.submit(4, &[], &[64]);
        bus.run();
        current.shutdown(Shutdown::Both).unwrap();
        old.push(std::mem::replace(&mut current, next));
        bus.run();
        current.write_all(b"next").unwrap();
        bus.run();
        let used = bus.queue(4).collect().unwrap();
        assert_eq!(bus.response(&request, used).bytes[..4], *b"next");
        let swap = [(1, PORT_OPEN, 0, vec![]), (1, PORT_OPEN, 1, vec![])];
        assert_eq!(hear(&mut bus), swap);
    }
}

#[test]
fn peer_that_breaks_off_does_no_harm() {
    let (near, far) = Stream::pair();
    let mut bus = opened(serial(vec![Port::serial("broken", near)]), modern());
    bus.submit(4, &[], &[64]);
    bus.run();
    drop(far);
    bus.run();
    for _ in 0..3 {
        bus.request(5, &[b"gone"], &[]);
        bus.submit(4, &[], &[64]);
        assert!(!bus.run() || !bus.run(), "an end is read once");
    }
    assert!(!bus.run());
    assert!(!bus.needs_reset());
}

#[test]
fn regular_file_is_read_to_its_end() {
    let mut file = tempfile::tempfile().unwrap();
    let data = pattern(100_000);
    file.write_all(&data).unwrap();
    file.rewind().unwrap();
    let mut bus = opened(serial(vec![Port::serial("file", Regular(file))]), modern());
    let mut got = Vec::<u8>::new();
    while got.len() < data.len() {
        let response = bus.request(4, &[], &[4096]);
        got.extend(&response.bytes[..response.len as usize]);
    }
    assert!(got == data);
    bus.submit(4, &[], &[4096]);
    bus.run();
    assert!(!bus.run() && !bus.queue(4).has_used());
}

#[test]
fn ten_megabytes_pass_both_ways_at_once_on_a_thread() {
    for features in formats() {
        let (near, far) = Stream::pair();
        let runner: ThreadRunner = ThreadRunner::new("ports");
        let mut bus = TestBus::on(serial(vec![Port::serial("thread", near)]), Arc::new(runner));
        bus.boot(features);
        tell(&mut bus, 1, PORT_OPEN, 1);
        let data = Arc::new(pattern(10 << 20));
        let writer = spawn(&far, data.clone(), |mut far, data| {
            far.write_all(&data).unwrap();
            Vec::new()
        });
        let reader = spawn(&far, data.clone(), |mut far, data| {
            let mut got = vec![0; data.len()];
            far.read_exact(&mut got).unwrap();
            got
        });
        let got = exchange(&mut bus, &data);
        assert!(got == *data);
        assert!(reader.join().unwrap() == *data);
        writer.join().unwrap();
    }
}

fn spawn(
    far: &UnixStream,
    data: Arc<Vec<u8>>,
    work: fn(UnixStream, Arc<Vec<u8>>) -> Vec<u8>,
) -> std::thread::JoinHandle<Vec<u8>> {
    let far = far.try_clone().unwrap();
    std::thread::spawn(move || work(far, data))
}

/// Sends `data` through port 1 while it takes as many bytes from there.
fn exchange(bus: &mut TestBus, data: &[u8]) -> Vec<u8> {
    let mut got = Vec::<u8>::new();
    let mut sent = data.chunks(32 << 10);
    let mut receiving = Vec::new();
    let mut sending = 0;
    while got.len() < data.len() || sent.len() > 0 || sending > 0 {
        while receiving.len() < 64 {
            receiving.push(bus.submit(4, &[], &[4096]));
        }
        while sending < 8 && sent.len() > 0 {
            bus.submit(5, &[sent.next().unwrap()], &[]);
            sending += 1;
        }
        assert!(bus.run_until(|bus| bus.queue(4).has_used() || bus.queue(5).has_used()));
        while bus.queue(5).collect().is_some() {
            sending -= 1;
        }
        while let Some(used) = bus.queue(4).collect() {
            let request = receiving.remove(0);
            assert_eq!(request.id, used.id);
            let response = bus.response(&request, used);
            got.extend(&response.bytes[..response.len as usize]);
        }
    }
    got
}
