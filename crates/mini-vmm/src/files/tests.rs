//! The broker, which is a process of its own: tests with threads leave it to one without.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use vmm_sys_util::tempdir::TempDir;

use super::*;

/// Runs the rest of `test` in a process of its own, once; true in that process.
fn apart(test: &str) -> bool {
    const CHILD: &str = "MINI_VMM_TEST_CHILD";
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let command = command.args(["--exact", &format!("files::tests::{test}"), "--nocapture"]);
    let output = command.env(CHILD, test).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    false
}

fn sealed(directories: &[&Path], endpoints: Vec<Endpoint>) -> Files {
    let directories: Vec<_> = directories.iter().map(|path| path.to_path_buf()).collect();
    let files = Files::new(Some(Broker::start(&directories, endpoints).unwrap()));
    files.seal();
    files
}

#[test]
fn a_sealed_process_opens_what_is_below_its_directories_and_no_more() {
    if !apart("a_sealed_process_opens_what_is_below_its_directories_and_no_more") {
        return;
    }
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (inside, outside) = (inside.as_path(), outside.as_path());
    std::fs::write(outside.join("secret"), "no").unwrap();
    std::fs::write(inside.join("file"), "yes").unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), inside.join("link")).unwrap();
    std::os::unix::fs::symlink(outside, inside.join("away")).unwrap();
    std::os::unix::fs::symlink("file", inside.join("near")).unwrap();
    let files = sealed(&[inside], Vec::new());
    let open = |path: &Path, flags| files.open(path, flags);
    for name in ["file", "near", "./file", "away/../file"] {
        let mut text = String::new();
        let mut file = open(&inside.join(name), OFlags::RDONLY).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "yes", "{name}");
    }
    for path in [
        outside.join("secret"),
        inside.join("link"),
        inside.join("away/secret"),
        inside
            .join("..")
            .join(outside.file_name().unwrap())
            .join("secret"),
        "/etc/hostname".into(),
        "/proc/self/mem".into(),
    ] {
        assert!(open(&path, OFlags::RDONLY).is_err(), "{}", path.display());
    }
    let made = inside.join("made");
    let mut file = open(&made, OFlags::RDWR | OFlags::CREATE).unwrap();
    file.write_all(b"new").unwrap();
    assert_eq!(std::fs::read(&made).unwrap(), b"new");
    assert_eq!(
        open(&inside.join("none"), OFlags::RDONLY)
            .unwrap_err()
            .kind(),
        io::ErrorKind::NotFound
    );
    assert!(open(Path::new(&"x".repeat(9000)), OFlags::RDONLY).is_err());
    assert!(
        open(&inside.join("file"), OFlags::RDONLY).is_ok(),
        "it goes on"
    );
}

#[test]
fn a_sealed_process_has_its_sockets_made() {
    if !apart("a_sealed_process_has_its_sockets_made") {
        return;
    }
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (inside, outside) = (inside.as_path(), outside.as_path());
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let known = Endpoint::Tcp {
        host: "127.0.0.1".to_owned(),
        port: tcp.local_addr().unwrap().port(),
    };
    let files = sealed(&[inside], vec![known.clone()]);
    let listener = files.listen(&Endpoint::Unix(inside.join("s"))).unwrap();
    let mut client = UnixStream::from(files.connect(&Endpoint::Unix(inside.join("s"))).unwrap());
    let server = rustix::net::accept(&listener).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(UnixStream::from(server).read(&mut [0; 2]).unwrap(), 1);
    assert!(files.listen(&Endpoint::Unix(outside.join("s"))).is_err());
    files.connect(&known).unwrap();
    tcp.accept().unwrap();
    let other = Endpoint::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    assert!(files.connect(&other).is_err());
    assert!(files.listen(&known).is_err());
}

#[test]
fn a_set_gives_the_descriptor_whose_mode_is_asked_for() {
    let files = Files::default();
    let null = |flags| rustix::fs::open("/dev/null", flags, Mode::empty()).unwrap();
    let passed = |fd| Passed { fd, opaque: None };
    let mut sets = files.passed();
    let set = sets.sets.add(None, passed(null(OFlags::RDONLY))).unwrap();
    assert_eq!(
        sets.sets
            .add(Some(set), passed(null(OFlags::WRONLY)))
            .unwrap(),
        set
    );
    drop(sets);
    files.seal();
    let path = format!("/dev/fdset/{set}");
    assert!(files.open(path.as_ref(), OFlags::RDWR).is_err());
    assert_eq!(
        files
            .open(path.as_ref(), OFlags::WRONLY)
            .unwrap()
            .write(b"x")
            .unwrap(),
        1
    );
    assert!(files.open("/dev/fdset/9".as_ref(), OFlags::RDONLY).is_err());
    assert!(
        files.open("/dev/null".as_ref(), OFlags::RDONLY).is_err(),
        "sealed"
    );
    let mut sets = files.passed();
    sets.sets.remove(set, None).unwrap();
    assert!(sets.sets.remove(set, None).is_err());
    for _ in 0..300 {
        let _ = sets.sets.add(None, passed(null(OFlags::RDONLY)));
    }
    assert_eq!(sets.sets.iter().count(), 256, "bounded");
}

#[test]
fn nobody_at_the_other_end_is_waited_for() {
    if !apart("nobody_at_the_other_end_is_waited_for") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let fifo = dir.as_path().join("fifo");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (tell, heard) = std::sync::mpsc::channel();
    let files = [sealed(&[dir.as_path()], Vec::new()), Files::default()];
    std::thread::spawn(move || {
        for files in files {
            let open = |flags| files.open(&fifo, flags);
            assert!(open(OFlags::WRONLY).is_err(), "nobody reads it");
            let reader = open(OFlags::RDONLY).unwrap();
            let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
            assert!(!flags.contains(OFlags::NONBLOCK), "only the opening");
            open(OFlags::WRONLY).unwrap();
        }
        tell.send(()).unwrap();
    });
    heard
        .recv_timeout(std::time::Duration::from_secs(60))
        .unwrap();
}

#[test]
fn what_was_made_and_emptied_is_so_once_it_is_settled() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.as_path().join(name);
    std::fs::write(path("old"), "what it had").unwrap();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let open = |settled: bool| {
        let files = Files::new(None).provisional();
        let [mut new, mut old] = ["new", "old"].map(|name| files.open(&path(name), flags).unwrap());
        new.write_all(b"new").unwrap();
        old.write_all(b"W").unwrap();
        if settled {
            files.settle().unwrap();
            old.write_all(b"HAT").unwrap();
            files.open(&path("later"), flags).unwrap();
        }
    };
    let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    open(false);
    assert!(!path("new").exists());
    assert_eq!(text("old"), "What it had");
    open(true);
    assert_eq!((text("new"), text("old")), ("new".into(), "WHAT".into()));
    assert!(path("later").exists());
}
