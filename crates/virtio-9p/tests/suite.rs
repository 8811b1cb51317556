//! What every virtio device must stand: on a directory, and on the tree for tests with requests
//! that are served elsewhere.

mod common;

use std::sync::{Arc, LazyLock};

use common::*;
use tempfile::TempDir;
use testkit::TestBus;
use virtio_9p::p9_server::{Local, LocalOptions};

/// In memory, where there is such a place: the suite makes thousands of files durable.
static SHARE: LazyLock<TempDir> = LazyLock::new(|| {
    let shared = tempfile::tempdir_in("/dev/shm");
    shared.or_else(|_| tempfile::tempdir()).unwrap()
});

fn share() -> Local {
    Local::new(SHARE.path(), LocalOptions::default()).unwrap()
}

/// Writes a file and reads it, syncs it, and has nothing open in the end.
fn file(bus: &mut TestBus) {
    let mut client = attached(bus);
    let name = format!("{:?}", std::thread::current().id());
    client.walk(0, 1, &[]).unwrap();
    client.lcreate(1, &name, RDWR | CREAT, 0o600).unwrap();
    assert_eq!(client.write(1, 0, b"contents"), Ok(8));
    client.fsync(1).unwrap();
    assert_eq!(client.read(1, 3, 100).unwrap(), b"tents");
    client.remove(1).unwrap();
    client.clunk(0).unwrap();
}

fn tree(bus: &mut TestBus) {
    let mut client = attached(bus);
    client.walk(0, 1, &[b"ReadDirDir"]).unwrap();
    assert_eq!(client.list(1, 2, 8192).unwrap().len(), 102);
    client.clunk(1).unwrap();
    client.clunk(0).unwrap();
}

mod directory {
    use super::*;

    testkit::device_suite! {
        device: || device(share()),
        traffic: file,
    }
}

mod directory_with_threads {
    use super::*;

    testkit::device_suite! {
        device: || device(share()).with_executor(Arc::new(Threads)),
        traffic: file,
    }
}

mod tree_for_tests {
    use super::*;

    testkit::device_suite! {
        device: synth,
        traffic: tree,
    }
}
