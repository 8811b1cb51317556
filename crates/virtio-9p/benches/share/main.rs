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

use driver::Sharer;
use rustix::fs::XattrFlags;
use tempfile::TempDir;
use testkit::bench::{Random, race};
use testkit::p9::{Body, Client, message};
use virtio_9p::p9_server::{Local, LocalOptions, SecurityModel};

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
    let mut client = Client::attached(Sharer::new(directory.path(), SecurityModel::None));
    client.walk(0, 1, &[b"file"]).expect("the file");
    client.lopen(1, 0).expect("a file that can be read");
    let file = File::open(&path).expect("the file");
    let mut buffer = [0; BLOCK as usize];
    let body = Body::new().u32(1).u64(0).u32(BLOCK as u32);
    let request = message(116, 1, &body);
    let mut random = Random::default();
    let rates = race(
        ROUNDS,
        || random.numbers(READS, BLOCKS),
        [
            &mut |blocks| {
                let offsets = blocks.iter().map(|block| block * BLOCK);
                client.wire.read(&request, offsets);
            },
            &mut |blocks| {
                for block in blocks {
                    let at = block * BLOCK;
                    file.read_exact_at(&mut buffer, at).expect("a block");
                }
            },
        ],
    );
    tell(&format!("{name}: random reads of 4 KiB"), rates);
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
        let mut client = Client::attached(Sharer::new(directory.path(), model));
        let path = directory.path().join("new");
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o644);
        let rates = race(
            ROUNDS,
            || vec![0; CREATES],
            [
                &mut |files| {
                    for _ in files {
                        assert!(client.walk(0, 1, &[b"new"]).is_err());
                        client.walk(0, 1, &[]).expect("a clone");
                        client.lcreate(1, "new", 0o102, 0o644).expect("a file");
                        client.clunk(1).expect("a fid");
                        client.unlinkat(0, "new", 0).expect("the file");
                    }
                },
                &mut |files| {
                    for _ in files {
                        assert!(fs::symlink_metadata(&path).is_err());
                        let file = options.open(&path).expect("a file");
                        keep(model, &file);
                        drop(file);
                        fs::remove_file(&path).expect("the file");
                    }
                },
            ],
        );
        tell(&format!("{name}, {model:?}: files made and removed"), rates);
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

fn tell(what: &str, [device, host]: [f64; 2]) {
    let ratio = device / host;
    println!("{what:<46} device {device:>9.0}  host {host:>9.0}  ratio {ratio:.2}");
}

fn options(security_model: SecurityModel) -> LocalOptions {
    LocalOptions {
        security_model,
        ..LocalOptions::default()
    }
}

const BLOCK: u64 = 4096;
/// 16 MiB of them.
const BLOCKS: u64 = (16 << 20) / BLOCK;
const ROUNDS: usize = 11;
const READS: usize = 20_000;
const CREATES: usize = 1_000;
