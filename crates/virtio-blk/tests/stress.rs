//! Many requests in flight on several queues, each served by a thread, all data verified.

mod common;

use std::sync::Arc;

use common::*;
use testkit::virtio_bus::ThreadRunner;
use testkit::{Request, TestBus};
use virtio_blk::guest_io::Mode;
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps};

const QUEUES: u16 = 4;
/// Sectors that belong to each queue.
const SHARE: u64 = SECTORS / QUEUES as u64;

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A request on its way and what it must have found or left.
struct Pending {
    request: Request,
    sector: u64,
    expected: Option<Vec<u8>>,
}

/// One driver's view of its share of the disk. Requests in flight do not overlap.
struct Driver {
    queue: u16,
    disk: Vec<u8>,
    busy: Vec<bool>,
    pending: Vec<Pending>,
    submitted: u8,
}

impl Driver {
    fn new(queue: u16) -> Self {
        let start = usize::from(queue) * SHARE as usize * SECTOR;
        Self {
            queue,
            disk: pattern(SECTORS as usize * SECTOR)[start..][..SHARE as usize * SECTOR].to_vec(),
            busy: vec![false; SHARE as usize],
            pending: Vec::new(),
            submitted: 0,
        }
    }

    fn submit(&mut self, bus: &mut TestBus, random: &mut Xorshift) {
        let sector = random.below(SHARE);
        let sectors = (1 + random.below(8)).min(SHARE - sector);
        let range = sector as usize..(sector + sectors) as usize;
        if self.busy[range.clone()].contains(&true) {
            return;
        }
        let bytes = range.start * SECTOR..range.end * SECTOR;
        let first = u64::from(self.queue) * SHARE + sector;
        let (request, expected) = if random.below(2) == 0 {
            let len = bytes.len() as u32;
            let request = bus.submit(
                self.queue,
                &[&header(IN, first)],
                &[len / 2, len - len / 2, 1],
            );
            (request, Some(self.disk[bytes].to_vec()))
        } else {
            self.submitted = self.submitted.wrapping_add(1);
            let data = vec![self.submitted; bytes.len()];
            let (a, b) = data.split_at(data.len() / 3);
            let request = bus.submit(self.queue, &[&header(OUT, first), a, b], &[1]);
            self.disk[bytes].copy_from_slice(&data);
            (request, None)
        };
        self.busy[range].fill(true);
        self.pending.push(Pending {
            request,
            sector,
            expected,
        });
    }

    fn collect(&mut self, bus: &mut TestBus) {
        while let Some(used) = bus.queue(self.queue).collect() {
            let ours = |pending: &Pending| pending.request.id == used.id;
            let index = self.pending.iter().position(ours).expect("in flight");
            let pending = self.pending.swap_remove(index);
            let writable = |s: &&testkit::Segment| s.writable;
            let total: u32 = pending.request.segments.iter().map(|s| s.len).sum();
            let room: u32 = pending
                .request
                .segments
                .iter()
                .filter(writable)
                .map(|s| s.len)
                .sum();
            let answer = Answer::of(bus.response(&pending.request, used));
            assert_eq!((answer.status, answer.used), (OK, room));
            let sectors = (total as usize - 17) / SECTOR;
            if let Some(expected) = pending.expected {
                assert!(answer.data == expected, "sector {}", pending.sector);
            }
            self.busy[pending.sector as usize..][..sectors].fill(false);
        }
    }
}

fn run(mode: Mode, ring: Features, write_through: bool) {
    let file = image();
    let backend = raw(&file).mode(mode).write_through(write_through);
    let props = BlkProps::default().num_queues(QUEUES).queue_size(64);
    let device = Blk::new(&props, backend).unwrap();
    let mut bus = TestBus::on(device, Arc::new(ThreadRunner::new("blk")));
    bus.boot(Features::VERSION_1 | F_FLUSH | F_CONFIG_WCE | ring);
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut drivers: Vec<_> = (0..QUEUES).map(Driver::new).collect();
    for round in 0..300 {
        for driver in &mut drivers {
            while driver.pending.len() < 8 {
                driver.submit(&mut bus, &mut random);
            }
        }
        // Now and then everything stands still for a moment.
        if round % 50 == 49 {
            bus.core().pause();
            bus.core().resume();
        }
        let busy = |bus: &mut TestBus| (0..QUEUES).any(|queue| bus.queue(queue).has_used());
        assert!(bus.run_until(busy), "{mode:?} {ring:?}");
        drivers
            .iter_mut()
            .for_each(|driver| driver.collect(&mut bus));
    }
    for driver in &mut drivers {
        assert!(bus.run_until(|bus| {
            driver.collect(bus);
            driver.pending.is_empty()
        }));
    }
    assert!(!bus.needs_reset());
    let all = drivers.iter().flat_map(|driver| driver.disk.clone());
    assert_eq!(contents(&file), all.collect::<Vec<_>>());
}

#[test]
fn data_is_right_on_split_rings() {
    all_modes()
        .into_iter()
        .for_each(|mode| run(mode, Features::NONE, false));
}

#[test]
fn data_is_right_on_split_rings_with_events_and_tables() {
    let ring = Features::EVENT_IDX | Features::INDIRECT_DESC | Features::IN_ORDER;
    all_modes()
        .into_iter()
        .for_each(|mode| run(mode, ring, false));
}

#[test]
fn data_is_right_on_packed_rings() {
    let ring = Features::RING_PACKED | Features::EVENT_IDX;
    all_modes()
        .into_iter()
        .for_each(|mode| run(mode, ring, false));
}

#[test]
fn data_is_right_without_a_cache() {
    let ring = Features::RING_PACKED | Features::INDIRECT_DESC;
    all_modes()
        .into_iter()
        .for_each(|mode| run(mode, ring, true));
}
