//! A client that wants out of the directory, with and without somebody on the host who changes
//! things under its feet: nothing outside is read, written or listed, and nothing hangs.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::*;
use p9_server::{LocalOptions, MultiDevs, SecurityModel};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use testkit::p9::{Body, Client, Set};

type Direct = common::Direct<p9_server::Local>;

#[test]
fn bug_71_no_name_leads_anywhere_but_into_its_directory() {
    for model in models() {
        let share = Share::new();
        fs::create_dir(share.path("dir")).unwrap();
        fs::write(share.path("file"), "").unwrap();
        let mut client = share.client(model);
        client.walk(0, 1, &[b"dir"]).unwrap();
        client.walk(0, 2, &[b"file"]).unwrap();
        for name in [
            "..",
            ".",
            "",
            "/",
            "../secret",
            "../../secret",
            "a/b",
            "/etc/passwd",
            "dir/..",
            "a\0b",
        ] {
            let tried = [
                client.mkdir(1, name, 0o755).map(drop),
                client.symlink(1, name, "target").map(drop),
                client.mknod(1, name, 0o100_644, (0, 0)).map(drop),
                client.link(1, 2, name),
                client.rename(2, 1, name),
                client.renameat((0, "file"), (1, name)),
                client.renameat((1, name), (0, "stolen")),
                client.unlinkat(1, name, 0),
                client.unlinkat(1, name, REMOVEDIR),
                client.lcreate(1, name, RDWR | CREAT, 0o644).map(drop),
            ];
            for (number, tried) in tried.into_iter().enumerate() {
                assert!(tried.is_err(), "{model:?}, {name:?}, request {number}");
            }
            if !matches!(name, "." | "..") {
                assert_eq!(
                    client.walk(1, 9, &[name.as_bytes()]),
                    Err(ENOENT),
                    "{name:?}"
                );
            }
        }
        untouched(&share);
        assert_eq!(
            fs::read_dir(share.path("dir")).unwrap().count(),
            0,
            "{model:?}"
        );
    }
}

#[test]
fn bug_71_the_parent_of_the_root_is_the_root() {
    let share = Share::new();
    fs::create_dir_all(share.path("a/b")).unwrap();
    let mut client = share.client(SecurityModel::None);
    let root = client.getattr(0).unwrap().qid;
    let qids = client
        .walk(0, 1, &[b".."; 16].map(|name: &[u8; 2]| &name[..]))
        .unwrap();
    assert!(qids.iter().all(|qid| *qid == root));
    let up = [&b"a"[..], b"b", b"..", b"..", b"..", b"..", b"secret"];
    assert_eq!(
        client.walk(0, 2, &up).unwrap().len(),
        6,
        "there is no secret in the root"
    );
    let entries = client.list(0, 3, 8192).unwrap();
    let above = entries.iter().find(|entry| entry.name == b"..").unwrap();
    assert_eq!(
        above.qid.path, root.path,
        "not even the number of what is above"
    );
}

#[test]
fn bug_72_links_are_the_clients_to_follow() {
    for model in models() {
        let share = Share::new();
        symlink(share.secret(), share.path("absolute")).unwrap();
        symlink("../secret", share.path("relative")).unwrap();
        symlink("..", share.path("up")).unwrap();
        symlink("/proc/self/root", share.path("magic")).unwrap();
        symlink("/proc/self/cwd", share.path("cwd")).unwrap();
        let mut client = share.client(model);
        for (fid, name) in (1..).zip(["absolute", "relative", "up", "magic", "cwd"]) {
            let walked = client.walk(0, fid, &[name.as_bytes()]).unwrap();
            assert_eq!(walked[0].kind, 2, "{name} is a link");
            for flags in [RDONLY, WRONLY, RDWR, TRUNC | WRONLY] {
                assert_eq!(client.lopen(fid, flags), Err(ELOOP), "{model:?}, {name}");
            }
            assert_eq!(client.walk(fid, 99, &[b"secret"]), Err(ENOTDIR), "{name}");
            assert_eq!(
                client
                    .walk(0, 99, &[name.as_bytes(), b"secret"])
                    .unwrap()
                    .len(),
                1
            );
            assert!(client.mkdir(fid, "inside", 0o755).is_err());
            let set = Set {
                size: Some(0),
                ..Set::default()
            };
            assert_eq!(client.setattr(fid, set), Err(EINVAL));
            client.walk(0, 98, &[]).unwrap();
            assert_eq!(
                client.lcreate(98, name, RDWR | CREAT | TRUNC, 0o644),
                Err(ELOOP)
            );
            client.clunk(98).unwrap();
            assert!(!client.readlink(fid).unwrap().is_empty());
        }
        untouched(&share);
    }
}

#[test]
fn bug_72_a_directory_is_swapped_for_a_link_during_walks() {
    let share = Share::new();
    fs::create_dir(share.path("real")).unwrap();
    fs::write(share.path("real/secret"), "public").unwrap();
    symlink("..", share.path("link")).unwrap();
    let mut client = share.client(SecurityModel::None);
    let (mut inside, mut refused) = (0, 0);
    meanwhile(
        || exchange(&share.path("real"), &share.path("link")),
        || {
            // Its last name leads to the secret by way of the link.
            match client.walk(0, 1, &[b"real", b"secret"]) {
                Ok(qids) if qids.len() == 2 => {
                    client.lopen(1, RDONLY).unwrap();
                    assert_eq!(client.read(1, 0, 100).unwrap(), b"public");
                    client.clunk(1).unwrap();
                    inside += 1;
                }
                _ => refused += 1,
            }
            match client.walk(0, 1, &[b"real"]) {
                Ok(_) => {
                    let _ = client.mkdir(1, "made", 0o755);
                    let _ = client.symlink(1, "made-link", "x");
                    let _ = client.unlinkat(1, "made", REMOVEDIR);
                    client.clunk(1).unwrap();
                }
                Err(errno) => assert_eq!(errno, ENOENT),
            }
            inside > 100 && refused > 100
        },
    );
    untouched(&share);
}

#[test]
fn bug_72_a_file_is_swapped_for_a_link_before_it_is_opened() {
    for model in models() {
        let share = Share::new();
        fs::write(share.path("file"), "public").unwrap();
        symlink("../secret", share.path("link")).unwrap();
        let mut client = share.client(model);
        let (mut opened, mut refused) = (0, 0);
        meanwhile(
            || exchange(&share.path("file"), &share.path("link")),
            || {
                client.walk(0, 1, &[b"file"]).unwrap();
                match client.lopen(1, RDWR) {
                    Ok(_) => {
                        assert_eq!(client.read(1, 0, 100).unwrap(), b"public");
                        assert_eq!(client.write(1, 0, b"public"), Ok(6));
                        opened += 1;
                    }
                    Err(errno) => {
                        assert_eq!(errno, ELOOP);
                        refused += 1;
                    }
                }
                let set = Set {
                    mode: Some(0o640),
                    ..Set::default()
                };
                let _ = client.setattr(1, set);
                client.clunk(1).unwrap();
                client.walk(0, 1, &[]).unwrap();
                let _ = client.lcreate(1, "file", RDWR | CREAT, 0o600);
                client.clunk(1).unwrap();
                opened > 50 && refused > 50
            },
        );
        untouched(&share);
    }
}

#[test]
fn bug_73_directories_that_are_moved_lead_nowhere_else() {
    let share = Share::new();
    fs::create_dir_all(share.path("in/deep")).unwrap();
    let outside = share.root().parent().unwrap().join("out");
    let inside = share.path("in/deep");
    let mut client = share.client(SecurityModel::None);
    client.walk(0, 1, &[b"in", b"deep"]).unwrap();
    let (mut rounds, mut away) = (0, false);
    meanwhile(
        || {
            let (from, to) = if away {
                (&outside, &inside)
            } else {
                (&inside, &outside)
            };
            fs::rename(from, to).unwrap();
            away = !away;
        },
        || {
            // One that was moved out still knows where it was found.
            for path in [&[&b".."[..], b"secret"][..], &[b"..", b"..", b"secret"]] {
                let walked = client.walk(1, 2, path).unwrap();
                assert!(walked.len() < path.len(), "no secret is found");
            }
            let up = client.walk(1, 2, &[b"..", b".."]).unwrap();
            assert_eq!(up[1].path, client.getattr(0).unwrap().qid.path);
            client.clunk(2).unwrap();
            rounds += 1;
            rounds > 500
        },
    );
    untouched(&share);
}

#[test]
fn bug_73_renames_by_the_client_race_with_walks_by_the_client() {
    for model in models() {
        let share = Share::new();
        fs::create_dir_all(share.path("a/x")).unwrap();
        fs::create_dir(share.path("b")).unwrap();
        let session = share.session(with_model(model));
        let mut mover = Client::attached(common::Direct(session.clone()));
        mover.walk(0, 1, &[b"a"]).unwrap();
        mover.walk(0, 2, &[b"b"]).unwrap();
        mover.walk(1, 3, &[b"x"]).unwrap();
        let mut walker = Client::new(common::Direct(session));
        let (mut at_a, mut rounds) = (true, 0);
        meanwhile(
            || {
                let (from, to) = if at_a { (1, 2) } else { (2, 1) };
                match at_a {
                    true => mover.renameat((from, "x"), (to, "x")).unwrap(),
                    false => mover.rename(3, to, "x").unwrap(),
                }
                at_a = !at_a;
            },
            || {
                for start in [&b"a"[..], b"b"] {
                    let path = [start, b"x", b"..", b"..", b"secret"];
                    let walked = walker.walk(0, 10, &path);
                    assert!(walked.is_ok_and(|qids| qids.len() < path.len()));
                }
                rounds += 1;
                rounds > 300
            },
        );
        untouched(&share);
    }
}

#[test]
fn bug_74_only_files_and_directories_are_opened() {
    if !privileged() {
        return;
    }
    for model in models() {
        let share = Share::new();
        let special = [
            ("fifo", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
            ("zero", FileType::CharacterDevice, rustix::fs::makedev(1, 5)),
            ("disk", FileType::BlockDevice, rustix::fs::makedev(7, 200)),
        ];
        let mut client = share.client(model);
        for (fid, (name, kind, device)) in (1..).zip(special) {
            let mode = Mode::from_raw_mode(0o666);
            mknodat(CWD, share.path(name), kind, mode, device).unwrap();
            client.walk(0, fid, &[name.as_bytes()]).unwrap();
            assert_eq!(
                client.getattr(fid).unwrap().mode & 0o170_000,
                kind.as_raw_mode()
            );
            for flags in [RDONLY, WRONLY, RDWR, TRUNC | WRONLY] {
                assert_eq!(client.lopen(fid, flags), Err(ENXIO), "{model:?}, {name}");
            }
            client.walk(0, 98, &[]).unwrap();
            assert_eq!(
                client.lcreate(98, name, RDWR | CREAT, 0o644),
                Err(ENXIO),
                "{name}"
            );
            client.clunk(98).unwrap();
            let set = Set {
                size: Some(0),
                ..Set::default()
            };
            assert_eq!(client.setattr(fid, set), Err(EINVAL), "{name}");
            assert_eq!(client.readlink(fid), Err(EINVAL));
        }
    }
}

#[test]
fn bug_74_a_fifo_in_the_place_of_metadata_hangs_nobody() {
    if !privileged() {
        return;
    }
    let share = Share::new();
    fs::create_dir(share.path(".virtfs_metadata")).unwrap();
    fs::write(share.path("file"), "").unwrap();
    let mode = Mode::from_raw_mode(0o666);
    mknodat(
        CWD,
        share.path(".virtfs_metadata/file"),
        FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let mut client = share.client(SecurityModel::MappedFile);
    assert!(client.walk(0, 1, &[b"file"]).is_err());
    symlink("../../secret", share.path(".virtfs_metadata/other")).unwrap();
    fs::write(share.path("other"), "").unwrap();
    assert!(client.walk(0, 1, &[b"other"]).is_err());
    untouched(&share);
}

#[test]
fn bug_76_a_read_only_share_is_not_changed() {
    for model in models() {
        let share = Share::new();
        fs::create_dir(share.path("dir")).unwrap();
        fs::write(share.path("file"), "data").unwrap();
        let options = LocalOptions {
            read_only: true,
            ..with_model(model)
        };
        let mut client = share.client_with(options);
        client.walk(0, 1, &[b"file"]).unwrap();
        client.walk(0, 2, &[]).unwrap();
        let set = Set {
            mode: Some(0o777),
            ..Set::default()
        };
        let tried = [
            client.lopen(1, WRONLY).map(drop),
            client.lopen(1, RDWR).map(drop),
            client.lopen(1, RDONLY | TRUNC).map(drop),
            client.lcreate(2, "new", RDWR | CREAT, 0o644).map(drop),
            client.lcreate(2, "file", RDONLY | TRUNC, 0o644).map(drop),
            client.mkdir(0, "new", 0o755).map(drop),
            client.symlink(0, "new", "x").map(drop),
            client.mknod(0, "new", 0o100_644, (0, 0)).map(drop),
            client.link(0, 1, "new"),
            client.rename(1, 0, "new"),
            client.renameat((0, "file"), (0, "new")),
            client.unlinkat(0, "file", 0),
            client.unlinkat(0, "dir", REMOVEDIR),
            client.setattr(1, set),
            client.setattr(
                1,
                Set {
                    size: Some(0),
                    ..Set::default()
                },
            ),
            client.setattr(
                1,
                Set {
                    mtime: Some(0),
                    ..Set::default()
                },
            ),
            client.setattr(
                1,
                Set {
                    uid: Some(1),
                    ..Set::default()
                },
            ),
            client.set_xattr(1, 9, "user.x", b"x"),
            client.set_xattr(1, 9, "user.x", b""),
        ];
        for (number, tried) in tried.into_iter().enumerate() {
            assert_eq!(tried, Err(EROFS), "{model:?}, request {number}");
        }
        client.walk(0, 3, &[b"file"]).unwrap();
        assert_eq!(client.remove(3), Err(EROFS));
        client.lopen(1, RDONLY).unwrap();
        assert_eq!(client.read(1, 0, 9).unwrap(), b"data");
        assert_eq!(client.write(1, 0, b"x"), Err(EBADF));
        assert_eq!(fs::read_dir(share.root()).unwrap().count(), 2, "{model:?}");
    }
}

#[test]
fn bug_76_what_the_model_keeps_is_not_the_clients() {
    let share = Share::new();
    let mut client = share.client(SecurityModel::MappedFile);
    client.mkdir(0, "dir", 0o755).unwrap();
    for name in [".virtfs_metadata", ".virtfs_metadata_root"] {
        assert_eq!(client.walk(0, 1, &[name.as_bytes()]), Err(EINVAL));
        assert_eq!(client.mkdir(0, name, 0o755), Err(EINVAL));
        assert_eq!(client.unlinkat(0, name, REMOVEDIR), Err(EINVAL));
        assert_eq!(client.renameat((0, name), (0, "x")), Err(EINVAL));
        assert_eq!(client.renameat((0, "dir"), (0, name)), Err(EINVAL));
    }
    let entries = client.list(0, 1, 8192).unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| !entry.name.starts_with(b".virtfs"))
    );
    let share = Share::new();
    let mut client = share.client(SecurityModel::MappedXattr);
    client.walk(0, 1, &[]).unwrap();
    client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
    assert_eq!(client.xattr(1, 2, "user.virtfs.uid"), Err(ENODATA));
    client.walk(0, 3, &[b"file"]).unwrap();
    assert_eq!(
        client.set_xattr(3, 2, "user.virtfs.uid", b"\0\0\0\0"),
        Err(EACCES)
    );
    assert_eq!(client.set_xattr(3, 2, "user.virtfs.mode", b""), Err(EACCES));
    assert_eq!(client.xattr(3, 2, "").unwrap(), b"");
}

#[test]
fn bug_76_a_write_takes_the_set_id_bits() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        for mode in [0o4755, 0o2755, 0o6777] {
            client.walk(0, 1, &[]).unwrap();
            client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
            let set = Set {
                mode: Some(mode),
                ..Set::default()
            };
            client.setattr(1, set).unwrap();
            client.clunk(1).unwrap();
            client.walk(0, 1, &[b"file"]).unwrap();
            assert_eq!(client.getattr(1).unwrap().mode & 0o7777, mode, "{model:?}");
            client.walk(0, 2, &[b"file"]).unwrap();
            client.lopen(2, WRONLY).unwrap();
            client.write(2, 0, b"x").unwrap();
            assert_eq!(
                client.getattr(1).unwrap().mode & 0o7777,
                mode & 0o777,
                "{model:?}"
            );
            client.clunk(1).unwrap();
            client.clunk(2).unwrap();
            client.unlinkat(0, "file", 0).unwrap();
        }
    }
}

#[test]
fn forbidden_devices_below_are_not_entered() {
    // The share is the root of the host's file system, with /proc mounted below.
    let options = LocalOptions {
        read_only: true,
        multidevs: MultiDevs::Forbid,
        ..LocalOptions::default()
    };
    let mut client = Client::attached(common::Direct(session(Path::new("/"), options)));
    assert_eq!(client.walk(0, 1, &[b"proc"]), Err(ENODEV));
    let remap = LocalOptions {
        multidevs: MultiDevs::Remap,
        ..options
    };
    let mut client = Client::attached(common::Direct(session(Path::new("/"), remap)));
    let qids = client.walk(0, 1, &[b"proc", b"self"]).unwrap();
    assert!(qids[0].path >> 48 != 0, "another device has another range");
    // Links of /proc that lead out are links as well.
    client
        .walk(0, 2, &[b"proc", b"thread-self", b"root"])
        .unwrap();
    assert_eq!(
        client.getattr(2),
        Err(ENOENT),
        "a link is not walked through"
    );
}

#[test]
fn requests_of_the_wrong_shape_are_refused() {
    let share = Share::new();
    let mut client = share.client(SecurityModel::None);
    for kind in 0..=u8::MAX {
        if kind == 100 {
            continue;
        }
        for body in [
            Body::new(),
            Body::new().u8(0),
            Body::new().u32(77).u64(u64::MAX),
        ] {
            if kind != 108 {
                assert!(client_error(&mut client, kind, body), "message {kind}");
            }
        }
    }
    assert_eq!(client.getattr(0).map(drop), Ok(()), "fid 0 is still there");
    untouched(&share);
}

fn client_error(client: &mut Client<Direct>, kind: u8, body: Body) -> bool {
    let message = testkit::p9::message(kind, 1, &body);
    let reply = common::exchange(&client.wire.0, &message);
    reply[4] == 7
}

/// Exchanges two entries of the same directory, at once.
fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

/// Does `theirs` over and over on a second thread, until `ours` is satisfied or time is up.
fn meanwhile(mut theirs: impl FnMut() + Send, mut ours: impl FnMut() -> bool) {
    let (done, start) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                theirs();
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while !ours() && start.elapsed() < Duration::from_secs(3) {}
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

/// What is outside is as it was.
fn untouched(share: &Share) {
    assert_eq!(fs::read(share.secret()).unwrap(), b"secret");
    let above = fs::read_dir(share.root().parent().unwrap()).unwrap();
    let mut names: Vec<_> = above.map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| name != "out");
    names.sort();
    assert_eq!(names, ["root", "secret"]);
}
