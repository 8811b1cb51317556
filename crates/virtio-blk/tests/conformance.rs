//! What every virtio device must stand, in every mode of I/O.

mod common;

use common::*;
use testkit::TestBus;
use virtio_blk::guest_io::Mode;
use virtio_blk::{Blk, BlkProps, RawImage};

fn device(mode: Mode) -> Blk<RawImage> {
    let props = BlkProps::default().num_queues(2).queue_size(32);
    Blk::new(&props, raw(&image()).mode(mode)).unwrap()
}

fn good_requests(bus: &mut TestBus) {
    assert_eq!(write(bus, 3, &[0x33; 1024]).status, OK);
    let answer = read(bus, 3, 1024);
    assert_eq!(
        (answer.status, answer.used, answer.data),
        (OK, 1025, vec![0x33; 1024])
    );
    assert_eq!(request(bus, FLUSH, 0, &[]).status, OK);
    let header = header(IN, 0);
    assert_eq!(bus.request(1, &[&header], &[512, 1]).bytes[512], OK);
}

mod auto {
    use super::*;

    testkit::device_suite! {
        device: || device(Mode::Auto),
        traffic: good_requests,
    }
}

mod uring {
    use super::*;

    testkit::device_suite! {
        device: || device(Mode::Uring),
        traffic: good_requests,
    }
}

mod sync {
    use super::*;

    testkit::device_suite! {
        device: || device(Mode::Sync),
        traffic: good_requests,
    }
}
