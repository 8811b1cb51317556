use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use vmm_sys_util::tempdir::TempDir;

use super::*;

fn open(kind: ChardevKind) -> Result<Chardev, BadOption> {
    Chardev::open("-chardev", "test", &kind, &Wishes::new().unwrap())
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
    let kind = ChardevKind::Socket {
        path: path.clone(),
        server: true,
        wait: true,
    };
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
    let client = open(ChardevKind::Socket {
        path,
        server: false,
        wait: false,
    })
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
    let client = open(ChardevKind::Socket {
        path: path.clone(),
        server: false,
        wait: false,
    });
    assert!(client.unwrap_err().to_string().contains("No such file"));
    std::fs::write(&path, "mine").unwrap();
    let server = open(ChardevKind::Socket {
        path: path.clone(),
        server: true,
        wait: false,
    });
    assert!(server.unwrap_err().to_string().contains("in use"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn pty_carries_bytes_both_ways_and_survives_its_user() {
    let pty = open(ChardevKind::Pty).unwrap();
    let Link::Other {
        end: End::Pty { controller, .. },
        ..
    } = &pty.0
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
