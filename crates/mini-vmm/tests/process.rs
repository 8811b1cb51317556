//! The process: exit status, one line on standard error, and nothing left behind.

mod kernel;

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use testkit::wait_for;
use vmm_sys_util::tempdir::TempDir;

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mini-vmm"))
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
}

#[test]
fn bad_options_end_with_status_2_and_one_line() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.as_path().join("text"), "no kernel").unwrap();
    std::fs::write(dir.as_path().join("kernel"), kernel::header()).unwrap();
    let fifo = dir.as_path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    for (args, expected) in [
        (
            &["-kernel", "none"][..],
            "mini-vmm: -kernel none: No such file or directory",
        ),
        (
            &["-kernel", "text"],
            "mini-vmm: -kernel text: not a kernel; accepted: ",
        ),
        (&["-kernel", "."], "mini-vmm: -kernel .: Is a directory"),
        (
            &["-kernel", "fifo"],
            "mini-vmm: -kernel fifo: neither a regular file nor a block device; accepted: ",
        ),
        (
            &["-kernel", "kernel", "-initrd", "/dev/zero"],
            "mini-vmm: -initrd /dev/zero: neither a regular file nor a block device; accepted: ",
        ),
        (
            &["-kernel", "none", "-drive", "id=nobodys,file=none"],
            "mini-vmm: -kernel none: No such file or directory",
        ),
        (
            &["-kernel", "text", "-machine", "kernel-store=text"],
            "mini-vmm: -machine kernel-store=text: not a directory; accepted: off, or a directory",
        ),
        (&["-device", "help,", "-no-such"], ""),
        (
            &["-device", "pvpanik,help"],
            "mini-vmm: -device pvpanik: unknown type; accepted: pvpanic",
        ),
        (
            &["-kernel", "kernel", "-sandbox", "on,allow=none"],
            "mini-vmm: -sandbox allow=none: No such file or directory",
        ),
        (&["-kernel", "a\nb"], "mini-vmm: -kernel a?b: "),
    ] {
        let output = run(dir.as_path(), args);
        let error = String::from_utf8(output.stderr).unwrap();
        if expected.is_empty() {
            assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    }
}

/// Ports that somebody has, and an interface that takes more rights than ours.
#[test]
fn networks_that_cannot_be_had_are_named() {
    let dir = TempDir::new().unwrap();
    let everybody = Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.as_path(), everybody).unwrap();
    let vmm = dir.as_path().join("mini-vmm");
    // By another process: a child of some other test would hold this one's descriptor for a while, and
    // what is open for writing cannot be executed.
    let mut copy = Command::new("cp");
    copy.args([Path::new(env!("CARGO_BIN_EXE_mini-vmm")), &vmm]);
    assert!(copy.status().unwrap().success());
    let (tcp, udp) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let (tcp, udp) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    for (netdev, expected) in [
        (format!("socket,listen={tcp}"), "Address already in use"),
        (
            format!("socket,udp=127.0.0.1:9,localaddr={udp}"),
            "Address already in use",
        ),
        ("tap,ifname=mini-vmm0".to_owned(), "ermi"),
    ] {
        let mut command = Command::new(&vmm);
        command.args([
            "-M",
            "pc",
            "-accel",
            "qtest",
            "-netdev",
            &format!("{netdev},id=n"),
        ]);
        command.args(["-device", "virtio-net-pci,netdev=n"]);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{netdev}: {error}");
        assert!(error.starts_with("mini-vmm: -netdev "), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let there = |name: &str, text: &[u8]| std::fs::write(dir.as_path().join(name), text).unwrap();
    there("text", b"no kernel");
    there("kernel", &kernel::header());
    there("log", b"of the last machine");
    there("disk", &[0; 65536]);
    let socket = "unix:sock,server=on,wait=off";
    let zones = "id=d,file=disk,x-zoned.zone_size=32K,x-zoned.record=record";
    let device = "-device virtio-rng-pci period=0";
    for (kernel, more, wrong) in [
        ("text", &["-pidfile", "pid"][..], "-kernel text"),
        ("kernel", &["-serial", "file:new"], device),
        ("kernel", &["-serial", "file:log"], device),
        ("kernel", &["-drive", zones], device),
    ] {
        let args = ["-kernel", kernel, "-serial", socket];
        let last = ["-device", "virtio-rng-pci,period=0"];
        let output = run(dir.as_path(), &[&args, more, &last].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(&format!("mini-vmm: {wrong}")), "{error}");
    }
    let left = std::fs::read_dir(dir.as_path()).unwrap();
    let mut left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, ["disk", "kernel", "log", "text"]);
    let log = std::fs::read_to_string(dir.as_path().join("log"));
    assert_eq!(log.unwrap(), "of the last machine");
}

/// QEMU's own tests start every VMM so.
#[test]
fn it_ends_in_order_with_who_started_it() {
    let dir = TempDir::new().unwrap();
    let started = Command::new("sh")
        .args([
            "-c",
            "\"$0\" \"$@\" & until [ -s pid ]; do sleep 0.01; done",
        ])
        .arg(env!("CARGO_BIN_EXE_mini-vmm"))
        .args(["-M", "none", "-accel", "qtest", "-pidfile", "pid"])
        .args(["-run-with", "exit-with-parent=on"])
        .current_dir(dir.as_path())
        .status();
    assert!(started.unwrap().success());
    let ended = || (!dir.as_path().join("pid").exists()).then_some(());
    wait_for("the end", ended);
}

#[test]
fn nobody_need_read_what_is_told() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_mini-vmm"))
        .args(["-kernel", "none"])
        .stderr(writer)
        .status();
    assert_eq!(status.unwrap().code(), Some(2));
}

#[test]
fn paths_are_not_taken_for_others() {
    let output = Command::new(env!("CARGO_BIN_EXE_mini-vmm"))
        .arg("-kernel")
        .arg(OsStr::from_bytes(b"caf\xe9"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = "mini-vmm: caf\u{fffd}: not UTF-8; accepted: options and paths in UTF-8\n";
    assert_eq!(error, expected);
}

#[test]
fn a_source_of_entropy_is_a_file_and_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let fifo = dir.as_path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    std::fs::write(dir.as_path().join("kernel"), kernel::header()).unwrap();
    for (source, expected) in [
        (
            ".",
            "mini-vmm: -object rng-random filename=.: is a directory; accepted: ",
        ),
        (
            "fifo",
            "mini-vmm: -device virtio-rng-pci period=0: not accepted",
        ),
    ] {
        let object = format!("rng-random,id=r,filename={source}");
        let args = ["-kernel", "kernel", "-serial", "none", "-object", &object];
        let more = ["-device", "virtio-rng-pci,rng=r,period=0"];
        let output = run(dir.as_path(), &[&args[..], &more].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    let output = run(Path::new("/"), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Usage:",
        "-kernel FILE",
        "-device",
        "Examples:",
        "Exit status:",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

/// A pager may have seen enough; a disk that is full is another matter.
#[test]
fn help_need_not_be_read_but_is_not_lost_in_silence() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for (stdout, status) in [(Stdio::from(writer), 0), (full.into(), 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mini-vmm"));
        let output = command.arg("--help").stdout(stdout).stderr(Stdio::piped());
        let output = output.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert_eq!(output.stderr.is_empty(), status == 0, "{output:?}");
    }
}

/// Who may next to nothing.
const NOBODY: u32 = 65534;
