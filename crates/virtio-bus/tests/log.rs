//! What a driver can provoke does not flood the log.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};
use testkit::{Knobs, Malformed, TestBus, Toy};
use virtio_device::Features;

/// Warnings so far.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_driver_that_breaks_its_device_again_and_again_is_told_of_seldom() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let (toy, knobs) = Toy::new(1, &[&[0]]);
    let mut bus = TestBus::new(toy);
    for round in 0..99 {
        Knobs::set(&knobs.refuse_activation, round % 3 == 2);
        assert!(bus.negotiate(Features::VERSION_1));
        bus.set_up_queue(0, 16);
        match round % 3 {
            0 => Malformed::SelfLoop.forge(bus.queue(0)),
            1 => drop(bus.submit(0, &[b"F"], &[1])),
            _ => {}
        }
        bus.driver_ok();
        assert!(bus.needs_reset(), "round {round}");
        bus.reset();
    }
    let lines = LINES.0.lock().unwrap();
    assert!((1..10).contains(&lines.len()), "{lines:?}");
    assert!(lines[0].starts_with("virtio device 42: queue 0 stops"));
}
