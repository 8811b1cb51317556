//! The configuration space (section 2.5).

use virtio_device::{Features, VirtioDevice};

use super::Subject;
use crate::TestBus;

/// Past bug 38: any offset and length, read and written, at any time.
pub fn config_space<D: VirtioDevice>(subject: &Subject<D>) {
    let mut bus = subject.bus();
    probe(&mut bus);
    bus.reset();
    let features = subject.device().info().features;
    bus.boot(features | Features::VERSION_1);
    probe(&mut bus);
    bus.run();
    bus.reset();
    bus.boot(features | Features::VERSION_1);
    subject.traffic(&mut bus);
}

fn probe(bus: &mut TestBus) {
    let end = bus.core().config().len() as u64;
    let edges = [end, 1 << 16, 1 << 32, 1 << 63, u64::MAX - 7, u64::MAX];
    let offsets = (0..end + 16).chain(edges.iter().flat_map(|&edge| [edge, edge - edge.min(1)]));
    for offset in offsets {
        for len in 0..=8 {
            let past = end.saturating_sub(offset).min(len as u64) as usize;
            let bytes = bus.read_config(offset, len);
            assert!(
                bytes[past..].iter().all(|&byte| byte == 0xff),
                "at {offset:#x}"
            );
            for value in [0, 0xff] {
                bus.core().write_config(offset, &[value; 8][..len]);
            }
        }
    }
    assert_eq!(bus.core().config().len() as u64, end, "its length is fixed");
}
