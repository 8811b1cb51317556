//! The process: exit status, one line on standard error, and nothing left behind.

use std::path::Path;
use std::process::{Command, Output};

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
        (&["-device", "help,", "-no-such"], ""),
        (
            &["-device", "pvpanik,help"],
            "mini-vmm: -device pvpanik: unknown type; accepted: pvpanic",
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

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.as_path().join("text"), "no kernel").unwrap();
    let socket = "unix:sock,server=on,wait=off";
    let args = ["-kernel", "text", "-pidfile", "pid", "-serial", socket];
    assert_eq!(run(dir.as_path(), &args).status.code(), Some(2));
    let left: Vec<_> = std::fs::read_dir(dir.as_path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["text"]);
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
