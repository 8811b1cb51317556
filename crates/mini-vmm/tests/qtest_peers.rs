//! The qtest server and those who use it badly: none of them is in the way of the next one, nor of a
//! monitor.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::json;
use tempfile::TempDir;
use testkit::qtest::Qmp;
use testkit::{PATIENCE, wait_for};

/// A VMM that listens for tests, and ends with this.
struct Server {
    vmm: Child,
    directory: TempDir,
    monitor: Qmp,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = |name: &str| {
            let path = directory.path().join(name);
            format!("unix:{},server=on,wait=off", path.display())
        };
        let vmm = Command::new(env!("CARGO_BIN_EXE_mini-vmm"))
            .args(["-M", "pc", "-accel", "qtest", "-sandbox", "on"])
            .args(["-qtest", &socket("qtest"), "-qmp", &socket("qmp")])
            .spawn()
            .unwrap();
        let monitor = Qmp::new(connect(&directory.path().join("qmp")));
        Self {
            vmm,
            directory,
            monitor,
        }
    }

    fn peer(&self) -> UnixStream {
        connect(&self.directory.path().join("qtest"))
    }

    /// A peer that does as it should, and the monitor, are served.
    fn serves(&mut self) {
        let mut peer = BufReader::new(self.peer());
        let mut say = |line: &str| {
            peer.get_mut().write_all(line.as_bytes()).unwrap();
            let mut reply = String::new();
            peer.read_line(&mut reply).unwrap();
            reply
        };
        assert_eq!(say("endianness\n"), "OK little\n");
        assert_eq!(say("writel 0x1000 0x12345678\n"), "OK\n");
        assert_eq!(say("readl 0x1000\n"), "OK 0x0000000012345678\n");
        let status = self.monitor.execute("query-status", json!({})).unwrap();
        assert_eq!(status["status"], "running");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.vmm.kill();
        let _ = self.vmm.wait();
    }
}

/// Kilobytes of the process in memory.
fn resident(vmm: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", vmm.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

fn connect(path: &Path) -> UnixStream {
    let stream = wait_for("a socket", || UnixStream::connect(path).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn half_a_line_is_nothing_to_the_next_peer() {
    let mut server = Server::start();
    for half in ["writel 0x1000 0x1", "endian", "x", "read 0x1000 0x"] {
        let mut peer = server.peer();
        peer.write_all(half.as_bytes()).unwrap();
        drop(peer);
        server.serves();
    }
}

#[test]
fn what_is_no_verb_is_answered_line_by_line() {
    let mut server = Server::start();
    let mut peer = BufReader::new(server.peer());
    let lines: [&[u8]; 9] = [
        b"",
        b"\0\0\0",
        b"\xff\xfe read",
        b"read",
        b"read 0x1000 0xffffffffffffffff",
        b"read 0xffffffffffffffff 0x1000001",
        b"write 0x1000 0x4",
        b"write 0x1000 0x4 0x0g",
        b"outl 0xcf8 0x1ffffffff",
    ];
    for line in lines {
        peer.get_mut().write_all(&[line, b"\n"].concat()).unwrap();
        let mut reply = Vec::new();
        peer.read_until(b'\n', &mut reply).unwrap();
        let refused = reply.starts_with(b"FAIL ") || reply.starts_with(b"ERR ");
        assert!(refused, "{line:?}: {reply:?}");
    }
    drop(peer);
    server.serves();
}

/// It gets no more than one reply ahead, whatever it asks for.
#[test]
fn a_peer_that_does_not_read_is_not_listened_to() {
    let mut server = Server::start();
    let before = resident(&server.vmm);
    let mut peer = server.peer();
    peer.set_nonblocking(true).unwrap();
    let question = "read 0x0 0x100000\n".repeat(100);
    let mut asked = 0;
    while let Ok(some) = peer.write(question.as_bytes()) {
        asked += some;
        server.monitor.execute("query-status", json!({})).unwrap();
        assert!(asked < 64 << 20, "it is listened to for ever");
    }
    let grown = resident(&server.vmm).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} kB");
    // What it asked for is there, once it reads.
    peer.set_nonblocking(false).unwrap();
    let mut reply = vec![0; 5 + (2 << 20) + 1];
    peer.read_exact(&mut reply).unwrap();
    assert!(reply.starts_with(b"OK 0x0000") && reply.ends_with(b"00\n"));
    drop(peer);
    server.serves();
}
