use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;
use vmm_sys_util::tempdir::TempDir;

use super::*;
use crate::terminal::{self, RawTerminal};

/// A process that runs `test` of this file, told by the environment that it is the child `name`.
fn child(test: &str, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("sandbox::tests::{test}");
    command
        .args(["--exact", &test, "--nocapture"])
        .env(CHILD, name);
    command
}

fn in_child(test: &str) -> std::process::Output {
    child(test, test).output().unwrap()
}

fn is_child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|name| name == test)
}

const CLASSES: [(&str, Class); 6] = [
    ("main", Class::Main),
    ("vcpu", Class::Vcpu),
    ("worker", Class::Worker),
    ("launcher", Class::Launcher),
    ("sharer", Class::Sharer),
    ("share-launcher", Class::ShareLauncher),
];
const CHILD: &str = "MINI_VMM_TEST_CHILD";

#[test]
fn a_refused_call_is_named_and_ends_the_process() {
    const SELF: &str = "a_refused_call_is_named_and_ends_the_process";
    if is_child(SELF) {
        terminal::restore_on_crash().unwrap();
        restrict_calls(Class::Main).unwrap();
        // SAFETY: only asks for a number.
        unsafe { libc::getppid() };
        unreachable!("the filter lets getppid through");
    }
    let output = in_child(SELF);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("mini-vmm: the sandbox refused system call 0110\n"),
        "{error}"
    );
}

#[test]
fn every_class_may_restore_the_terminal() {
    const SELF: &str = "every_class_may_restore_the_terminal";
    for (name, class) in CLASSES {
        if is_child(name) {
            let raw = RawTerminal::enter(false).unwrap().unwrap();
            restrict_calls(class).unwrap();
            drop(raw);
        }
    }
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let controller = openpt(flags).unwrap();
    unlockpt(&controller).unwrap();
    let user = ptsname(&controller, Vec::new())
        .unwrap()
        .into_string()
        .unwrap();
    let user = std::fs::File::options()
        .read(true)
        .write(true)
        .open(user)
        .unwrap();
    let before = format!("{:?}", tcgetattr(&user).unwrap());
    for (name, _) in CLASSES {
        let status = child(SELF, name)
            .stdin(user.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(status.success(), "{name}");
        assert_eq!(format!("{:?}", tcgetattr(&user).unwrap()), before, "{name}");
    }
}

/// As the standard library of a debug build does each time.
#[test]
fn every_class_may_close_descriptors() {
    const SELF: &str = "every_class_may_close_descriptors";
    for (name, class) in CLASSES {
        if is_child(name) {
            terminal::restore_on_crash().unwrap();
            let file = std::fs::File::open("/dev/null").unwrap();
            restrict_calls(class).unwrap();
            // SAFETY: asks for flags of a descriptor that is open.
            let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
            drop(file);
        }
    }
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    for (name, _) in CLASSES {
        let output = child(SELF, name).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

#[test]
fn new_code_is_refused() {
    const SELF: &str = "new_code_is_refused";
    if is_child(SELF) {
        terminal::restore_on_crash().unwrap();
        restrict_calls(Class::Vcpu).unwrap();
        let (prot, flags) = (libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping that nothing uses.
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) };
        unreachable!("the filter lets executable memory through");
    }
    let error = in_child(SELF).stderr;
    assert!(String::from_utf8_lossy(&error).contains("refused system call 0009\n"));
}

#[test]
fn files_can_be_removed_where_they_were_made_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let (mine, other) = (dir.as_path().join("mine"), TempDir::new().unwrap());
    let theirs = other.as_path().join("theirs");
    std::fs::write(&mine, "x").unwrap();
    std::fs::write(&theirs, "x").unwrap();
    let path = dir.as_path().to_owned();
    let restricted = std::thread::spawn(move || {
        restrict_files([path.as_path()].into_iter()).unwrap();
        let read = std::fs::read(&mine);
        if read.is_ok() {
            // A kernel without landlock.
            return;
        }
        let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
        assert!(read.is_err_and(denied));
        assert!(std::fs::remove_file(&theirs).is_err_and(denied));
        assert!(std::fs::write(path.join("new"), "x").is_err_and(denied));
        std::fs::remove_file(&mine).unwrap();
    });
    restricted.join().unwrap();
}

#[test]
fn a_launcher_makes_threads_in_their_own_sandbox_and_no_processes() {
    const SELF: &str = "a_launcher_makes_threads_in_their_own_sandbox_and_no_processes";
    if is_child(SELF) {
        terminal::restore_on_crash().unwrap();
        restrict_calls(Class::Launcher).unwrap();
        let worker = std::thread::Builder::new().name("worker".to_owned());
        let worker = worker.spawn(|| restrict_calls(Class::Worker)).unwrap();
        worker.join().unwrap().unwrap();
        eprintln!("a thread came and went");
        // SAFETY: the child, if there were one, would end at once.
        unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        unreachable!("the filter lets processes through");
    }
    let error = in_child(SELF).stderr;
    let error = String::from_utf8_lossy(&error);
    assert!(error.contains("a thread came and went"), "{error}");
    assert!(error.contains("refused system call 0056\n"), "{error}");
}

#[test]
fn a_vcpu_makes_no_threads() {
    const SELF: &str = "a_vcpu_makes_no_threads";
    if is_child(SELF) {
        terminal::restore_on_crash().unwrap();
        restrict_calls(Class::Vcpu).unwrap();
        let _ = std::thread::spawn(|| ()).join();
        unreachable!("the filter lets threads through");
    }
    // Signals are blocked while a thread is made, so that nothing can be told.
    assert_eq!(in_child(SELF).status.signal(), Some(libc::SIGSYS));
}

#[test]
fn who_serves_files_reaches_no_others() {
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (inside, outside) = (inside.as_path().to_owned(), outside.as_path().to_owned());
    let below = |read_only| Territory::Below {
        path: inside.clone(),
        read_only,
        nodes: false,
    };
    std::fs::write(outside.join("file"), "").unwrap();
    let denied = |result: std::io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
    };
    let served = |territory: Territory, work: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                restrict_to(&territory).unwrap();
                denied(std::fs::read(outside.join("file")).map(drop));
                denied(std::fs::write(outside.join("other"), ""));
                work();
            });
            thread.join().unwrap();
        });
    };
    served(below(false), &|| {
        std::fs::create_dir(inside.join("a")).unwrap();
        std::fs::write(inside.join("file"), "data").unwrap();
        std::fs::rename(inside.join("file"), inside.join("a/file")).unwrap();
        denied(
            rustix::fs::mknodat(
                rustix::fs::CWD,
                inside.join("fifo"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .map_err(Into::into),
        );
    });
    served(below(true), &|| {
        assert_eq!(std::fs::read(inside.join("a/file")).unwrap(), b"data");
        denied(std::fs::write(inside.join("a/file"), ""));
        denied(std::fs::remove_file(inside.join("a/file")));
    });
    served(Territory::Nowhere, &|| {
        denied(std::fs::read(inside.join("a/file")).map(drop));
    });
}
