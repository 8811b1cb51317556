//! What one client can take of the host, and fids that are used for what they are not.

mod common;

use std::fs;
use std::sync::Arc;

use common::*;
use p9_server::{Limits, Local, LocalOptions, SecurityModel, Session};
use proptest::prelude::*;
use testkit::p9::{Body, Client, Set, message};

fn limited(share: &Share, limits: Limits, options: LocalOptions) -> Client<Direct<Local>> {
    let local = Local::new(&share.root(), options).unwrap();
    Client::attached(Direct(Arc::new(Session::new(Arc::new(local), limits))))
}

#[test]
fn bug_75_fids_are_bounded() {
    let share = Share::new();
    let limits = Limits {
        fids: 10,
        ..Limits::default()
    };
    let mut client = limited(&share, limits, LocalOptions::default());
    let made = (1..)
        .take_while(|fid| client.walk(0, *fid, &[]).is_ok())
        .count();
    assert_eq!(made, 9);
    assert_eq!(client.walk(0, 100, &[]), Err(ENFILE));
    client.clunk(1).unwrap();
    client.walk(0, 100, &[]).unwrap();
    assert_eq!(
        client.walk(0, u32::MAX, &[]),
        Err(EINVAL),
        "no fid has that number"
    );
}

#[test]
fn bug_75_descriptors_are_bounded_and_given_back() {
    let share = Share::new();
    for name in 0..20 {
        fs::write(share.path(&name.to_string()), "").unwrap();
    }
    let options = LocalOptions {
        descriptors: 12,
        ..LocalOptions::default()
    };
    let mut client = limited(&share, Limits::default(), options);
    for _ in 0..3 {
        let name = |fid: u32| (fid - 1).to_string();
        let made = (1..).take_while(|fid| client.walk(0, *fid, &[name(*fid).as_bytes()]).is_ok());
        assert_eq!(made.count(), 11);
        assert_eq!(client.lopen(1, RDONLY), Err(ENFILE));
        client.clunk(2).unwrap();
        client.lopen(1, RDONLY).unwrap();
        // The same file is the same descriptor.
        client.walk(0, 2, &[b"0"]).unwrap();
        (1..=11).for_each(|fid| client.clunk(fid).unwrap());
    }
}

#[test]
fn bug_75_directories_nest_deeper_than_paths_and_stacks() {
    let share = Share::new();
    let mut client = share.client(SecurityModel::MappedXattr);
    let name = "A".repeat(255);
    client.walk(0, 1, &[]).unwrap();
    for _ in 0..300 {
        client.mkdir(1, &name, 0o755).unwrap();
        client.walk(1, 1, &[name.as_bytes()]).unwrap();
    }
    assert_eq!(client.getattr(1).unwrap().mode, 0o040_755);
    client
        .walk(1, 2, &[b".."; 16].map(|name: &[u8; 2]| &name[..]))
        .unwrap();
    client.lcreate(2, "file", RDWR | CREAT, 0o600).unwrap();
    // Short names, in a thread with a small stack: dropping the last one drops them all.
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(move || {
            client.walk(0, 3, &[]).unwrap();
            for _ in 0..2000 {
                client.mkdir(3, "d", 0o755).unwrap();
                client.walk(3, 3, &[b"d"]).unwrap();
            }
            client.clunk(3).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn bug_75_attributes_on_their_way_are_bounded() {
    let share = Share::new();
    fs::write(share.path("file"), "").unwrap();
    let limits = Limits {
        xattr_fids: 10,
        ..Limits::default()
    };
    let mut client = limited(&share, limits, with_model(SecurityModel::MappedXattr));
    for fid in 1..=11 {
        client.walk(0, fid, &[b"file"]).unwrap();
        let created = client.xattrcreate(fid, "user.test", 2048, 0);
        assert_eq!(created, if fid <= 10 { Ok(()) } else { Err(ENOSPC) });
        if fid <= 10 {
            client.write(fid, 0, &[b'X'; 2048]).unwrap();
        }
    }
    assert_eq!(client.xattrwalk(11, 12, ""), Err(ENOSPC));
    (1..=11).for_each(|fid| client.clunk(fid).unwrap());
    client.walk(0, 1, &[b"file"]).unwrap();
    assert_eq!(client.xattr(1, 2, "user.test").unwrap(), [b'X'; 2048]);
}

#[test]
fn bug_77_values_are_no_longer_than_announced() {
    let share = Share::new();
    fs::write(share.path("file"), "").unwrap();
    let mut client = share.client(SecurityModel::MappedXattr);
    client.walk(0, 1, &[b"file"]).unwrap();
    client.walk(0, 2, &[b"file"]).unwrap();
    for size in [65_537, u64::MAX] {
        assert_eq!(client.xattrcreate(2, "user.x", size, 0), Err(ENOSPC));
    }
    client.xattrcreate(2, "user.x", 10, 0).unwrap();
    for offset in [1, 10, u64::MAX, u64::MAX - 9, 1 << 63] {
        assert_eq!(
            client.write(2, offset, &[0; 10]),
            Err(ENOSPC),
            "at {offset}"
        );
    }
    assert_eq!(client.write(2, 0, &[0; 5]), Ok(5));
    assert_eq!(client.clunk(2), Err(EINVAL), "half a value is none");
    assert_eq!(client.xattr(1, 2, "user.x"), Err(ENODATA));
    client.set_xattr(1, 2, "user.x", b"value").unwrap();
    assert_eq!(client.xattrwalk(1, 2, "user.x"), Ok(5));
    assert_eq!(client.read(2, 3, 100).unwrap(), b"ue");
    for offset in [5, 6, u64::MAX] {
        assert_eq!(client.read(2, offset, u32::MAX).unwrap(), b"");
    }
}

#[test]
fn bug_77_no_buffer_is_as_long_as_the_client_says() {
    let share = Share::new();
    fs::write(share.path("file"), [1; 100_000]).unwrap();
    let mut client = share.client(SecurityModel::None);
    client.walk(0, 1, &[b"file"]).unwrap();
    client.lopen(1, RDWR).unwrap();
    let most = (32 << 10) - 11;
    assert_eq!(client.read(1, 0, u32::MAX).unwrap().len(), most);
    assert_eq!(client.read(1, u64::MAX, 1), Err(EINVAL));
    assert_eq!(client.write(1, u64::MAX, b"x"), Err(EINVAL));
    // A Twrite whose data is not what its count says.
    for count in [0, 4, 6, u32::MAX, u32::MAX - 22] {
        let body = Body::new().u32(1).u64(0).u32(count).u32(7).u8(7);
        assert_eq!(client.ask(118, body).map(drop), Err(EINVAL), "{count}");
    }
    client.walk(0, 2, &[]).unwrap();
    client.lopen(2, RDONLY).unwrap();
    assert!(!client.readdir(2, 0, u32::MAX).unwrap().is_empty());
    assert_eq!(client.readdir(2, u64::MAX, 1000), Err(EINVAL));
    // More than was agreed on, or than any request has before its data.
    for size in [8193, 40_000] {
        let body = (0..size - 7).fold(Body::new(), |body, _| body.u8(0));
        assert_eq!(client.ask(110, body).map(drop), Err(EMSGSIZE));
    }
}

/// Every request on every kind of fid: some are served, none does what it is not for.
#[test]
fn bug_78_fids_are_used_for_what_they_are() {
    let share = Share::new();
    let refill = || {
        fs::create_dir_all(share.path("dir")).unwrap();
        fs::write(share.path("file"), "data").unwrap();
    };
    // Numbers: directory, file, open directory, open file, attribute to read, to write, none.
    let fids = |client: &mut Client<Direct<Local>>| {
        client.version(32 << 10, "9P2000.L").unwrap();
        client.attach(0, 0).unwrap();
        for fid in [1, 3] {
            client.walk(0, fid, &[b"dir"]).unwrap();
        }
        for fid in [2, 4, 6] {
            client.walk(0, fid, &[b"file"]).unwrap();
        }
        client.lopen(3, RDONLY).unwrap();
        client.lopen(4, RDWR).unwrap();
        client.xattrwalk(2, 5, "").unwrap();
        client.xattrcreate(6, "user.x", 3, 0).unwrap();
    };
    type Ask = fn(&mut Client<Direct<Local>>, u32) -> Result<(), u32>;
    // Each request, and the kinds of fids that it is for.
    let requests: [(&str, Ask, &[u32]); 20] = [
        ("walk", |c, fid| c.walk(fid, 9, &[b"."]).map(drop), &[1, 2]),
        (
            "clone",
            |c, fid| c.walk(fid, 9, &[]).map(drop),
            &[1, 2, 3, 4],
        ),
        ("lopen", |c, fid| c.lopen(fid, RDONLY).map(drop), &[1, 2]),
        (
            "lcreate",
            |c, fid| c.lcreate(fid, "new", RDWR, 0o600).map(drop),
            &[1],
        ),
        ("read", |c, fid| c.read(fid, 0, 9).map(drop), &[4, 5]),
        ("write", |c, fid| c.write(fid, 0, b"abc").map(drop), &[4, 6]),
        ("readdir", |c, fid| c.readdir(fid, 0, 999).map(drop), &[3]),
        ("getattr", |c, fid| c.getattr(fid).map(drop), &[1, 2, 3, 4]),
        (
            "setattr",
            |c, fid| {
                c.setattr(
                    fid,
                    Set {
                        mode: Some(0o700),
                        ..Set::default()
                    },
                )
            },
            &[1, 2, 3, 4],
        ),
        ("statfs", |c, fid| c.statfs(fid).map(drop), &[1, 2, 3, 4]),
        ("fsync", |c, fid| c.fsync(fid), &[3, 4]),
        (
            "mkdir",
            |c, fid| c.mkdir(fid, "new", 0o700).map(drop),
            &[1, 3],
        ),
        (
            "symlink",
            |c, fid| c.symlink(fid, "new", "x").map(drop),
            &[1, 3],
        ),
        (
            "mknod",
            |c, fid| c.mknod(fid, "new", 0o100_600, (0, 0)).map(drop),
            &[1, 3],
        ),
        ("link", |c, fid| c.link(fid, 2, "new"), &[1, 3]),
        ("link to", |c, fid| c.link(1, fid, "new"), &[2, 4]),
        ("rename", |c, fid| c.rename(fid, 0, "moved"), &[1, 2, 3, 4]),
        (
            "xattrwalk",
            |c, fid| c.xattrwalk(fid, 9, "").map(drop),
            &[1, 2, 3, 4],
        ),
        (
            "xattrcreate",
            |c, fid| c.xattrcreate(fid, "user.y", 1, 0),
            &[1, 2],
        ),
        ("lock", |c, fid| c.lock(fid, 0, 0, 1, 1).map(drop), &[3, 4]),
    ];
    for (name, ask, good) in requests {
        for fid in 1..=7 {
            let _ = fs::remove_dir_all(share.path("dir"));
            let _ = fs::remove_dir_all(share.path("moved"));
            let _ = fs::remove_file(share.path("moved"));
            refill();
            let mut client = share.client(SecurityModel::MappedXattr);
            fids(&mut client);
            let served = ask(&mut client, fid);
            let expected = good.contains(&fid);
            assert_eq!(served.is_ok(), expected, "{name} of fid {fid}: {served:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes come, there is one reply, with the right tag, and nothing outside is touched.
    #[test]
    fn any_bytes_get_a_reply(
        messages in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..64)), 1..40)
    ) {
        let share = Share::new();
        fs::create_dir(share.path("dir")).unwrap();
        let client = share.client(SecurityModel::None);
        for (tag, (kind, bytes)) in (1..).zip(messages) {
            let kind = KINDS[usize::from(kind) % KINDS.len()];
            let body = bytes.iter().fold(Body::new(), |body, byte| body.u8(*byte));
            let reply = exchange(&client.wire.0, &message(kind, tag, &body));
            prop_assert_eq!(reply.len(), u32::from_le_bytes(*reply.first_chunk().unwrap()) as usize);
            prop_assert_eq!(&reply[5..7], &tag.to_le_bytes());
            prop_assert!(reply[4] == 7 || reply[4] == kind + 1);
        }
        prop_assert_eq!(fs::read(share.secret()).unwrap(), b"secret");
    }

    /// Requests of the right shape on a few fids and names, in any order.
    #[test]
    fn any_order_of_requests_is_answered(
        steps in prop::collection::vec((0..14u8, 0..4u32, 0..4u32, 0..4usize), 1..80)
    ) {
        let share = Share::new();
        let mut client = share.client(SecurityModel::MappedXattr);
        let names = ["a", "b", "..", "dir"];
        for (step, fid, other, name) in steps {
            let name = names[name];
            let _ = match step {
                0 => client.walk(fid, other, &[name.as_bytes()]).map(drop),
                1 => client.mkdir(fid, name, 0o755).map(drop),
                2 => client.lcreate(fid, name, RDWR | CREAT, 0o644).map(drop),
                3 => client.lopen(fid, other & 3).map(drop),
                4 => client.read(fid, 0, 100).map(drop),
                5 => client.write(fid, 0, b"data").map(drop),
                6 => client.clunk(fid),
                7 => client.remove(fid),
                8 => client.rename(fid, other, name),
                9 => client.renameat((fid, name), (other, "b")),
                10 => client.link(fid, other, name),
                11 => client.unlinkat(fid, name, (other & 1) * REMOVEDIR),
                12 => client.readdir(fid, 0, 500).map(drop),
                _ => client.attach(fid, 0).map(drop),
            };
        }
        prop_assert_eq!(fs::read(share.secret()).unwrap(), b"secret");
        prop_assert_eq!(fs::read_dir(share.root().parent().unwrap()).unwrap().count(), 2);
    }
}

/// All requests but Tversion, and two that are none.
const KINDS: [u8; 30] = [
    8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 102, 104, 108, 110,
    116, 118, 120, 122, 124, 6, 0,
];
