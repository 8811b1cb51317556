//! A balloon whose reclaimed pages can be told from others.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::io;
use std::sync::{Arc, Mutex};

use testkit::{BOUNDARY, Options, TestBus};
use virtio_balloon::{Balloon, BalloonHandle, BalloonProps, Reclaim};
use virtio_device::Features;
use virtio_device::vm_memory::VolatileSlice;
use virtio_device::vm_memory::bitmap::BitmapSlice;

/// Feature bits (section 5.5.3).
pub(crate) const STATS_VQ: Features = Features::bit(1);
pub(crate) const FREE_PAGE_HINT: Features = Features::bit(3);
pub(crate) const PAGE_POISON: Features = Features::bit(4);
pub(crate) const PAGE_REPORTING: Features = Features::bit(5);

/// Queues of a driver that has everything.
pub(crate) const INFLATE: u16 = 0;
pub(crate) const DEFLATE: u16 = 1;
pub(crate) const STATS: u16 = 2;
pub(crate) const HINTS: u16 = 3;
pub(crate) const REPORTS: u16 = 4;

/// The number of a page that nothing else uses, at a multiple of 64 KiB.
pub(crate) const FREE: u32 = (BOUNDARY >> 12) as u32 + 1024;
/// What reclaimed pages are full of.
pub(crate) const GONE: u8 = 0xdd;

/// Fills what it reclaims with [`GONE`], or fails.
#[derive(Clone)]
pub(crate) struct Marker {
    page_size: u64,
    /// Bytes of each call.
    pub(crate) calls: Arc<Mutex<Vec<usize>>>,
    pub(crate) fails: bool,
    /// Leaves pages as they are: a guest may well give up its rings.
    pub(crate) keeps: bool,
}

impl Marker {
    pub(crate) fn new(page_size: u64) -> Self {
        Self {
            page_size,
            calls: Arc::default(),
            fails: false,
            keeps: false,
        }
    }

    pub(crate) fn keeping(page_size: u64) -> Self {
        Self {
            keeps: true,
            ..Self::new(page_size)
        }
    }
}

impl Reclaim for Marker {
    fn page_size(&self) -> u64 {
        self.page_size
    }

    fn reclaim<B: BitmapSlice>(&mut self, memory: &VolatileSlice<'_, B>) -> io::Result<()> {
        self.calls.lock().unwrap().push(memory.len());
        if self.fails {
            return Err(io::ErrorKind::Other.into());
        }
        if !self.keeps {
            memory.copy_from(&vec![GONE; memory.len()]);
        }
        Ok(())
    }
}

pub(crate) fn everything() -> BalloonProps {
    BalloonProps::default()
        .deflate_on_oom(true)
        .free_page_hint(true)
        .free_page_reporting(true)
        .must_tell_host(true)
}

/// Page numbers as a modern driver sends them.
pub(crate) fn numbers(pages: &[u32]) -> Vec<u8> {
    pages.iter().flat_map(|page| page.to_le_bytes()).collect()
}

/// A running balloon with everything negotiated.
pub(crate) struct Guest {
    pub(crate) bus: TestBus,
    pub(crate) handle: BalloonHandle,
    pub(crate) calls: Arc<Mutex<Vec<usize>>>,
}

impl Guest {
    pub(crate) fn new() -> Self {
        Self::with(&everything(), Marker::new(4096), Features::NONE)
    }

    /// All that `props` offer is negotiated, apart from `without`.
    pub(crate) fn with(props: &BalloonProps, marker: Marker, without: Features) -> Self {
        let calls = marker.calls.clone();
        let device = Balloon::new(props, marker).unwrap();
        let handle = device.handle();
        let mut bus = TestBus::with(device, Options::default());
        let ring = Features::RING_PACKED | Features::IN_ORDER;
        let features = bus.core().offered() - ring - without;
        bus.boot(features);
        Self { bus, handle, calls }
    }

    pub(crate) fn inflate(&mut self, pages: &[u32]) {
        let response = self.bus.request(INFLATE, &[&numbers(pages)], &[]);
        assert_eq!(response.len, 0, "nothing is written");
    }

    pub(crate) fn deflate(&mut self, pages: &[u32]) {
        let response = self.bus.request(DEFLATE, &[&numbers(pages)], &[]);
        assert_eq!(response.len, 0, "nothing is written");
    }

    /// Whether all of a page is gone; panics where a part is.
    pub(crate) fn is_gone(&self, page: u32) -> bool {
        let bytes = self.bus.ram().read(u64::from(page) << 12, 4096);
        let gone = bytes.iter().filter(|&&byte| byte == GONE).count();
        assert!(gone == 0 || gone == 4096, "a part of page {page}");
        gone > 0
    }

    pub(crate) fn gone(&self, pages: std::ops::Range<u32>) -> Vec<u32> {
        pages.filter(|&page| self.is_gone(page)).collect()
    }

    /// Bytes of each call since the last time.
    pub(crate) fn calls(&self) -> Vec<usize> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}
