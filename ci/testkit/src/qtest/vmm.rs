//! The process, and accesses in its machine.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Qmp;
use crate::{PATIENCE, wait_for};

/// A VMM that runs `-accel qtest`, ended when dropped.
pub struct Vmm {
    child: Child,
    accesses: BufReader<UnixStream>,
    qmp: Qmp,
    heap: u64,
    _directory: TempDir,
}

impl Vmm {
    /// Starts `program` with `arguments`, separated by spaces, and waits until it is there. It is in
    /// its sandbox, if they do not say otherwise.
    pub fn start(program: &str, arguments: &str) -> Self {
        Self::start_at(program, arguments, Stdio::inherit())
    }

    /// The same with `terminal` for its standard input.
    pub fn start_at(program: &str, arguments: &str, terminal: Stdio) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let (accesses, monitor) = (listen(&path("qtest")), listen(&path("qmp")));
        let mut command = Command::new(program);
        command
            .arg("-qtest")
            .arg(format!("unix:{}", path("qtest").display()))
            .args(["-qtest-log", "/dev/null", "-chardev"])
            .arg(format!("socket,path={},id=char0", path("qmp").display()))
            .args(["-mon", "chardev=char0,mode=control"])
            .args(["-display", "none", "-audio", "none", "-sandbox", "on"])
            .args(arguments.split_whitespace())
            .args(["-accel", "qtest"])
            .stdin(terminal);
        let mut child = command.spawn().unwrap();
        let accesses = accept(&accesses, &mut child);
        let monitor = accept(&monitor, &mut child);
        Self {
            child,
            accesses: BufReader::new(accesses),
            qmp: Qmp::new(monitor),
            heap: HEAP,
            _directory: directory,
        }
    }

    /// Its monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one line and returns the reply.
    pub fn say(&mut self, line: &str) -> String {
        let stream = self.accesses.get_mut();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        self.accesses.read_line(&mut reply).unwrap();
        reply.trim_end().to_owned()
    }

    /// Reads `width` bytes from `port`.
    pub fn input(&mut self, port: u16, width: usize) -> u32 {
        let reply = self.say(&format!("in{} {port:#x}", letter(width)));
        number(&reply) as u32
    }

    /// Writes the low `width` bytes of `value` to `port`.
    pub fn output(&mut self, port: u16, width: usize, value: u32) {
        let reply = self.say(&format!("out{} {port:#x} {value:#x}", letter(width)));
        assert_eq!(reply, "OK");
    }

    /// Reads `length` bytes of memory, or of a device's.
    pub fn read(&mut self, address: u64, length: usize) -> Vec<u8> {
        let reply = self.say(&format!("read {address:#x} {length:#x}"));
        let digits = reply.strip_prefix("OK 0x").expect("bytes").as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    /// Writes memory, or a device's.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let reply = self.say(&format!("write {address:#x} {:#x} 0x{digits}", bytes.len()));
        assert_eq!(reply, "OK");
    }

    /// Reads a little-endian number of `width` bytes.
    pub fn load(&mut self, address: u64, width: usize) -> u64 {
        let mut bytes = self.read(address, width);
        bytes.resize(8, 0);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Writes the low `width` bytes of `value`, little-endian.
    pub fn store(&mut self, address: u64, width: usize, value: u64) {
        self.write(address, &value.to_le_bytes()[..width]);
    }

    /// Zeroed memory of `length` bytes, aligned to a page, that nothing else has.
    pub fn allocate(&mut self, length: usize) -> u64 {
        let address = self.heap;
        self.heap += (length as u64).next_multiple_of(PAGE);
        address
    }

    /// Waits until `met`, which what a device does at its own pace makes true.
    pub fn wait(&mut self, what: &str, mut met: impl FnMut(&mut Self) -> bool) {
        wait_for(what, || met(self).then_some(()));
    }

    /// Ends it as a user would, and returns its exit status.
    pub fn terminate(mut self) -> Option<i32> {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A VMM that ends before it connects has said why on standard error.
fn accept(listener: &UnixListener, child: &mut Child) -> UnixStream {
    let (stream, _) = wait_for("the VMM to connect", || {
        assert_eq!(child.try_wait().unwrap(), None, "the VMM ended");
        listener.accept().ok()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn letter(width: usize) -> char {
    match width {
        1 => 'b',
        2 => 'w',
        4 => 'l',
        _ => panic!("no access of {width} bytes"),
    }
}

fn number(reply: &str) -> u64 {
    let digits = reply.strip_prefix("OK 0x");
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.unwrap_or_else(|| panic!("{reply}"))
}

/// Where memory is handed out from.
const HEAP: u64 = 0x10_0000;
const PAGE: u64 = 0x1000;
