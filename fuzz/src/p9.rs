//! The 9P transport, on a directory of the host and on the tree for tests, with requests that are
//! served whenever the host comes to it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arbitrary::{Arbitrary, Unstructured};
use tempfile::TempDir;
use testkit::TestBus;
use testkit::p9::{Body, Client, Set, Wire, message};
use virtio_9p::p9_server::{FileSystem, Limits, Local, LocalOptions, SecurityModel, Synth};
use virtio_9p::{Executor, NineP, NinePProps, Task};

use crate::device::{Subject, play};
use crate::forge::Few;

/// The 9P transport, whose client sends messages of any kind.
pub fn p9(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(look) = u.arbitrary::<u8>() else {
        return;
    };
    let model = match look % 4 {
        0 => return play(Share::new(Synth::new()), &mut u),
        1 => SecurityModel::None,
        2 => SecurityModel::MappedXattr,
        _ => SecurityModel::MappedFile,
    };
    let directory = Directory::new();
    let options = LocalOptions {
        security_model: model,
        read_only: look & 0x80 != 0,
        write_through: look & 0x40 != 0,
        descriptors: 64,
        ..LocalOptions::default()
    };
    if let Ok(local) = Local::new(&directory.root(), options) {
        play(Share::new(local), &mut u);
    }
    directory.check();
}

/// A shared directory, and a file beside it that nobody may touch.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let this = Self(
            memory
                .or_else(|_| tempfile::tempdir())
                .expect("a directory"),
        );
        let below = this.root().join("a/b");
        std::fs::create_dir_all(below).expect("directories");
        std::fs::write(this.root().join("c"), "contents").expect("a file");
        std::os::unix::fs::symlink("../secret", this.root().join("d")).expect("a link");
        std::fs::write(this.secret(), "secret").expect("a file");
        this
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn secret(&self) -> PathBuf {
        self.0.path().join("secret")
    }

    fn check(&self) {
        assert_eq!(std::fs::read(self.secret()).expect("the file"), b"secret");
        let above = std::fs::read_dir(self.0.path()).expect("the directory");
        assert_eq!(above.count(), 2, "something is outside");
    }
}

/// A share, and requests that wait for the host.
struct Share<F> {
    files: Arc<F>,
    waiting: Waiting,
}

#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<VecDeque<Task>>>);

/// A message of the client.
#[derive(Arbitrary, Debug)]
pub(crate) struct Words {
    kind: Kind,
    fids: [u8; 2],
    names: [u8; 2],
    numbers: [u32; 2],
    offset: u64,
    tag: u8,
    cut: Option<u8>,
    tail: Few<u8>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Known(u8),
    Any(u8),
}

/// What becomes of a request that waits.
#[derive(Arbitrary, Debug)]
pub(crate) enum Event {
    Serve,
    ServeLast,
    Lose,
}

impl<F: FileSystem> Share<F> {
    fn new(files: F) -> Self {
        Self {
            files: Arc::new(files),
            waiting: Waiting::default(),
        }
    }
}

impl Waiting {
    fn take(&self, last: bool) -> Option<Task> {
        let mut tasks = self.0.lock().expect("no panic");
        match last {
            true => tasks.pop_back(),
            false => tasks.pop_front(),
        }
    }
}

impl Executor for Waiting {
    fn execute(&self, task: Task) -> Result<(), Task> {
        self.0.lock().expect("no panic").push_back(task);
        Ok(())
    }
}

impl<F: FileSystem> Subject for Share<F> {
    type Device = NineP<F>;
    type Words = Words;
    type Host = Event;

    fn device(&mut self) -> NineP<F> {
        let props = NinePProps::default().mount_tag(Some("fuzz".to_owned()));
        let limits = Limits {
            fids: 32,
            xattr_fids: 4,
            locks: 8,
            ..Limits::default()
        };
        // What is not handed over in time is served by a thread: only the client can end a wait.
        let device = NineP::new(&props, Arc::clone(&self.files), limits).expect("good properties");
        device.with_executor(Arc::new(self.waiting.clone()))
    }

    fn words(&self, words: Words) -> Vec<u8> {
        words.message()
    }

    fn host(&mut self, event: Event) {
        let task = self.waiting.take(matches!(event, Event::ServeLast));
        match (task, event) {
            (Some(task), Event::Serve | Event::ServeLast) => drop(std::thread::spawn(task)),
            (task, _) => drop(task),
        }
    }

    fn release(&mut self) {
        // On threads: what waits for the client ends when the device is stopped.
        while let Some(task) = self.waiting.take(false) {
            drop(std::thread::spawn(task));
        }
    }

    fn probe(&mut self, bus: &mut TestBus) {
        let mut client = Client::attached(OnBus(bus));
        client.walk(0, 1, &[]).expect("a clone of the root");
        client.clunk(1).expect("a fid of ours");
    }
}

struct OnBus<'b>(&'b mut TestBus);

impl Wire for OnBus<'_> {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let response = self.0.request(0, &[request], &[8192]);
        response.bytes[..response.len as usize].to_vec()
    }
}

impl Words {
    fn message(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Known(index) => KINDS[usize::from(index) % KINDS.len()],
            Kind::Any(kind) => kind,
        };
        let mut bytes = message(kind, self.tag.into(), &self.body(kind));
        if let Some(cut) = self.cut {
            bytes.truncate(cut.into());
        }
        bytes
    }

    /// The fields of each request, in their order.
    fn body(&self, kind: u8) -> Body {
        let [fid, other] = self.fids.map(|fid| u32::from(fid % 8));
        let [name, second] = self
            .names
            .map(|name| NAMES[usize::from(name) % NAMES.len()]);
        let [a, b] = self.numbers;
        let body = Body::new().u32(fid);
        match kind {
            100 => Body::new().u32(8192).string(VERSIONS[a as usize % 2]),
            104 => body.u32(u32::MAX).string("").string("").u32(a),
            108 => Body::new().u16(a as u16),
            110 => body.u32(other).u16(2).string(name).string(second),
            12 => body.u32(a & 0o7003),
            14 => body
                .string(name)
                .u32(a & 0o7003 | 0o100)
                .u32(b & 0o7777)
                .u32(0),
            16 => body.string(name).string(second).u32(0),
            18 => body.string(name).u32(a).u32(b).u32(0).u32(0),
            20 => body.u32(other).string(name),
            26 => {
                let body = body.u32(a).u32(b).u32(b).u32(b).u64(self.offset & 0xffff);
                [self.offset; 4].into_iter().fold(body, Body::u64)
            }
            30 => body.u32(other).string(XATTRS[a as usize % XATTRS.len()]),
            32 => body
                .string(XATTRS[a as usize % XATTRS.len()])
                .u64((b & 0x1ffff).into())
                .u32(0),
            40 | 116 => body.u64(self.offset).u32(a),
            118 => Body::write(fid, self.offset & 0xffff_ffff, &self.tail.0),
            52 => body
                .u8(a as u8 & 3)
                .u32(0)
                .u64(self.offset)
                .u64(b.into())
                .u32(1)
                .string("c"),
            54 => body
                .u8(a as u8 & 3)
                .u64(self.offset)
                .u64(b.into())
                .u32(2)
                .string("c"),
            70 => body.u32(other).string(name),
            72 => body.string(name).u32(a & 0o7777).u32(0),
            74 => body.string(name).u32(other).string(second),
            76 => body.string(name).u32(a & 0x200),
            24 => body.u64(self.offset),
            50 => body.u32(a),
            112 => body.u8(a as u8),
            114 => body
                .string(name)
                .u32(a)
                .u8(b as u8)
                .string(EXTENSIONS[b as usize % EXTENSIONS.len()]),
            126 => {
                let set = Set {
                    mode: (a & 1 != 0).then_some(b),
                    size: (a & 2 != 0).then_some(self.offset & 0xffff),
                    mtime: (a & 4 != 0).then_some(self.offset),
                    uid: (a & 8 != 0).then_some(b),
                    gid: None,
                    name: (a & 16 != 0).then_some(second),
                };
                Body::wstat(fid, set)
            }
            _ => self.tail.0.iter().fold(body, |body, byte| body.u8(*byte)),
        }
    }
}

const KINDS: [u8; 36] = [
    8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 100, 104, 108, 110,
    110, 116, 118, 118, 120, 122, 100, 112, 114, 114, 116, 124, 126,
];
const VERSIONS: [&str; 2] = ["9P2000.L", "9P2000.u"];
/// What a Tcreate says of a link, another name or a device.
const EXTENSIONS: [&str; 5] = ["", "../secret", "1", "c 1 3", "b 7 0"];
const NAMES: [&str; 12] = [
    "a",
    "b",
    "c",
    "d",
    "..",
    ".",
    "",
    "a/b",
    "FLUSH",
    "WRITE",
    "ReadDirDir",
    ".virtfs_metadata",
];
const XATTRS: [&str; 5] = [
    "",
    "user.a",
    "user.virtfs.mode",
    "system.posix_acl_access",
    "trusted.a",
];
