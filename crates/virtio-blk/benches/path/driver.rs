//! A guest of a block device.

use std::fs::File;
use std::sync::Arc;

use testkit::bench::{BlockReader, Memory, VirtioBlk};
use virtio_blk::guest_io::Mode;
use virtio_blk::virtio_device::Features;
use virtio_blk::{Backend, Blk, BlkProps, BlkWorker, Channel, RawChannel, RawImage};

use crate::Contender;

/// A guest that reads.
pub(crate) struct Guest<C: Channel<Arc<Memory>> = RawChannel<Arc<Memory>>>(
    BlockReader<VirtioBlk, BlkWorker<C>>,
);

impl Guest {
    pub(crate) fn new(file: &File, mode: Mode, depth: u16) -> Self {
        Self::on(image(file, mode), depth)
    }
}

impl<C: Channel<Arc<Memory>>> Guest<C> {
    pub(crate) fn on<B: Backend<Channel<Arc<Memory>> = C>>(backend: B, depth: u16) -> Self {
        let props = BlkProps::default().queue_size(512).share_rw(true);
        let mut device = Blk::new(&props, backend).expect("a device");
        Self(BlockReader::new(&mut device, 0, FEATURES, depth))
    }
}

pub(crate) fn image(file: &File, mode: Mode) -> RawImage {
    let image = RawImage::new(file.try_clone().expect("a descriptor"));
    image.expect("an image").mode(mode)
}

impl<C: Channel<Arc<Memory>>> Contender for Guest<C> {
    fn read(&mut self, blocks: &[u64]) {
        self.0.read(blocks);
    }
}

/// The last is VIRTIO_BLK_F_FLUSH.
const FEATURES: Features = Features::VERSION_1
    .with(Features::EVENT_IDX)
    .with(Features::bit(9));
