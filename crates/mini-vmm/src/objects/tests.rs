//! Objects, as their users name them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use vmm_sys_util::tempdir::TempDir;

use super::*;
use crate::chardev::Host;
use crate::options::{Command, Config, parse};

fn backends(options: &str) -> Backends {
    let line = format!("-kernel k -nodefaults {options}");
    let Ok(Command::Run(config)) = parse(line.split_whitespace().map(str::to_owned)) else {
        panic!("{line}");
    };
    let config: Config = *config;
    Backends::open(&config, Host::of_test()).unwrap()
}

fn add(backends: &mut Backends, text: &str) -> Result<(), String> {
    let options = ObjectOptions::parse(text).map_err(|error| error.to_string())?;
    backends
        .add_object(&options)
        .map_err(|error| error.to_string())
}

#[test]
fn what_is_wrong_with_an_object_is_said_in_a_line() {
    for (text, expected) in [
        (
            "rng-rnd,id=r",
            "-object rng-rnd: unknown type; accepted: rng-egd",
        ),
        (
            "rng-random,id=r,file=x",
            "-object rng-random file=x: unknown name; accepted: filename",
        ),
        (
            "rng-random,id=r,filename=/no/such",
            "-object rng-random filename=/no/such: No such file",
        ),
        (
            "rng-builtin,id=r,filename=x",
            "-object rng-builtin filename=x: unknown name",
        ),
        ("rng-egd,id=r", "-object rng-egd chardev=: missing"),
        (
            "rng-egd,id=r,chardev=x",
            "-object rng-egd chardev=x: no such chardev",
        ),
        (
            "filter-dump,id=d",
            "-object filter-dump netdev=: no such netdev",
        ),
        (
            "filter-dump,id=d,netdev=n,maxlen=0",
            "-object filter-dump maxlen=0: not accepted; accepted: a number from 1",
        ),
        (
            "filter-dump,id=d,netdev=n,queue=both",
            "-object filter-dump queue=both: not accepted; accepted: all|rx|tx",
        ),
        (
            "iothread,id=t,poll-max-ns=2000000",
            "-object iothread poll-max-ns=2000000: not accepted; accepted: a number from 0",
        ),
        (
            "iothread,id=t,poll-grow=2",
            "-object iothread poll-grow=2: not accepted; accepted: 0",
        ),
    ] {
        let error = add(&mut backends(""), text).unwrap_err();
        assert!(error.starts_with(expected), "{text}\n  {error}");
    }
}

#[test]
fn an_object_stays_as_long_as_it_is_used() {
    let mut backends = backends("-object rng-builtin,id=b -object iothread,id=t,poll-max-ns=5");
    let source = backends.objects.entropy("-device", "rng", "b").unwrap();
    let error = backends.objects.remove("object-del", "b").unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(source);
    backends.objects.remove("object-del", "b").unwrap();
    assert!(backends.objects.remove("object-del", "b").is_err());
    let place = backends.objects.iothread("-device", "iothread", "t");
    assert!(backends.objects.remove("object-del", "t").is_err());
    drop(place);
    let error = backends.objects.entropy("-device", "rng", "t");
    let error = error.err().unwrap().to_string();
    assert_eq!(
        error,
        "-device rng=t: no such object; accepted: the id of a -object rng-"
    );
    backends.objects.remove("object-del", "t").unwrap();
}

#[test]
fn a_daemon_is_asked_for_what_is_wanted_and_answers_at_its_pace() {
    let directory = TempDir::new().unwrap();
    let path = directory.as_path().join("egd");
    let mut backends = backends(&format!(
        "-chardev socket,id=c,path={},server=on,wait=off -object rng-egd,id=e,chardev=c",
        path.display()
    ));
    let mut source = backends.objects.entropy("-device", "rng", "e").unwrap();
    let second = backends.objects.entropy("-device", "rng", "e");
    assert!(second.err().unwrap().to_string().contains("already in use"));
    assert!(backends.objects.remove("object-del", "e").is_err());
    let mut fill = |length: usize| {
        let mut data = vec![0; length];
        source.fill(&mut data).map(|read| data[..read].to_vec())
    };
    assert!(fill(8).is_err(), "nobody is there");
    let asked = |daemon: &mut UnixStream| {
        let mut question = [0; 2];
        daemon.read_exact(&mut question).unwrap();
        question
    };
    let mut daemon = UnixStream::connect(&path).unwrap();
    assert!(fill(8).is_err());
    assert_eq!(asked(&mut daemon), [2, 8]);
    daemon.write_all(&[1, 2, 3]).unwrap();
    assert_eq!(fill(8).unwrap(), [1, 2, 3]);
    daemon.write_all(&[4, 5, 6, 7, 8]).unwrap();
    assert_eq!(fill(300).unwrap(), [4, 5, 6, 7, 8]);
    assert!(fill(300).is_err());
    assert_eq!(asked(&mut daemon), [2, 255]);
    // What this one owes is not waited for from the next one.
    drop(daemon);
    assert!(fill(4).is_err());
    let mut daemon = UnixStream::connect(&path).unwrap();
    assert!(fill(4).is_err());
    assert_eq!(asked(&mut daemon), [2, 4]);
}
