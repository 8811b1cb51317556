//! What a client of 9P2000.u does with files, under every security model.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use common::*;
use p9_server::{FileSystem, LocalOptions, SecurityModel, Synth};
use proptest::prelude::*;
use testkit::p9::{Body, Client, Set, Stat, message};

fn unix(share: &Share, model: SecurityModel) -> Client<Direct<p9_server::Local>> {
    Client::attached_as(Direct(share.session(with_model(model))), "9P2000.u")
}

fn names(stats: &[Stat]) -> Vec<String> {
    let names = stats.iter().map(|stat| String::from_utf8_lossy(&stat.name));
    names.map(|name| name.into_owned()).collect()
}

/// All of an open directory, and how many reads that took.
fn list<F: FileSystem>(client: &mut Client<Direct<F>>, fid: u32, count: u32) -> (Vec<Stat>, usize) {
    let (mut stats, mut offset, mut reads) = (Vec::new(), 0, 0);
    loop {
        let bytes = client.read(fid, offset, count).unwrap();
        if bytes.is_empty() {
            return (stats, reads);
        }
        stats.extend(client.read_stats(fid, offset, count).unwrap());
        (offset, reads) = (offset + bytes.len() as u64, reads + 1);
    }
}

#[test]
fn the_dialect_is_what_version_says() {
    let share = Share::new();
    let mut client = Client::new(Direct(share.session(LocalOptions::default())));
    for unknown in ["9P2000", "9P2000.", "9P2000.uu", ""] {
        let answer = client.version(100, unknown);
        assert_eq!(answer, Ok((100, "unknown".to_owned())), "{unknown}");
        assert_eq!(client.attach(0, 0), Err(EPROTO));
    }
    assert_eq!(client.version(4095, "9P2000.u"), Err(EMSGSIZE));
    client.version(8192, "9P2000.u").unwrap();
    client.attach(0, 0).unwrap();
    let kind = |client: &Client<Direct<_>>| {
        let request = message(110, 5, &Body::new().u32(0).u32(1).u16(1).string("none"));
        exchange(&client.wire.0, &request)
    };
    let text = b"No such file or directory";
    let mut rerror = vec![38, 0, 0, 0, 107, 5, 0, text.len() as u8, 0];
    rerror.extend(text);
    rerror.extend(2_u32.to_le_bytes());
    assert_eq!(kind(&client), rerror);
    client.version(8192, "9P2000.L").unwrap();
    client.attach(0, 0).unwrap();
    assert_eq!(kind(&client), [11, 0, 0, 0, 7, 5, 0, 2, 0, 0, 0]);
}

#[test]
fn files_are_made_written_and_read_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = unix(&share, model);
        client.attach(9, 1000).unwrap();
        client.walk(9, 1, &[]).unwrap();
        client.create(1, "file", 0o640, 2, "").unwrap();
        assert_eq!(client.write(1, 0, b"hello"), Ok(5));
        assert_eq!(client.read(1, 0, 100).unwrap(), b"hello");
        let stat = client.stat(1).unwrap();
        let found = (stat.mode, stat.length, stat.uid, &stat.name[..]);
        assert_eq!(found, (0o640, 5, 1000, &b"file"[..]), "{model:?}");
        assert_eq!(stat.extension, b"HARDLINKCOUNT 1");
        client.wstat(1, Set::default()).unwrap();
        client.clunk(1).unwrap();
        assert_eq!(fs::read(share.path("file")).unwrap(), b"hello");
        client.walk(0, 2, &[b"file"]).unwrap();
        let written = client.wstat(2, Set::default());
        assert_eq!(written, Err(EBADF), "only what is open can be synced");
        client.open(2, 0x11).unwrap();
        assert_eq!(client.stat(2).unwrap().length, 0, "truncated");
        assert_eq!(client.read(2, 0, 1), Err(EBADF), "open to be written");
        client.remove(2).unwrap();
        assert!(!share.path("file").exists());
    }
}

#[test]
fn everything_is_made_by_tcreate_under_every_model() {
    for model in models() {
        let share = Share::new();
        let mut client = unix(&share, model);
        client.walk(0, 1, &[]).unwrap();
        client.create(1, "dir", DMDIR | 0o750, 0, "").unwrap();
        assert_eq!(names(&list(&mut client, 1, 999).0), [".", ".."], "opened");
        client.walk(0, 2, &[b"dir"]).unwrap();
        client
            .create(2, "link", DMSYMLINK | 0o777, 0, "../secret")
            .unwrap();
        let stat = client.stat(2).unwrap();
        assert_eq!(
            (stat.mode, &stat.extension[..]),
            (DMSYMLINK | 0o777, &b"../secret"[..])
        );
        assert_eq!(stat.qid.kind, 2);
        client.walk(0, 3, &[b"dir"]).unwrap();
        client
            .create(3, "fifo", DMNAMEDPIPE | 0o600, 0, "")
            .unwrap();
        assert_eq!(
            client.stat(3).unwrap().mode,
            DMNAMEDPIPE | 0o600,
            "{model:?}"
        );
        client.walk(0, 4, &[b"dir"]).unwrap();
        client
            .create(4, "null", DMDEVICE | 0o666, 0, "c 1 3")
            .unwrap();
        assert_eq!(client.stat(4).unwrap().extension, b"c 1 3", "{model:?}");
        client.walk(0, 5, &[b"dir"]).unwrap();
        client.create(5, "socket", DMSOCKET | 0o600, 0, "").unwrap();
        client.walk(0, 6, &[b"dir"]).unwrap();
        client.create(6, "file", 0o600, 1, "").unwrap();
        client.walk(0, 7, &[b"dir"]).unwrap();
        client.create(7, "again", DMLINK, 0, "6\n").unwrap();
        let stat = client.stat(7).unwrap();
        assert_eq!(stat.extension, b"HARDLINKCOUNT 2");
        assert_eq!(stat.qid.path, client.stat(6).unwrap().qid.path);
        client.walk(0, 8, &[b"dir"]).unwrap();
        let again = client.create(8, "dir", DMLINK, 0, "99");
        assert_eq!(again, Err(ENOENT), "no such fid");
        assert_eq!(client.create(8, "..", DMDIR, 0, ""), Err(EEXIST));
        assert_eq!(client.create(8, "fifo", DMNAMEDPIPE, 0, ""), Err(EEXIST));
        assert_eq!(client.create(8, "x", 0, 0x40, ""), Err(EOPNOTSUPP));
        assert_eq!(client.open(8, 1), Err(EISDIR));
        client.open(8, 0).unwrap();
        let mut found = names(&list(&mut client, 8, 8000).0);
        found.sort();
        let made = [".", "..", "again", "fifo", "file", "link", "null", "socket"];
        assert_eq!(found, made, "{model:?}");
    }
}

#[test]
fn wstat_changes_what_it_names() {
    for model in models() {
        let share = Share::new();
        let mut client = unix(&share, model);
        client.walk(0, 1, &[]).unwrap();
        client.create(1, "file", 0o600, 2, "").unwrap();
        client.write(1, 0, b"0123456789").unwrap();
        let set = Set {
            mode: Some(DMSETUID | 0o711),
            size: Some(4),
            mtime: Some(86_400),
            name: Some("moved"),
            ..Set::default()
        };
        client.wstat(1, set).unwrap();
        let stat = client.stat(1).unwrap();
        assert_eq!(
            (stat.length, stat.mtime, &stat.name[..]),
            (4, 86_400, &b"moved"[..])
        );
        assert_eq!(stat.mode & 0o777, 0o711, "{model:?}");
        let set = Set {
            uid: Some(7),
            ..Set::default()
        };
        client.wstat(1, set).unwrap();
        assert_eq!(client.stat(1).unwrap().uid, 7, "{model:?}");
        assert_eq!(fs::read(share.path("moved")).unwrap(), b"0123");
        let set = Set {
            mode: Some(DMDIR | 0o700),
            ..Set::default()
        };
        assert_eq!(client.wstat(1, set), Err(5), "no file becomes a directory");
        for (name, errno) in [("a/b", ENOENT), ("..", EEXIST)] {
            let set = Set {
                name: Some(name),
                ..Set::default()
            };
            assert_eq!(client.wstat(1, set), Err(errno), "{name}");
        }
    }
}

#[test]
fn a_record_is_as_long_as_it_says() {
    let share = Share::new();
    fs::write(share.path("file"), "").unwrap();
    let mut client = unix(&share, SecurityModel::None);
    client.walk(0, 1, &[b"file"]).unwrap();
    let whole = message(
        126,
        1,
        &Body::wstat(
            1,
            Set {
                mode: Some(0o640),
                ..Set::default()
            },
        ),
    );
    // Each of both lengths one off; then the record cut short, and with a byte after it.
    for at in [11, 13] {
        let mut wrong = whole.clone();
        wrong[at] += 1;
        assert_eq!(refusal(&client, &wrong), Some(EINVAL), "{at}");
    }
    for len in 15..whole.len() {
        let body = whole[7..len]
            .iter()
            .fold(Body::new(), |body, byte| body.u8(*byte));
        assert_eq!(
            refusal(&client, &message(126, 1, &body)),
            Some(EINVAL),
            "{len}"
        );
    }
    assert_eq!(refusal(&client, &whole), None);
    assert_eq!(
        fs::metadata(share.path("file")).unwrap().mode() & 0o777,
        0o640
    );
}

fn refusal<F: FileSystem>(client: &Client<Direct<F>>, request: &[u8]) -> Option<u32> {
    let reply = exchange(&client.wire.0, request);
    (reply[4] == 107).then(|| u32::from_le_bytes(*reply.last_chunk().unwrap()))
}

#[test]
fn directories_are_read_from_where_the_last_read_ended() {
    let share = Share::new();
    for number in 0..150 {
        fs::write(share.path(&format!("file-{number}")), "").unwrap();
    }
    symlink("file-7", share.path("link")).unwrap();
    let mut client = unix(&share, SecurityModel::None);
    client.walk(0, 1, &[]).unwrap();
    client.open(1, 0).unwrap();
    let (stats, reads) = list(&mut client, 1, 1000);
    assert!(reads > 10, "{reads}");
    let mut found = names(&stats);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 153);
    let link = stats.iter().find(|stat| stat.name == b"link").unwrap();
    assert_eq!(link.extension, b"file-7");
    // Anew, once more, and on; but nowhere else.
    let first = client.read(1, 0, 1000).unwrap();
    assert_eq!(client.read(1, 0, 1000).unwrap(), first);
    let at = first.len() as u64;
    let second = client.read(1, at, 1000).unwrap();
    assert_eq!(client.read(1, at, 1000).unwrap(), second);
    for wrong in [1, at - 1, at + 1, u64::MAX] {
        assert_eq!(client.read(1, wrong, 1000), Err(EINVAL), "{wrong}");
    }
    assert_eq!(client.read(1, 0, 60), Err(EINVAL), "no room for a record");
}

#[test]
fn what_goes_away_while_it_is_read_is_left_out() {
    let share = Share::new();
    for number in 0..50 {
        fs::write(share.path(&format!("file-{number}")), "").unwrap();
    }
    let mut client = unix(&share, SecurityModel::None);
    client.walk(0, 1, &[]).unwrap();
    client.open(1, 0).unwrap();
    let first = client.read(1, 0, 500).unwrap();
    for number in 0..50 {
        fs::remove_file(share.path(&format!("file-{number}"))).unwrap();
    }
    let rest = client.read(1, first.len() as u64, 8000);
    assert!(rest.unwrap().len() < 200, "at most . and ..");
}

#[test]
fn the_root_has_nothing_above_it() {
    let share = Share::new();
    let mut client = unix(&share, SecurityModel::None);
    let root = client.stat(0).unwrap();
    assert_eq!(root.name, b"/");
    client.walk(0, 1, &[b".."]).unwrap();
    assert_eq!(client.stat(1).unwrap().qid, root.qid);
    client.open(1, 0).unwrap();
    for stat in list(&mut client, 1, 8000).0 {
        assert_eq!(stat.qid.path, root.qid.path);
    }
    let set = Set {
        name: Some("other"),
        ..Set::default()
    };
    assert_eq!(client.wstat(0, set), Err(16), "the root stays where it is");
}

#[test]
fn a_read_only_share_stays_as_it_is() {
    let share = Share::new();
    fs::write(share.path("file"), "data").unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let file = fs::File::options()
        .write(true)
        .open(share.path("file"))
        .unwrap();
    file.set_modified(old).unwrap();
    let options = LocalOptions {
        read_only: true,
        ..LocalOptions::default()
    };
    let mut client = Client::attached_as(Direct(share.session(options)), "9P2000.u");
    client.walk(0, 1, &[b"file"]).unwrap();
    client.walk(0, 2, &[]).unwrap();
    for mode in [1, 2, 0x10] {
        assert_eq!(client.open(1, mode), Err(EROFS), "{mode}");
    }
    for (perm, extension) in [(0, ""), (DMDIR, ""), (DMSYMLINK, "x"), (DMLINK, "1")] {
        assert_eq!(client.create(2, "new", perm, 0, extension), Err(EROFS));
    }
    let sets = [
        Set {
            size: Some(0),
            ..Set::default()
        },
        Set {
            mtime: Some(0),
            ..Set::default()
        },
        Set {
            name: Some("new"),
            ..Set::default()
        },
    ];
    for set in sets {
        assert_eq!(client.wstat(1, set), Err(EROFS));
    }
    let found = fs::metadata(share.path("file")).unwrap();
    assert_eq!((found.len(), found.modified().unwrap()), (4, old));
    assert_eq!(found.permissions().mode() & 0o200, 0o200);
}

#[test]
fn the_tree_in_memory_is_listed() {
    let session = p9_server::Session::new(Synth::new().into(), p9_server::Limits::default());
    let mut client = Client::attached_as(Direct(session.into()), "9P2000.u");
    client.walk(0, 1, &[b"ReadDirDir"]).unwrap();
    client.open(1, 0).unwrap();
    let (stats, reads) = list(&mut client, 1, 1000);
    assert_eq!((stats.len(), reads > 5), (102, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However large the reads are, each record comes once, whole, and in one of them.
    #[test]
    fn directories_are_read_whole_in_any_pieces(
        lengths in prop::collection::vec(1..255_usize, 0..60),
        counts in prop::collection::vec(400..3000_u32, 1..6)
    ) {
        let share = Share::new();
        for (number, length) in lengths.iter().enumerate() {
            let name = format!("{number:02}{}", "n".repeat(length - 1));
            fs::write(share.path(&name[..*length.max(&2)]), "").unwrap();
        }
        let mut client = unix(&share, SecurityModel::None);
        client.walk(0, 1, &[]).unwrap();
        client.open(1, 0).unwrap();
        let (mut found, mut offset) = (Vec::new(), 0);
        for count in counts.iter().cycle() {
            let bytes = client.read(1, offset, *count).unwrap();
            prop_assert!(bytes.len() <= *count as usize);
            if bytes.is_empty() {
                break;
            }
            found.extend(names(&client.read_stats(1, offset, *count).unwrap()));
            offset += bytes.len() as u64;
        }
        found.sort();
        prop_assert_eq!(found.len(), lengths.len() + 2);
        found.dedup();
        prop_assert_eq!(found.len(), lengths.len() + 2);
    }

    /// Requests of both dialects on a few fids and names, in any order.
    #[test]
    fn any_order_of_requests_is_answered(
        steps in prop::collection::vec((0..12u8, 0..4u32, 0..4u32, 0..4usize, any::<u32>()), 1..80)
    ) {
        let share = Share::new();
        let mut client = unix(&share, SecurityModel::MappedXattr);
        let names = ["a", "b", "..", "dir"];
        for (step, fid, other, name, number) in steps {
            let name = names[name];
            let set = Set {
                mode: (number & 1 != 0).then_some(number),
                size: (number & 2 != 0).then_some((number >> 16).into()),
                name: (number & 4 != 0).then_some(name),
                ..Set::default()
            };
            let _ = match step {
                0 => client.walk(fid, other, &[name.as_bytes()]).map(drop),
                1 => client.create(fid, name, DMDIR | 0o755, 0, "").map(drop),
                2 => client.create(fid, name, number & 0o777, number as u8 & 0x93, "").map(drop),
                3 => client.create(fid, name, number, 0, &other.to_string()).map(drop),
                4 => client.open(fid, number as u8 & 0x93).map(drop),
                5 => client.read(fid, u64::from(number & 0xff), 500).map(drop),
                6 => client.write(fid, 0, b"data").map(drop),
                7 => client.clunk(fid),
                8 => client.remove(fid),
                9 => client.stat(fid).map(drop),
                10 => client.wstat(fid, set),
                _ => client.renameat((fid, name), (other, "b")),
            };
        }
        prop_assert_eq!(fs::read(share.secret()).unwrap(), b"secret");
        prop_assert_eq!(fs::read_dir(share.root().parent().unwrap()).unwrap().count(), 2);
    }
}

const DMDIR: u32 = 0x8000_0000;
const DMSYMLINK: u32 = 0x0200_0000;
const DMLINK: u32 = 0x0100_0000;
const DMDEVICE: u32 = 0x0080_0000;
const DMNAMEDPIPE: u32 = 0x0020_0000;
const DMSOCKET: u32 = 0x0010_0000;
const DMSETUID: u32 = 0x0008_0000;
