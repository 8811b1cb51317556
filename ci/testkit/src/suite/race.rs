//! A driver on another thread, that keeps to no rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use virtio_bus::{Kicks, ThreadRunner};
use virtio_device::{Features, RingConfig, RingFormat, VirtioDevice};

use super::{During, Subject, sample_queues};
use crate::{
    AVAIL, INDIRECT, Malformed, NEXT, Options, Ram, RawDescriptor, Space, TestBus, USED, WRITE,
};

/// Past bug 14: rings and descriptors change while the device looks at them. It may complain; it
/// may not panic or hang, and a reset mends it.
pub fn racing_driver<D: VirtioDevice>(subject: &Subject<D>) {
    for features in subject.mixes() {
        let _during = During(format!("{features:?}"));
        let mut bus = threaded(subject);
        for round in 0..ROUNDS {
            bus.boot(features);
            let stop = Arc::new(AtomicBool::new(false));
            let scribbler = scribble(&mut bus, round, stop.clone());
            std::thread::sleep(RACE);
            stop.store(true, Ordering::Relaxed);
            let alive = scribbler.join();
            assert!(alive.is_ok());
            bus.reset();
        }
        bus.boot(features);
        subject.traffic(&mut bus);
    }
}

/// Past bug 7: workers on threads stop when told to, whatever they were given last.
pub fn threads_stop<D: VirtioDevice>(subject: &Subject<D>) {
    for features in subject.mixes() {
        let mut bus = threaded(subject);
        bus.boot(features);
        subject.traffic(&mut bus);
        bus.core().pause();
        bus.core().resume();
        subject.traffic(&mut bus);
        bus.reset();
        for &malformed in Malformed::ALL {
            let _during = During(format!("{malformed:?}, {features:?}"));
            bus.boot(features);
            for queue in sample_queues(&mut bus) {
                if malformed.applies(bus.queue(queue).config()) {
                    malformed.forge(bus.queue(queue));
                    bus.notify(queue);
                }
            }
            bus.reset();
        }
        bus.boot(features);
        subject.traffic(&mut bus);
    }
}

fn threaded<D: VirtioDevice>(subject: &Subject<D>) -> TestBus {
    subject.bus_with(Options {
        runner: Some(Arc::new(ThreadRunner::new("suite"))),
        ..Options::default()
    })
}

fn scribble(bus: &mut TestBus, seed: u64, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let queues = sample_queues(bus);
    let rings = queues
        .iter()
        .map(|&queue| (queue, *bus.queue(queue).config()))
        .collect();
    let mut scribbler = Scribbler {
        ram: bus.ram(),
        kicks: bus.core().kicks().clone(),
        rings,
        table: bus.heap().alloc(256, 16),
        random: 0x9e37_79b9_7f4a_7c15 ^ seed << 32 | 1,
    };
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            scribbler.round();
        }
    })
}

struct Scribbler {
    ram: Ram<Space>,
    kicks: Arc<Kicks>,
    rings: Vec<(u16, RingConfig)>,
    table: u64,
    random: u64,
}

impl Scribbler {
    fn round(&mut self) {
        let pick = self.below(self.rings.len() as u64) as usize;
        let (queue, config) = self.rings[pick];
        let split = config.format() == RingFormat::Split;
        for _ in 0..8 {
            let index = self.below(config.size.get().min(16).into());
            let descriptor = self.descriptor(&config);
            let bytes = if split {
                descriptor.split(config.order)
            } else {
                descriptor.packed()
            };
            self.ram.write(config.descriptor + 16 * index, &bytes);
            self.ram.write(self.table + index, &bytes);
        }
        if split {
            let size = u64::from(config.size.get());
            let (slot, head) = (self.below(size), self.below(size.min(16)));
            self.ram.store(config.driver + 4 + 2 * slot, head as u16);
            let idx: u16 = self.ram.load(config.driver + 2);
            let idx = idx.wrapping_add(self.below(3) as u16);
            self.ram.store(config.driver + 2, idx);
        }
        self.kicks.notify(queue.into());
    }

    /// Right often enough to be looked at.
    fn descriptor(&mut self, config: &RingConfig) -> RawDescriptor {
        let flags = [0, WRITE, WRITE, NEXT, NEXT | WRITE, INDIRECT][self.below(6) as usize];
        let address = match self.below(8) {
            0 => self.next(),
            _ => self.below(1 << 20) & !15,
        };
        let indirect = flags == INDIRECT && config.features.contains(Features::INDIRECT_DESC);
        let lap = if self.below(2) == 0 { AVAIL } else { USED };
        RawDescriptor {
            address: if indirect { self.table } else { address },
            len: if indirect {
                64
            } else {
                self.below(4096) as u32
            },
            flags: flags
                | if config.format() == RingFormat::Packed {
                    lap
                } else {
                    0
                },
            next: self.below(17) as u16,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end.max(1)
    }

    /// Xorshift.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

const ROUNDS: u64 = 4;
const RACE: Duration = Duration::from_millis(5);
