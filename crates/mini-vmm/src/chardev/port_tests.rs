use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use vmm_sys_util::tempdir::TempDir;

use super::super::{Host, is_ready};
use super::*;
use crate::files::Endpoint;
use crate::options::{ChardevKind, SocketOptions};

fn port(kind: &ChardevKind) -> ChardevPort {
    let chardev = Chardev::open("-chardev", "c0", kind, &Host::of_test()).unwrap();
    ChardevPort::new(Arc::new(chardev))
}

fn server(dir: &TempDir) -> (std::path::PathBuf, ChardevPort) {
    let path = dir.as_path().join("socket");
    let kind = ChardevKind::Socket(SocketOptions::new(Endpoint::Unix(path.clone()), true));
    (path, port(&kind))
}

#[test]
fn peers_of_a_socket_come_and_go() {
    let dir = TempDir::new().unwrap();
    let (path, mut port) = server(&dir);
    assert!(!port.poll_connected());
    assert!(port.output().is_none());
    for round in 0..3u8 {
        let mut peer = UnixStream::connect(&path).unwrap();
        assert!(is_ready(port.input().unwrap(), PollFlags::IN, 100));
        assert!(port.poll_connected() && port.is_connected());
        assert!(is_ready(port.output().unwrap(), PollFlags::OUT, 100));
        let mut buffer = [0; 8];
        let nothing = port.read(&mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        peer.write_all(&[round; 3]).unwrap();
        assert_eq!(port.read(&mut buffer).unwrap(), 3);
        assert_eq!(port.write(&[round; 2]).unwrap(), 2);
        peer.read_exact(&mut buffer[..2]).unwrap();
        drop(peer);
        let gone = port.read(&mut buffer).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::WouldBlock);
        assert!(!port.is_connected());
        // Nobody listens: what is sent is gone, and nothing is ready for ever.
        assert_eq!(port.write(b"lost").unwrap(), 4);
        assert!(!is_ready(port.input().unwrap(), PollFlags::IN, 0));
    }
}

#[test]
fn a_peer_that_does_not_read_makes_the_port_wait_for_its_output() {
    let dir = TempDir::new().unwrap();
    let (path, mut port) = server(&dir);
    let mut peer = UnixStream::connect(&path).unwrap();
    assert!(port.poll_connected());
    let full = loop {
        if let Err(error) = port.write(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(!is_ready(port.output().unwrap(), PollFlags::OUT, 0));
    let mut some = vec![0; 1 << 20];
    while !is_ready(port.output().unwrap(), PollFlags::OUT, 0) {
        assert!(peer.read(&mut some).unwrap() > 0);
    }
    assert!(port.write(&[0; 1]).is_ok());
}

#[test]
fn files_take_everything_and_give_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("file");
    let kind = ChardevKind::File {
        path: path.clone(),
        append: false,
    };
    for mut port in [port(&ChardevKind::Null), port(&kind)] {
        assert!(port.poll_connected());
        let ready = |fd| is_ready(fd, PollFlags::OUT, 0);
        assert!(port.output().is_none_or(ready));
        assert_eq!(port.write(b"some").unwrap(), 4);
        assert_eq!(port.read(&mut [0; 4]).unwrap(), 0);
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"some");
}
