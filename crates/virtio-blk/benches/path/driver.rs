//! A guest of a block device.

use std::fs::File;
use std::sync::Arc;

use testkit::bench::{BlockReader, Memory, VirtioBlk};
use virtio_blk::guest_io::Mode;
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps, BlkWorker, RawChannel, RawImage};

use crate::Contender;

/// A guest that reads.
pub(crate) struct Guest(BlockReader<VirtioBlk, BlkWorker<RawChannel<Arc<Memory>>>>);

impl Guest {
    pub(crate) fn new(file: &File, mode: Mode, depth: u16) -> Self {
        let image = RawImage::new(file.try_clone().expect("a descriptor"));
        let image = image.expect("an image").mode(mode);
        let props = BlkProps::default().queue_size(512).share_rw(true);
        let mut device = Blk::new(&props, image).expect("a device");
        Self(BlockReader::new(&mut device, 0, FEATURES, depth))
    }
}

impl Contender for Guest {
    fn read(&mut self, blocks: &[u64]) {
        self.0.read(blocks);
    }
}

/// The last is VIRTIO_BLK_F_FLUSH.
const FEATURES: Features = Features::VERSION_1
    .with(Features::EVENT_IDX)
    .with(Features::bit(9));
