//! Shared directories of the whole VMM, driven over qtest: what QEMU's own tests ask of `-fsdev
//! synth` and `-fsdev local`, with the host's files looked at.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::p9::{Body, Client, Set, Wire, message};
use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};

/// Messages on the queue of a device.
struct OnQueue {
    vmm: Vmm,
    device: VirtioPci,
    queue: VirtioQueue,
}

impl OnQueue {
    fn start(share: &str) -> Self {
        let arguments = format!(
            "-M pc -m 512 -fsdev {share},id=fsdev0 \
             -device virtio-9p-pci,fsdev=fsdev0,addr=04.0,mount_tag=qtest"
        );
        let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments);
        let device = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        device.negotiate(&mut vmm, !(1 << 29 | 1 << 30));
        let queue = device.queue(&mut vmm, 0, None);
        device.start(&mut vmm);
        Self { vmm, device, queue }
    }

    /// Makes a request available; where its reply will be.
    fn send(&mut self, request: &[u8]) -> u64 {
        let parts = [Part::Out(request), Part::In(ROOM)];
        let places = self.queue.add(&mut self.vmm, &parts);
        self.queue.kick(&mut self.vmm);
        places[1]
    }
}

impl Wire for OnQueue {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let reply = self.send(request);
        let length = self.queue.used(&mut self.vmm);
        self.vmm.read(reply, length as usize)
    }
}

fn synth() -> Client<OnQueue> {
    Client::attached(OnQueue::start("synth"))
}

/// A directory of the host under the security model of QEMU's tests.
struct Local {
    directory: TempDir,
}

impl Local {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn client(&self, more: &str) -> Client<OnQueue> {
        let path = self.directory.path().display();
        Client::attached(OnQueue::start(&format!("local,path={path},{more}")))
    }

    fn mapped(&self) -> Client<OnQueue> {
        self.client("security_model=mapped-xattr")
    }
}

/// A client with a directory `dir`, which is fid 1, and in it `file` if that is wanted.
fn with_directory(local: &Local, dir: &str, file: Option<&str>) -> Client<OnQueue> {
    let mut client = local.mapped();
    client.mkdir(0, dir, 0o750).unwrap();
    client.walk(0, 1, &[dir.as_bytes()]).unwrap();
    assert!(local.path(dir).is_dir());
    if let Some(file) = file {
        client.walk(1, 2, &[]).unwrap();
        client.lcreate(2, file, CREAT, 0o750).unwrap();
        client.clunk(2).unwrap();
        let made = fs::symlink_metadata(local.path(dir).join(file)).unwrap();
        assert!(made.file_type().is_file());
    }
    client
}

#[test]
fn config_has_the_tag() {
    let mut wire = OnQueue::start("synth");
    let (vmm, device) = (&mut wire.vmm, wire.device);
    assert_eq!(device.config(vmm, 0, 2), 5);
    let tag: Vec<_> = (2..7).map(|at| device.config(vmm, at, 1) as u8).collect();
    assert_eq!(tag, b"qtest");
    assert_eq!(wire.vmm.terminate(), Some(0));
}

#[test]
fn synth_version_and_attach() {
    let mut client = synth();
    assert_eq!(client.getattr(0).unwrap().qid.kind, 0x80);
    assert_eq!(client.wire.vmm.terminate(), Some(0));
}

#[test]
fn synth_walk() {
    let mut client = synth();
    let names: Vec<_> = (0..16).map(|level| format!("WALK{level}")).collect();
    let names: Vec<_> = names.iter().map(String::as_bytes).collect();
    assert_eq!(client.walk(0, 1, &names).unwrap().len(), 16);
    assert_eq!(client.walk(0, 2, &[b" /"]), Err(ENOENT), "no slash");
    assert_eq!(client.walk(0, 2, &[b"non-existent"]), Err(ENOENT));
    let root = client.getattr(0).unwrap().qid;
    let half = client.walk(0, 2, &[b"WALK0", b"non-existent"]).unwrap();
    assert_eq!(half.len(), 1);
    assert_ne!(half[0], root);
    assert_eq!(client.getattr(2), Err(ENOENT));
    assert!(client.walk(0, 2, &[]).unwrap().is_empty());
    assert_eq!(client.getattr(2).unwrap().qid, root);
    assert_eq!(client.walk(0, 3, &[b".."]).unwrap(), [root]);
}

#[test]
fn synth_open_and_write() {
    let mut client = synth();
    client.walk(0, 1, &[b"LOPEN"]).unwrap();
    client.lopen(1, WRONLY).unwrap();
    client.walk(0, 2, &[b"WRITE"]).unwrap();
    client.lopen(2, WRONLY).unwrap();
    assert_eq!(client.write(2, 0, &[0; 16 << 10]), Ok(16 << 10));
}

/// A write that waits is given up: it is used without a reply, and then the flush is answered.
#[test]
fn synth_flush_success() {
    let mut client = synth();
    client.walk(0, 1, &[b"FLUSH"]).unwrap();
    client.lopen(1, WRONLY).unwrap();
    let wire = &mut client.wire;
    wire.send(&message(118, 7, &Body::write(1, 0, &[1])));
    let reply = wire.send(&message(108, 8, &Body::new().u16(7)));
    assert_eq!(wire.queue.used(&mut wire.vmm), 0);
    assert_eq!(wire.queue.used(&mut wire.vmm), 7);
    assert_eq!(wire.vmm.read(reply, 7), [7, 0, 0, 0, 109, 8, 0]);
}

#[test]
fn synth_flush_ignored() {
    let mut client = synth();
    client.walk(0, 1, &[b"FLUSH"]).unwrap();
    client.lopen(1, WRONLY).unwrap();
    let wire = &mut client.wire;
    let write = wire.send(&message(118, 7, &Body::write(1, 0, &[0])));
    let flush = wire.send(&message(108, 8, &Body::new().u16(7)));
    assert_eq!(wire.queue.used(&mut wire.vmm), 11);
    let both = wire.queue.has_used(&mut wire.vmm);
    assert!(both, "seen when it was sent, answered with the write");
    assert_eq!(wire.queue.used(&mut wire.vmm), 7);
    assert_eq!(
        wire.vmm.read(write, 11),
        [11, 0, 0, 0, 119, 7, 0, 1, 0, 0, 0]
    );
    assert_eq!(wire.vmm.read(flush, 7), [7, 0, 0, 0, 109, 8, 0]);
}

#[test]
fn synth_readdir_at_once_and_in_parts() {
    let mut client = synth();
    client.walk(0, 1, &[b"ReadDirDir"]).unwrap();
    for count in [(32 << 10) - 11, 512, 256, 128] {
        let entries = client.list(1, 2, count).unwrap();
        let has = |name: &str| entries.iter().any(|entry| entry.name == name.as_bytes());
        assert_eq!(entries.len(), 102, "{count}");
        assert_eq!(entries[0].name, b"ReadDirFile99", "the newest");
        assert_eq!(
            (&*entries[100].name, &*entries[101].name),
            (&b"."[..], &b".."[..])
        );
        assert!((0..100).all(|number| has(&format!("ReadDirFile{number}"))));
    }
}

#[test]
fn local_create_and_unlinkat_dir() {
    let local = Local::new();
    let mut client = with_directory(&local, "01", None);
    assert_eq!(client.getattr(1).unwrap().mode, 0o040_750);
    client.unlinkat(0, "01", REMOVEDIR).unwrap();
    assert!(!local.path("01").exists());
    assert_eq!(client.wire.vmm.terminate(), Some(0));
}

#[test]
fn local_create_and_unlinkat_file() {
    let local = Local::new();
    let mut client = with_directory(&local, "03", Some("1st_file"));
    client.unlinkat(1, "1st_file", 0).unwrap();
    assert!(!local.path("03/1st_file").exists());
}

#[test]
fn local_symlink_and_unlinkat_symlink() {
    let local = Local::new();
    let mut client = with_directory(&local, "05", Some("real_file"));
    client.symlink(1, "symlink_file", "real_file").unwrap();
    assert!(local.path("05/symlink_file").exists());
    client.walk(1, 2, &[b"symlink_file"]).unwrap();
    assert_eq!(client.readlink(2).unwrap(), b"real_file");
    client.unlinkat(1, "symlink_file", 0).unwrap();
    assert!(!local.path("05/symlink_file").exists());
}

#[test]
fn local_hardlink_and_unlinkat_hardlink() {
    let local = Local::new();
    let mut client = with_directory(&local, "07", Some("real_file"));
    client.walk(1, 2, &[b"real_file"]).unwrap();
    client.link(1, 2, "hardlink_file").unwrap();
    let stat = |name| fs::metadata(local.path(name)).unwrap();
    let (real, link) = (stat("07/real_file"), stat("07/hardlink_file"));
    assert_eq!((real.dev(), real.ino()), (link.dev(), link.ino()));
    client.unlinkat(1, "hardlink_file", 0).unwrap();
    assert!(!local.path("07/hardlink_file").exists());
    assert!(local.path("07/real_file").exists());
}

#[test]
fn local_use_after_unlink() {
    let local = Local::new();
    let mut client = with_directory(&local, "09", Some("doa_file"));
    client.walk(1, 2, &[b"doa_file"]).unwrap();
    client.lopen(2, WRONLY).unwrap();
    client.unlinkat(1, "doa_file", 0).unwrap();
    client.getattr(2).unwrap();
    assert_eq!(client.write(2, 0, &[0; 16 << 10]), Ok(16 << 10));
    let size = Set {
        size: Some(2001),
        ..Set::default()
    };
    client.setattr(2, size).unwrap();
    assert_eq!(client.getattr(2).unwrap().size, 2001);
}

#[test]
fn local_deep_absolute_path() {
    let local = Local::new();
    let mut client = local.mapped();
    let name = "A".repeat(255);
    let mut fid = 0;
    for _ in 0..=65536 / 256 {
        client.mkdir(fid, &name, 0o750).unwrap();
        client.walk(fid, fid + 1, &[name.as_bytes()]).unwrap();
        fid += 1;
    }
    assert_eq!(client.getattr(fid).unwrap().mode, 0o040_750);
}

/// So many attributes may be under way, and one more is refused.
#[test]
fn local_xattr_limit() {
    let local = Local::new();
    fs::write(local.path("WRITE"), "").unwrap();
    let mut client = local.client("security_model=mapped-xattr,max_xattr=100");
    (1..=100).for_each(|fid| begin_xattr(&mut client, fid).unwrap());
    assert_eq!(begin_xattr(&mut client, 101), Err(ENOSPC));
    (1..=101).for_each(|fid| client.clunk(fid).unwrap());
    client.walk(0, 1, &[b"WRITE"]).unwrap();
    assert_eq!(client.xattr(1, 2, "user.test").unwrap(), [b'X'; 2048]);
}

/// The tree shows how many there are. Without a limit of their own there may be more than by default.
#[test]
fn synth_xattr_limit() {
    for (option, many, next) in [
        (",max_xattr=100", 100, Err(ENOSPC)),
        (",max_xattr=0", 1124, Ok(())),
    ] {
        let mut client = Client::attached(OnQueue::start(&format!("synth{option}")));
        client.walk(0, 0x8000, &[b"stat", b"xattr_count"]).unwrap();
        client.lopen(0x8000, 0).unwrap();
        (1..=many).for_each(|fid| begin_xattr(&mut client, fid).unwrap());
        assert_eq!(begin_xattr(&mut client, many + 1), next);
        let count = u64::from(many) + u64::from(next.is_ok());
        assert_eq!(client.read(0x8000, 0, 8).unwrap(), count.to_le_bytes());
        (1..=many + 1).for_each(|fid| client.clunk(fid).unwrap());
        assert_eq!(client.read(0x8000, 0, 8).unwrap(), [0; 8]);
    }
}

/// Has `fid` stand for an attribute of a file, all of whose value is there.
fn begin_xattr(client: &mut Client<OnQueue>, fid: u32) -> Result<(), u32> {
    client.walk(0, fid, &[b"WRITE"])?;
    client.xattrcreate(fid, "user.test", 2048, 0)?;
    assert_eq!(client.write(fid, 0, &[b'X'; 2048]), Ok(2048));
    Ok(())
}

/// The sandbox has every call that a client can bring about, under every security model.
#[test]
fn every_request_passes_the_sandbox() {
    for model in ["none", "passthrough", "mapped-xattr", "mapped-file"] {
        if model == "passthrough" && !rustix::process::geteuid().is_root() {
            continue;
        }
        let local = Local::new();
        let more = format!("security_model={model},writeout=immediate,multidevs=remap");
        let mut client = local.client(&more);
        client.mkdir(0, "a", 0o755).unwrap();
        client.mkdir(0, "b", 0o755).unwrap();
        client.walk(0, 1, &[b"a"]).unwrap();
        client.walk(0, 2, &[b"b"]).unwrap();
        client.walk(1, 3, &[]).unwrap();
        client.lcreate(3, "file", RDWR | CREAT, 0o640).unwrap();
        assert_eq!(client.write(3, 0, b"data"), Ok(4));
        client.fsync(3).unwrap();
        assert_eq!(client.read(3, 0, 9).unwrap(), b"data");
        assert_eq!(client.lock(3, 1, 0, 0, 1), Ok(0));
        let set = Set {
            mode: Some(0o600),
            uid: Some(0),
            size: Some(3),
            mtime: Some(1),
            gid: None,
            ..Set::default()
        };
        client.setattr(3, set).unwrap();
        client.link(2, 3, "other").unwrap();
        client.symlink(1, "link", "file").unwrap();
        client.walk(1, 4, &[b"link"]).unwrap();
        assert_eq!(client.readlink(4).unwrap(), b"file");
        client.mknod(1, "fifo", 0o010_600, (0, 0)).unwrap();
        let fifo = fs::symlink_metadata(local.path("a/fifo")).unwrap();
        assert_eq!(fifo.file_type().is_fifo(), !model.starts_with("mapped"));
        client.walk(1, 5, &[b"file"]).unwrap();
        client.set_xattr(5, 9, "user.x", b"value").unwrap();
        assert_eq!(client.xattr(5, 9, "user.x").unwrap(), b"value");
        assert_eq!(client.xattr(5, 9, "").unwrap(), b"user.x\0");
        client.set_xattr(5, 9, "user.x", b"").unwrap();
        client.renameat((1, "file"), (2, "moved")).unwrap();
        client.rename(5, 1, "again").unwrap();
        assert!(client.statfs(0).unwrap() > 0);
        assert_eq!(client.list(1, 9, 4096).unwrap().len(), 5, "{model}");
        client.unlinkat(1, "again", 0).unwrap();
        client.remove(4).unwrap();
        client.unlinkat(1, "fifo", 0).unwrap();
        client.unlinkat(2, "other", 0).unwrap();
        client.unlinkat(0, "a", REMOVEDIR).unwrap();
        assert_eq!(client.wire.vmm.terminate(), Some(0), "{model}");
        assert!(local.path("b").exists() && !local.path("a").exists());
    }
}

/// Two devices on one share, and a share that is read only, by QEMU's short form.
#[test]
fn the_short_form_is_a_device_in_a_free_slot() {
    let local = Local::new();
    fs::write(local.path("file"), "data").unwrap();
    let path = local.directory.path().display();
    let arguments =
        format!("-M pc -virtfs local,path={path},mount_tag=short,security_model=none,readonly=on");
    let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &arguments);
    let slot = (1..32).find(|slot| {
        let found = testkit::qtest::PciDevice::find(&mut vmm, *slot);
        found.is_some_and(|found| found.read(&mut vmm, 0, 4) == 0x1009_1af4)
    });
    let device = VirtioPci::find(&mut vmm, slot.expect("a 9P transport"), 0xe000_0000);
    device.negotiate(&mut vmm, !(1 << 29 | 1 << 30));
    let queue = device.queue(&mut vmm, 0, None);
    device.start(&mut vmm);
    let mut client = Client::attached(OnQueue { vmm, device, queue });
    client.walk(0, 1, &[b"file"]).unwrap();
    assert_eq!(client.lopen(1, WRONLY), Err(30), "EROFS");
    client.lopen(1, 0).unwrap();
    assert_eq!(client.read(1, 0, 9).unwrap(), b"data");
}

fn refused(arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mini-vmm"));
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("qtest");
    let _listener = UnixListener::bind(&socket).unwrap();
    command.args(["-accel", "qtest", "-M", "pc", "-qtest"]);
    command.arg(format!("unix:{}", socket.display()));
    let Output { status, stderr, .. } = command.args(arguments.split(' ')).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{arguments}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments}: {text}");
    text
}

#[test]
fn what_is_wrong_is_one_line_and_status_2() {
    let device = "-device virtio-9p-pci,fsdev=fs0";
    for (arguments, expected) in [
        (
            "-fsdev local,id=fs0,path=/nowhere/at/all,security_model=none".to_owned(),
            "No such file",
        ),
        (
            "-fsdev local,id=fs0,path=/dev/null,security_model=none".to_owned(),
            "Not a directory",
        ),
        (
            "-fsdev local,id=fs0,path=/tmp,security_model=maped".to_owned(),
            "mapped-xattr",
        ),
        (
            format!("-fsdev synth,id=fs0 {device},mount_tag={}", "t".repeat(32)),
            "1 to 31 bytes",
        ),
        (format!("-fsdev synth,id=fs0 {device}"), "1 to 31 bytes"),
        (
            format!("-fsdev synth,id=fs1 {device},mount_tag=t"),
            "no such fsdev; accepted: fs1",
        ),
        (
            "-fsdev synth,id=fs0 -fsdev synth,id=fs0".to_owned(),
            "given twice",
        ),
        (
            "-device virtio-9p-pci,mount_tag=t".to_owned(),
            "no such fsdev",
        ),
    ] {
        let text = refused(&arguments);
        assert!(text.contains(expected), "{arguments}: {text}");
    }
}

/// More than the most that QEMU's tests ask for at once.
const ROOM: usize = 32 << 10;
const WRONLY: u32 = 1;
const RDWR: u32 = 2;
const CREAT: u32 = 0o100;
const REMOVEDIR: u32 = 0x200;
const ENOENT: u32 = 2;
const ENOSPC: u32 = 28;
