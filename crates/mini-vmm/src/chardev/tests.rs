use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::pty::ptsname;
use testkit::loopback;
use vmm_sys_util::tempdir::TempDir;

use super::link::End;
use super::*;
use crate::options::SocketOptions;

fn open(kind: ChardevKind) -> Result<Chardev, BadOption> {
    Chardev::open("-chardev", "test", &kind, &Host::of_test())
}

fn blocks(result: io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn readable(chardev: &Chardev) -> bool {
    is_ready(chardev.input(), PollFlags::IN, 500)
}

#[test]
fn null_takes_everything_and_gives_nothing() {
    let null = open(ChardevKind::Null).unwrap();
    assert_eq!(null.write(b"abc").unwrap(), 3);
    assert_eq!(null.read(&mut [0; 4]).unwrap(), 0);
    assert!(!is_ready(null.input(), PollFlags::IN, 0));
    assert!(is_ready(null.output(), PollFlags::IN, 0));
}

#[test]
fn file_is_emptied_or_appended_to() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("log");
    for (append, expected) in [(false, "one"), (true, "oneone"), (false, "one")] {
        let file = open(ChardevKind::File {
            path: path.clone(),
            append,
        })
        .unwrap();
        assert_eq!(file.write(b"one").unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}

#[test]
fn a_fifo_whose_reader_is_slow_holds_nobody_up() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let both = File::options().read(true).write(true).open(&path).unwrap();
    let append = true;
    let fifo = open(ChardevKind::File { path, append }).unwrap();
    let mut taken = 0;
    while let Ok(written) = fifo.write(&[7; 4096]) {
        taken += written;
    }
    assert!(taken > 0 && blocks(fifo.write(&[7; 4096])));
    assert!(!is_ready(fifo.output(), PollFlags::IN, 0));
    (&both).read_exact(&mut vec![0; taken]).unwrap();
    assert!(is_ready(fifo.output(), PollFlags::IN, 500));
    assert_eq!(fifo.write(&[7; 4096]).unwrap(), 4096);
}

#[test]
fn file_that_cannot_be_made_is_a_bad_option() {
    let kind = ChardevKind::File {
        path: "/nonexistent/log".into(),
        append: false,
    };
    let error = open(kind).unwrap_err().to_string();
    assert!(
        error.starts_with("-chardev path=/nonexistent/log: No such file"),
        "{error}"
    );
}

#[test]
fn server_takes_one_client_after_the_other_and_removes_its_socket() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("s");
    let kind = ChardevKind::Socket(SocketOptions {
        wait: true,
        ..SocketOptions::new(Endpoint::Unix(path.clone()), true)
    });
    let server = open(kind).unwrap();
    assert!(server.awaits_client());
    assert_eq!(server.write(b"lost").unwrap(), 4);
    for _ in 0..3 {
        let mut client = UnixStream::connect(&path).unwrap();
        assert!(readable(&server));
        assert!(blocks(server.read(&mut [0; 8])));
        assert!(server.is_connected() && !server.awaits_client());
        client.write_all(b"hello").unwrap();
        assert!(readable(&server));
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).unwrap(), 5);
        assert_eq!(server.write(b"world").unwrap(), 5);
        client.read_exact(&mut buffer[..5]).unwrap();
        assert_eq!(&buffer[..5], b"world");
        drop(client);
        assert!(readable(&server));
        assert!(blocks(server.read(&mut buffer)));
        assert!(!server.is_connected());
    }
    drop(server);
    assert!(!path.exists());
}

#[test]
fn slow_reader_makes_the_writer_wait() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let client = open(ChardevKind::Socket(SocketOptions::new(
        Endpoint::Unix(path),
        false,
    )))
    .unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let mut sent = 0;
    while let Ok(written) = client.write(&[7; 4096]) {
        sent += written;
        assert!(sent < 1 << 24, "no bound");
    }
    assert!(!is_ready(client.output(), PollFlags::IN, 0));
    let mut taken = vec![0; sent];
    other.read_exact(&mut taken).unwrap();
    assert!(is_ready(client.output(), PollFlags::IN, 500));
    drop(other);
    assert_eq!(client.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn client_without_a_server_and_server_on_a_taken_path_are_bad_options() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("s");
    let client = open(ChardevKind::Socket(SocketOptions::new(
        Endpoint::Unix(path.clone()),
        false,
    )));
    assert!(client.unwrap_err().to_string().contains("No such file"));
    std::fs::write(&path, "mine").unwrap();
    let server = open(ChardevKind::Socket(SocketOptions::new(
        Endpoint::Unix(path.clone()),
        true,
    )));
    assert!(server.unwrap_err().to_string().contains("in use"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn pty_carries_bytes_both_ways_and_survives_its_user() {
    let pty = open(ChardevKind::Pty).unwrap();
    let link = pty.link();
    let Link::Other {
        end: End::Pty { controller, .. },
        ..
    } = &*link
    else {
        panic!("not a pty")
    };
    let name = ptsname(controller, Vec::new())
        .unwrap()
        .into_string()
        .unwrap();
    for _ in 0..2 {
        let mut user = File::options().read(true).write(true).open(&name).unwrap();
        assert_eq!(pty.write(b"out").unwrap(), 3);
        let mut buffer = [0; 3];
        user.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"out");
        user.write_all(b"in\r").unwrap();
        assert!(readable(&pty));
        assert_eq!(pty.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"in\r");
        drop(user);
        assert!(blocks(pty.read(&mut buffer)));
    }
}

/// Reads until `expected` has come.
fn hear(chardev: &Chardev, expected: &[u8]) {
    let mut heard = Vec::<u8>::new();
    while heard.len() < expected.len() {
        assert!(readable(chardev), "{heard:?}");
        let mut buffer = [0; 64];
        match chardev.read(&mut buffer) {
            Ok(read) => heard.extend(&buffer[..read]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(heard, expected);
}

fn tcp(port: u16, server: bool) -> SocketOptions {
    let host = loopback().to_string();
    SocketOptions::new(Endpoint::Tcp { host, port }, server)
}

#[test]
fn tcp_sockets_listen_and_connect() {
    let listener = std::net::TcpListener::bind((loopback(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let nodelay = true;
    let client = open(ChardevKind::Socket(SocketOptions {
        nodelay,
        ..tcp(port, false)
    }))
    .unwrap();
    let (mut other, _) = listener.accept().unwrap();
    other.write_all(b"hello").unwrap();
    hear(&client, b"hello");
    assert_eq!(client.write(b"world").unwrap(), 5);
    let mut buffer = [0; 5];
    other.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"world");
    assert_eq!(client.description(), format!("tcp:{}:{port}", loopback()));
    drop((other, listener));
    assert_eq!(client.read(&mut buffer).unwrap(), 0, "the end");

    let server = open(ChardevKind::Socket(tcp(port, true))).unwrap();
    for _ in 0..2 {
        let mut other = std::net::TcpStream::connect((loopback(), port)).unwrap();
        other.write_all(b"again").unwrap();
        hear(&server, b"again");
        drop(other);
        assert!(readable(&server));
        assert!(blocks(server.read(&mut buffer)));
    }
}

#[test]
fn a_client_comes_back_when_its_server_does() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("s");
    let free = std::net::TcpListener::bind((loopback(), 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for kind in [
        SocketOptions::new(Endpoint::Unix(path.clone()), false),
        tcp(port, false),
    ] {
        let is_tcp = kind != SocketOptions::new(Endpoint::Unix(path.clone()), false);
        let client = open(ChardevKind::Socket(SocketOptions {
            reconnect: Some(std::time::Duration::from_millis(10)),
            ..kind
        }));
        let client = client.expect("no server is needed at the start");
        for _ in 0..3 {
            assert_eq!(client.write(b"lost").unwrap(), 4);
            let serve = |mut peer: Box<dyn Write>| {
                peer.write_all(b"hello").unwrap();
                hear(&client, b"hello");
                assert!(client.is_connected());
            };
            if is_tcp {
                let listener = std::net::TcpListener::bind((loopback(), port)).unwrap();
                wait_for(&client, || false);
                serve(Box::new(listener.accept().unwrap().0));
            } else {
                let listener = UnixListener::bind(&path).unwrap();
                wait_for(&client, || false);
                serve(Box::new(listener.accept().unwrap().0));
                std::fs::remove_file(&path).unwrap();
            }
            while client.is_connected() {
                assert!(readable(&client));
                assert!(blocks(client.read(&mut [0; 4])));
            }
        }
    }
}

/// Serves the client's timer until it is connected.
fn wait_for(client: &Chardev, met: impl Fn() -> bool) {
    while !client.is_connected() && !met() {
        assert!(readable(client));
        client.let_in();
    }
}

#[test]
fn a_pipe_is_two_fifos_or_one() {
    let dir = TempDir::new().unwrap();
    let path = dir.as_path().join("p");
    let named = |ending: &str| dir.as_path().join(format!("p{ending}"));
    let make = |path: &std::path::Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
        File::options().read(true).write(true).open(path).unwrap()
    };
    let kind = ChardevKind::Pipe { path: path.clone() };
    assert!(
        open(kind.clone())
            .unwrap_err()
            .to_string()
            .contains("No such file")
    );
    let (mut to, mut from) = (make(&named(".in")), make(&named(".out")));
    let pipe = open(kind.clone()).unwrap();
    to.write_all(b"in").unwrap();
    hear(&pipe, b"in");
    assert!(blocks(pipe.read(&mut [0; 4])));
    assert_eq!(pipe.write(b"out").unwrap(), 3);
    let mut buffer = [0; 3];
    from.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"out");
    std::fs::remove_file(named(".in")).unwrap();
    let mut both = make(&path);
    let pipe = open(kind).unwrap();
    both.write_all(b"in").unwrap();
    hear(&pipe, b"in");
}

#[test]
fn a_ring_keeps_the_last_bytes() {
    let ring = open(ChardevKind::Ring { size: 8 }).unwrap();
    assert_eq!(ring.write(b"0123456789").unwrap(), 10);
    assert_eq!(ring.write(b"ab").unwrap(), 2);
    assert_eq!(ring.take_written(3).unwrap(), b"456");
    assert_eq!(ring.take_written(99).unwrap(), b"789ab");
    assert!(blocks(ring.read(&mut [0; 4])));
    ring.type_in(b"typed").unwrap();
    hear(&ring, b"typed");
    assert!(!is_ready(ring.input(), PollFlags::IN, 0));
    assert_eq!(open(ChardevKind::Null).unwrap().take_written(1), None);
}

#[test]
fn another_back_end_takes_the_place_of_one() {
    let dir = TempDir::new().unwrap();
    let socket = |name: &str| {
        let path = dir.as_path().join(name);
        let kind = ChardevKind::Socket(SocketOptions::new(Endpoint::Unix(path.clone()), true));
        (path, kind)
    };
    let ((first, kind), (second, next)) = (socket("a"), socket("b"));
    let chardev = open(kind).unwrap();
    let mut old = UnixStream::connect(&first).unwrap();
    assert!(blocks(chardev.read(&mut [0; 4])));
    let peer = chardev.peer().unwrap();
    let host = Host::of_test();
    let missing = ChardevKind::Pipe {
        path: dir.as_path().join("none"),
    };
    assert!(
        chardev
            .change("chardev-change", "c", &missing, &host)
            .is_err()
    );
    assert!(
        chardev.is_connected(),
        "a change that fails changes nothing"
    );
    chardev.change("chardev-change", "c", &next, &host).unwrap();
    assert_eq!(old.read(&mut [0; 4]).unwrap(), 0, "sent away");
    assert!(!chardev.is_connected() && !first.exists());
    let mut new = UnixStream::connect(&second).unwrap();
    new.write_all(b"new").unwrap();
    hear(&chardev, b"new");
    assert_ne!(chardev.peer(), Some(peer));
    chardev
        .change("chardev-change", "c", &ChardevKind::Null, &host)
        .unwrap();
    assert_eq!(chardev.write(b"x").unwrap(), 1);
    assert!(is_ready(chardev.output(), PollFlags::IN, 0));
}
