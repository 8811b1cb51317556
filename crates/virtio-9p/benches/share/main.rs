//! The whole path of a request beside the host's own file system.
//!
//! `cargo bench -p virtio-9p` prints random reads of 4 KiB, and files made and removed, per second:
//! a driver model, its rings, the device, the server and guest-io on one thread, next to the same
//! system calls by themselves. Nothing here asserts a time: the figures are for people, the ratios
//! for comparison.

mod driver;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use driver::Guest;
use rustix::fs::XattrFlags;
use tempfile::TempDir;
use testkit::p9::{Body, Client, message};
use virtio_9p::p9_server::{Local, LocalOptions, SecurityModel};

/// Something that does the same work each time it is asked to.
type Contender<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn main() {
    println!("operations per second on one thread, median of {ROUNDS} rounds");
    for (name, directory) in [
        ("disk", Path::new(env!("CARGO_TARGET_TMPDIR"))),
        ("tmpfs", Path::new("/dev/shm")),
    ] {
        match tempfile::tempdir_in(directory) {
            Ok(directory) => {
                reads(name, &directory);
                creates(name, &directory);
            }
            Err(error) => println!("{name}: left out: {error}"),
        }
    }
}

fn reads(name: &str, directory: &TempDir) {
    let path = directory.path().join("file");
    fs::write(&path, vec![7; (BLOCK * BLOCKS) as usize]).expect("room for 16 MiB");
    let mut client = Client::attached(Guest::new(directory.path(), SecurityModel::None));
    client.walk(0, 1, &[b"file"]).expect("the file");
    client.lopen(1, 0).expect("a file that can be read");
    let file = File::open(&path).expect("the file");
    let (mut own, mut theirs) = (Random(1), Random(1));
    let mut buffer = [0; BLOCK as usize];
    let body = Body::new().u32(1).u64(0).u32(BLOCK as u32);
    let mut request = message(116, 1, &body);
    race(
        &format!("{name}: random reads of 4 KiB"),
        READS,
        [
            (
                "device",
                Box::new(move || {
                    for _ in 0..READS {
                        // After size, kind, tag and fid.
                        request[11..19].copy_from_slice(&(own.block() * BLOCK).to_le_bytes());
                        let reply = client.wire.serve(&request);
                        assert_eq!(reply, BLOCK as u32 + 11);
                    }
                }),
            ),
            (
                "host",
                Box::new(move || {
                    for _ in 0..READS {
                        let at = theirs.block() * BLOCK;
                        file.read_exact_at(&mut buffer, at).expect("a block");
                    }
                }),
            ),
        ],
    );
}

/// As Linux does it: look up, clone, create, clunk; and unlink. The host's own files have the same
/// attributes, of which the third does not fit into an inode of ext4: the block that it takes is
/// what costs most.
fn creates(name: &str, directory: &TempDir) {
    for model in [SecurityModel::None, SecurityModel::MappedXattr] {
        let Ok(_) = Local::new(directory.path(), options(model)) else {
            println!("{name}, {model:?}: left out: no extended attributes there");
            continue;
        };
        let mut client = Client::attached(Guest::new(directory.path(), model));
        let below = directory.path();
        race(
            &format!("{name}, {model:?}: files made and removed"),
            CREATES,
            [
                (
                    "device",
                    Box::new(move || {
                        for _ in 0..CREATES {
                            assert!(client.walk(0, 1, &[b"new"]).is_err());
                            client.walk(0, 1, &[]).expect("a clone");
                            client.lcreate(1, "new", 0o102, 0o644).expect("a file");
                            client.clunk(1).expect("a fid");
                            client.unlinkat(0, "new", 0).expect("the file");
                        }
                    }),
                ),
                (
                    "host",
                    Box::new(move || {
                        let mut options = File::options();
                        options.read(true).write(true).create_new(true).mode(0o644);
                        for _ in 0..CREATES {
                            let path = below.join("new");
                            assert!(fs::symlink_metadata(&path).is_err());
                            let file = options.open(&path).expect("a file");
                            keep(model, &file);
                            drop(file);
                            fs::remove_file(&path).expect("the file");
                        }
                    }),
                ),
            ],
        );
    }
}

/// Sets the attributes that the device keeps with each file in this model.
fn keep(model: SecurityModel, file: &File) {
    if model == SecurityModel::MappedXattr {
        for name in ["uid", "gid", "mode"] {
            let name = format!("user.virtfs.{name}");
            rustix::fs::fsetxattr(file, name, &[0; 4], XattrFlags::empty()).expect("attributes");
        }
    }
}

/// Lets both take turns, so that what disturbs the machine disturbs both.
fn race(what: &str, operations: u64, mut contenders: [Contender<'_>; 2]) {
    let mut rates = [const { Vec::new() }; 2];
    for round in 0..=ROUNDS {
        for ((_, work), rates) in contenders.iter_mut().zip(&mut rates) {
            let start = Instant::now();
            work();
            // The first round warms up.
            if round > 0 {
                rates.push(operations as f64 / start.elapsed().as_secs_f64());
            }
        }
    }
    let [own, host] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    let [(own_name, _), (host_name, _)] = contenders;
    println!(
        "{what:<46} {own_name} {own:>9.0}  {host_name} {host:>9.0}  ratio {:.2}",
        own / host
    );
}

fn options(security_model: SecurityModel) -> LocalOptions {
    LocalOptions {
        security_model,
        ..LocalOptions::default()
    }
}

struct Random(u64);

impl Random {
    fn block(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % BLOCKS
    }
}

const BLOCK: u64 = 4096;
/// 16 MiB of them.
const BLOCKS: u64 = (16 << 20) / BLOCK;
const ROUNDS: usize = 11;
const READS: u64 = 20_000;
const CREATES: u64 = 1_000;
