//! The entropy device.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arbitrary::Unstructured;
use testkit::TestBus;
use virtio_rng::{EntropySource, Rng, RngProps};

use crate::device::{Subject, play};

/// The entropy device with a source that has its days.
pub fn rng(data: &[u8]) {
    play(Fickle::default(), &mut Unstructured::new(data));
}

/// How much the source gives, of 255.
#[derive(Default)]
pub(crate) struct Fickle(Arc<AtomicU8>);

struct Source(Arc<AtomicU8>);

impl Subject for Fickle {
    type Device = Rng<Box<dyn EntropySource>>;
    type Words = [u8; 4];
    type Host = u8;

    fn device(&mut self) -> Self::Device {
        let source: Box<dyn EntropySource> = Box::new(Source(self.0.clone()));
        Rng::new(&RngProps::default(), source).expect("default properties")
    }

    fn words(&self, words: [u8; 4]) -> Vec<u8> {
        words.to_vec()
    }

    fn host(&mut self, mood: u8) {
        self.0.store(mood, Ordering::Relaxed);
    }

    fn release(&mut self) {
        self.host(0);
    }

    fn probe(&mut self, bus: &mut TestBus) {
        assert_eq!(bus.request(0, &[], &[16]).len, 16);
    }
}

impl EntropySource for Source {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        let len = match self.0.load(Ordering::Relaxed) {
            1 => return Err(io::ErrorKind::Other.into()),
            2 => 0,
            3 => data.len().min(1),
            _ => data.len(),
        };
        data[..len].fill(0x5a);
        Ok(len)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
