//! What a client does with files, under every security model.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use common::*;
use p9_server::{LocalOptions, SecurityModel, Synth};
use testkit::p9::{Client, Set};

#[test]
fn a_version_is_agreed_on_before_anything_else() {
    let share = Share::new();
    let mut client = Client::new(Direct(share.session(LocalOptions::default())));
    assert_eq!(client.attach(0, 0), Err(EPROTO));
    assert_eq!(client.version(4095, "9P2000.L"), Err(EMSGSIZE));
    let unknown = client.version(8192, "9P2000");
    assert_eq!(unknown, Ok((8192, "unknown".to_owned())));
    assert_eq!(client.attach(0, 0), Err(EPROTO));
    let most = client.version(u32::MAX, "9P2000.L").unwrap();
    assert_eq!(most, (1 << 20, "9P2000.L".to_owned()));
    client.attach(0, 0).unwrap();
    // Another one ends the session.
    client.version(8192, "9P2000.L").unwrap();
    assert_eq!(client.getattr(0), Err(ENOENT));
}

#[test]
fn files_are_made_written_and_read_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        client.walk(0, 1, &[]).unwrap();
        client.lcreate(1, "file", RDWR | CREAT, 0o640).unwrap();
        assert_eq!(client.write(1, 0, b"hello"), Ok(5));
        assert_eq!(client.write(1, 7, b"world"), Ok(5));
        assert_eq!(client.read(1, 0, 100).unwrap(), b"hello\0\0world");
        assert_eq!(client.read(1, 12, 100).unwrap(), b"");
        assert_eq!(fs::read(share.path("file")).unwrap(), b"hello\0\0world");
        let attr = client.getattr(1).unwrap();
        assert_eq!((attr.mode, attr.size), (0o100_640, 12), "{model:?}");
        client.fsync(1).unwrap();
        client.clunk(1).unwrap();
        assert_eq!(client.read(1, 0, 1), Err(ENOENT));
        assert!(client.statfs(0).unwrap() >= 512);
    }
}

#[test]
fn owners_and_modes_are_the_clients_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        client.attach(9, 1000).unwrap();
        client.walk(9, 1, &[]).unwrap();
        client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
        let attr = client.getattr(1).unwrap();
        assert_eq!((attr.uid, attr.gid), (1000, 0), "{model:?}");
        let set = Set {
            mode: Some(0o100_4755),
            ..Set::default()
        };
        client.setattr(1, set).unwrap();
        assert_eq!(
            client.getattr(1).unwrap().mode,
            0o100_4755 & 0o107_777 | 0o100_000
        );
        let set = Set {
            uid: Some(5),
            gid: Some(6),
            ..Set::default()
        };
        client.setattr(1, set).unwrap();
        let attr = client.getattr(1).unwrap();
        assert_eq!((attr.uid, attr.gid), (5, 6), "{model:?}");
        assert_eq!(attr.mode, 0o100_755, "another owner has not set it");
        let host = fs::metadata(share.path("file")).unwrap();
        let mapped = matches!(
            model,
            SecurityModel::MappedXattr | SecurityModel::MappedFile
        );
        let expected = if mapped {
            (0o100_600, false)
        } else {
            (0o100_755, true)
        };
        assert_eq!((host.mode(), host.uid() == 5), expected, "{model:?}");
    }
}

#[test]
fn sizes_and_times_are_set() {
    let share = Share::new();
    fs::write(share.path("file"), "0123456789").unwrap();
    let mut client = share.client(SecurityModel::None);
    client.walk(0, 1, &[b"file"]).unwrap();
    let set = Set {
        size: Some(4),
        mtime: Some(86_400),
        ..Set::default()
    };
    client.setattr(1, set).unwrap();
    let attr = client.getattr(1).unwrap();
    assert_eq!((attr.size, attr.mtime), (4, 86_400));
    assert_eq!(fs::read(share.path("file")).unwrap(), b"0123");
    let set = Set {
        size: Some(4),
        ..Set::default()
    };
    assert_eq!(client.setattr(0, set), Err(EISDIR));
}

#[test]
fn directories_are_made_listed_and_removed_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        client.mkdir(0, "dir", 0o755).unwrap();
        assert_eq!(client.mkdir(0, "dir", 0o755), Err(EEXIST));
        client.walk(0, 1, &[b"dir"]).unwrap();
        assert_eq!(client.getattr(1).unwrap().mode, 0o040_755, "{model:?}");
        let names: Vec<_> = (0..500).map(|n| format!("entry-{n:03}")).collect();
        for name in &names {
            client.walk(1, 2, &[]).unwrap();
            client
                .lcreate(2, name, WRONLY | CREAT | EXCL, 0o600)
                .unwrap();
            client.clunk(2).unwrap();
        }
        for count in [64, 1000, 30_000] {
            let entries = client.list(1, 2, count).unwrap();
            let mut found: Vec<_> = entries
                .iter()
                .map(|entry| String::from_utf8(entry.name.clone()).unwrap())
                .filter(|name| !name.starts_with('.'))
                .collect();
            found.sort();
            assert_eq!(found, names, "{model:?}, {count} bytes at once");
            assert_eq!(entries.len(), names.len() + 2, "with . and ..");
        }
        assert_eq!(client.list(1, 2, 20), Err(EINVAL), "no entry is that short");
        assert_eq!(client.unlinkat(0, "dir", REMOVEDIR), Err(ENOTEMPTY));
        assert_eq!(client.unlinkat(0, "dir", 0), Err(EISDIR));
        for name in &names {
            client.unlinkat(1, name, 0).unwrap();
        }
        client.unlinkat(0, "dir", REMOVEDIR).unwrap();
        assert!(!share.path("dir").exists(), "{model:?}");
        let empty = client.list(0, 2, 4096).unwrap();
        assert_eq!(empty.len(), 2, "{model:?}");
    }
}

#[test]
fn ten_thousand_entries_are_listed_once_each() {
    let share = Share::new();
    for number in 0..10_000 {
        fs::write(share.path(&format!("file-{number}")), "").unwrap();
    }
    let mut client = share.client(SecurityModel::MappedXattr);
    let entries = client.list(0, 1, 32 << 10).unwrap();
    let mut names: Vec<_> = entries.iter().map(|entry| &entry.name).collect();
    names.sort();
    names.dedup();
    assert_eq!((entries.len(), names.len()), (10_002, 10_002));
}

#[test]
fn links_and_nodes_are_made_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        let qid = client.symlink(0, "link", "/etc/passwd").unwrap();
        assert_eq!(qid.kind, 2, "{model:?}");
        client.walk(0, 1, &[b"link"]).unwrap();
        assert_eq!(client.readlink(1).unwrap(), b"/etc/passwd");
        assert_eq!(client.getattr(1).unwrap().mode, 0o120_777);
        client.mknod(0, "fifo", 0o010_644, (0, 0)).unwrap();
        client.walk(0, 2, &[b"fifo"]).unwrap();
        assert_eq!(client.getattr(2).unwrap().mode, 0o010_644);
        client.mknod(0, "disk", 0o060_600, (8, 17)).unwrap();
        client.walk(0, 3, &[b"disk"]).unwrap();
        let attr = client.getattr(3).unwrap();
        assert_eq!((attr.mode, attr.rdev), (0o060_600, 0x811), "{model:?}");
        let host = fs::symlink_metadata(share.path("fifo")).unwrap();
        let mapped = matches!(
            model,
            SecurityModel::MappedXattr | SecurityModel::MappedFile
        );
        assert_eq!(host.file_type().is_fifo(), !mapped, "{model:?}");
        assert_eq!(client.mknod(0, "dir", 0o040_755, (0, 0)), Err(EINVAL));
    }
}

#[test]
fn renames_and_hard_links_take_everything_along_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        client.mkdir(0, "a", 0o751).unwrap();
        client.mkdir(0, "b", 0o755).unwrap();
        client.walk(0, 1, &[b"a"]).unwrap();
        client.walk(0, 2, &[b"b"]).unwrap();
        client.walk(1, 3, &[]).unwrap();
        client.lcreate(3, "file", RDWR | CREAT, 0o604).unwrap();
        client.write(3, 0, b"data").unwrap();
        client.link(2, 3, "other").unwrap();
        client.walk(2, 4, &[b"other"]).unwrap();
        let attr = client.getattr(4).unwrap();
        assert_eq!((attr.mode, attr.nlink), (0o100_604, 2), "{model:?}");
        client.renameat((1, "file"), (2, "moved")).unwrap();
        // A fid that was there before is still of use, open or not.
        let set = Set {
            mode: Some(0o611),
            ..Set::default()
        };
        client.setattr(3, set).unwrap();
        client.walk(2, 5, &[b"moved"]).unwrap();
        assert_eq!(client.getattr(5).unwrap().mode, 0o100_611, "{model:?}");
        client.rename(5, 1, "again").unwrap();
        assert_eq!(fs::read(share.path("a/again")).unwrap(), b"data");
        // A directory moves with all in it.
        client.renameat((0, "a"), (2, "below")).unwrap();
        client.walk(2, 6, &[b"below", b"again"]).unwrap();
        assert_eq!(client.getattr(6).unwrap().mode, 0o100_611, "{model:?}");
        assert_eq!(client.getattr(1).unwrap().mode, 0o040_751, "{model:?}");
        client.remove(6).unwrap();
        assert!(!share.path("b/below/again").exists());
        assert_eq!(client.remove(5), Err(ENOENT), "it is not there any more");
    }
}

#[test]
fn bug_73_a_file_outlives_its_name() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        client.walk(0, 1, &[]).unwrap();
        client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
        client.write(1, 0, b"before").unwrap();
        client.walk(0, 2, &[b"file"]).unwrap();
        client.unlinkat(0, "file", 0).unwrap();
        // Another one of that name is another one.
        fs::write(share.path("file"), "other").unwrap();
        client.write(1, 6, b" after").unwrap();
        let set = Set {
            size: Some(11),
            ..Set::default()
        };
        client.setattr(1, set).unwrap();
        assert_eq!(client.getattr(1).unwrap().size, 11, "{model:?}");
        assert_eq!(client.read(1, 0, 100).unwrap(), b"before afte");
        client.lopen(2, RDONLY).unwrap();
        assert_eq!(client.read(2, 0, 100).unwrap(), b"before afte");
        assert_eq!(fs::read(share.path("file")).unwrap(), b"other");
    }
}

#[test]
fn walks_go_as_far_as_there_is_a_way() {
    let share = Share::new();
    fs::create_dir_all(share.path("a/b")).unwrap();
    let mut client = share.client(SecurityModel::None);
    let qids = client.walk(0, 1, &[b"a", b"b", b"c"]).unwrap();
    assert_eq!(qids.len(), 2);
    assert_eq!(client.getattr(1), Err(ENOENT), "no fid without the end");
    assert_eq!(client.walk(0, 1, &[b"x", b"b"]), Err(ENOENT));
    assert_eq!(client.walk(0, 1, &[&b"a"[..]; 17]), Err(EINVAL));
    client.walk(0, 1, &[b"a"]).unwrap();
    assert_eq!(client.walk(0, 1, &[b"a"]), Err(EINVAL), "it is in use");
    client.walk(1, 1, &[b"b"]).unwrap();
    let b = client.getattr(1).unwrap();
    client.walk(1, 2, &[b"..", b"b", b"."]).unwrap();
    assert_eq!(client.getattr(2).unwrap(), b);
    client.lopen(2, RDONLY).unwrap();
    assert_eq!(client.walk(2, 3, &[b".."]), Err(EINVAL), "it is open");
}

#[test]
fn a_file_that_is_there_is_opened_unless_a_new_one_is_wanted() {
    let share = Share::new();
    fs::write(share.path("file"), "there").unwrap();
    let mut client = share.client(SecurityModel::MappedXattr);
    client.walk(0, 1, &[]).unwrap();
    assert_eq!(
        client.lcreate(1, "file", RDWR | CREAT | EXCL, 0o600),
        Err(EEXIST)
    );
    client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
    assert_eq!(client.read(1, 0, 9).unwrap(), b"there");
    client.walk(0, 2, &[]).unwrap();
    client
        .lcreate(2, "file", RDWR | CREAT | TRUNC, 0o600)
        .unwrap();
    assert_eq!(client.read(1, 0, 9).unwrap(), b"");
}

#[test]
fn attributes_of_the_clients_own_are_kept() {
    for model in models() {
        let share = Share::new();
        fs::write(share.path("file"), "").unwrap();
        let mut client = share.client(model);
        client.walk(0, 1, &[b"file"]).unwrap();
        client.set_xattr(1, 2, "user.colour", b"blue").unwrap();
        assert_eq!(client.xattr(1, 2, "user.colour").unwrap(), b"blue");
        assert_eq!(
            client.xattr(1, 2, "").unwrap(),
            b"user.colour\0",
            "{model:?}"
        );
        assert_eq!(client.xattr(1, 2, "user.none"), Err(ENODATA));
        assert_eq!(client.xattr(1, 2, "trusted.x"), Err(EOPNOTSUPP));
        client.set_xattr(1, 2, "user.colour", b"").unwrap();
        assert_eq!(client.xattr(1, 2, "").unwrap(), b"", "{model:?}");
    }
}

#[test]
fn locks_exclude_owners() {
    let share = Share::new();
    fs::write(share.path("file"), "").unwrap();
    let mut client = share.client(SecurityModel::MappedXattr);
    for fid in [1, 2] {
        client.walk(0, fid, &[b"file"]).unwrap();
        assert_eq!(client.lock(fid, 1, 0, 10, fid), Err(EBADF), "not open");
        client.lopen(fid, RDWR).unwrap();
    }
    assert_eq!(client.lock(1, 1, 0, 10, 1), Ok(0));
    assert_eq!(client.lock(2, 1, 5, 1, 2), Ok(1));
    assert_eq!(client.getlock(2, 1, 5, 2), Ok((1, 0, 10, 1)));
    assert_eq!(client.getlock(1, 1, 5, 1), Ok((2, 5, 1, 1)));
    assert_eq!(client.lock(1, 2, 0, 10, 1), Ok(0));
    assert_eq!(client.lock(2, 1, 5, 1, 2), Ok(0));
    client.clunk(2).unwrap();
    assert_eq!(client.lock(1, 1, 0, 0, 1), Ok(0), "gone with its fid");
}

#[test]
fn host_modes_are_as_the_options_say() {
    for model in [SecurityModel::MappedXattr, SecurityModel::MappedFile] {
        let share = Share::new();
        let options = LocalOptions {
            fmode: 0o664,
            dmode: 0o775,
            ..with_model(model)
        };
        let mut client = share.client_with(options);
        client.mkdir(0, "dir", 0o700).unwrap();
        client.walk(0, 1, &[]).unwrap();
        client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
        let mode = |name| fs::metadata(share.path(name)).unwrap().permissions().mode() & 0o777;
        // What the process's own mask lets through of them.
        assert_eq!((mode("dir") & 0o755, mode("file") & 0o644), (0o755, 0o644));
    }
}

#[test]
fn the_tree_for_tests_is_qemus() {
    let session = p9_server::Session::new(Default::default(), Default::default());
    let mut client = Client::attached(Direct::<Synth>(session.into()));
    let names: Vec<_> = (0..16).map(|n| format!("WALK{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_bytes).collect();
    assert_eq!(client.walk(0, 1, &names).unwrap().len(), 16);
    client.walk(0, 2, &[b"LOPEN"]).unwrap();
    client.lopen(2, WRONLY).unwrap();
    client.walk(0, 3, &[b"WRITE"]).unwrap();
    client.lopen(3, WRONLY).unwrap();
    assert_eq!(client.write(3, 0, &[0; 16 << 10]), Ok(16 << 10));
    client.walk(0, 4, &[b"FLUSH"]).unwrap();
    client.lopen(4, WRONLY).unwrap();
    assert_eq!(client.write(4, 0, &[0]), Ok(1));
    assert_eq!(client.write(4, 0, &[1]), Err(4), "nobody can give it up");
    client.walk(0, 5, &[b"ReadDirDir"]).unwrap();
    for count in [128, 256, 512, 32_000] {
        assert_eq!(client.list(5, 6, count).unwrap().len(), 102);
    }
}

#[test]
fn a_share_that_the_host_removes_leaves_what_is_open() {
    for model in models() {
        let share = Share::new();
        let mut client = share.client(model);
        client.walk(0, 1, &[]).unwrap();
        client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
        client.write(1, 0, b"data").unwrap();
        fs::remove_dir_all(share.root()).unwrap();
        // Another one in its place is another one.
        fs::create_dir(share.root()).unwrap();
        fs::write(share.path("other"), "").unwrap();
        assert_eq!(client.read(1, 0, 9).unwrap(), b"data", "{model:?}");
        for name in [&b"file"[..], b"other"] {
            assert_eq!(client.walk(0, 2, &[name]).map(drop), Err(ENOENT));
        }
        assert_eq!(client.mkdir(0, "dir", 0o700).map(drop), Err(ENOENT));
        assert_eq!(client.symlink(0, "link", "to").map(drop), Err(ENOENT));
        client.walk(0, 2, &[]).unwrap();
        let made = client.lcreate(2, "new", RDWR | CREAT, 0o600);
        assert_eq!(made.map(drop), Err(ENOENT));
        assert_eq!(client.list(0, 3, 8000), Err(ENOENT));
        client.getattr(0).unwrap();
        client.clunk(1).unwrap();
        assert_eq!(fs::read_dir(share.root()).unwrap().count(), 1);
    }
}
