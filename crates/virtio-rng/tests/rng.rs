//! The entropy device on a bus in memory.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::{Options, Segment, TestBus, wait_for};
use virtio_device::{ByteOrder, Features, SavedState, VirtioDevice};
use virtio_rng::{EntropySource, FileSource, HostRandom, Rng, RngProps};

/// Says what it was told to, then counts.
#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<VecDeque<io::Result<usize>>>>,
    next: u8,
}

impl Scripted {
    fn saying(script: impl IntoIterator<Item = io::Result<usize>>) -> Self {
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        Self { script, next: 0 }
    }
}

impl EntropySource for Scripted {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        let said = self.script.lock().unwrap().pop_front();
        let len = said.unwrap_or(Ok(data.len()))?.min(data.len());
        for byte in &mut data[..len] {
            self.next = self.next % 251 + 1;
            *byte = self.next;
        }
        Ok(len)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn rng<S: EntropySource>(source: S) -> Rng<S> {
    Rng::new(&RngProps::default(), source).unwrap()
}

fn counting(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i % 251) as u8 + 1).collect()
}

fn formats() -> [Features; 2] {
    let modern = Features::VERSION_1 | Features::INDIRECT_DESC | Features::EVENT_IDX;
    [modern, modern | Features::RING_PACKED]
}

#[test]
fn fills_writable_buffers_whatever_their_segmentation() {
    for features in formats() {
        let mut bus = TestBus::new(rng(Scripted::default()));
        bus.boot(features);
        let mut at = 0;
        for writable in [&[64][..], &[1, 0, 62, 1], &[32, 32]] {
            let response = bus.request(0, &[], writable);
            assert_eq!(response.len, 64);
            assert_eq!(response.bytes, counting(at, 64), "{writable:?}");
            at += 64;
        }
    }
}

#[test]
fn gives_no_byte_twice() {
    let mut bus = TestBus::new(rng(Scripted::default()));
    bus.boot(Features::VERSION_1);
    let mut given = Vec::new();
    for len in [4000, 4000, 4096, 100, 1] {
        let response = bus.request(0, &[], &[len]);
        assert_eq!(response.len, len);
        given.extend(response.bytes);
    }
    assert_eq!(given, counting(0, given.len()));
}

#[test]
fn bug_70_reads_nothing_and_is_bounded() {
    let mut bus = TestBus::new(rng(Scripted::default()));
    bus.boot(Features::VERSION_1);
    assert_eq!(bus.request(0, &[b"read only"], &[]).len, 0);
    assert_eq!(bus.request(0, &[], &[0]).len, 0);
    assert_eq!(bus.request(0, &[], &[1 << 20]).len, 4096);
    let response = bus.request(0, &[b"both"], &[8]);
    assert_eq!((response.len, response.bytes.len()), (8, 8));
}

#[test]
fn bug_70_a_gigabyte_outside_memory_gets_nothing() {
    let mut bus = TestBus::new(rng(Scripted::default()));
    bus.boot(Features::VERSION_1);
    let far = Segment {
        address: 1 << 40,
        len: 1 << 30,
        writable: true,
    };
    bus.queue(0).add(&[far]).unwrap();
    bus.queue(0).publish();
    bus.notify(0);
    bus.run();
    assert_eq!(bus.queue(0).collect().unwrap().len, 0);
    assert!(!bus.needs_reset());
    assert_eq!(bus.request(0, &[], &[16]).len, 16);
}

#[test]
fn bug_70_goes_on_after_its_source_failed() {
    let failures = [Ok(0), Err(io::ErrorKind::Other.into()), Ok(0), Ok(0)];
    let mut bus = TestBus::new(rng(Scripted::saying(failures)));
    bus.boot(Features::VERSION_1);
    assert_eq!(bus.request(0, &[], &[16]).len, 0);
    let response = bus.request(0, &[], &[16]);
    assert_eq!((response.len, response.bytes), (16, counting(0, 16)));
    assert!(!bus.needs_reset());
}

/// A pipe's reading end as a source, and its writing end.
fn pipe() -> (FileSource, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
    (FileSource::new(file).unwrap(), writer)
}

#[test]
fn waits_for_a_source_that_has_nothing_yet() {
    use std::io::Write;
    let (source, mut writer) = pipe();
    assert!(
        source
            .readiness()
            .unwrap()
            .as_fd()
            .try_clone_to_owned()
            .is_ok()
    );
    let mut bus = TestBus::new(rng(source));
    bus.boot(Features::VERSION_1);
    let request = bus.submit(0, &[], &[16]);
    bus.run();
    assert!(!bus.queue(0).has_used());
    // Nothing is in flight meanwhile, so a pause takes no time.
    bus.core().pause();
    bus.core().resume();
    bus.run();
    assert!(!bus.queue(0).has_used());
    writer.write_all(b"sixteen at least").unwrap();
    bus.run();
    let used = bus.queue(0).collect().unwrap();
    assert_eq!(bus.response(&request, used).bytes, b"sixteen at least");
    // Once the queue is served, the descriptor of the source is not watched: no turn is taken.
    assert!(!bus.run());
}

#[test]
fn keeps_to_its_quota_also_over_resets() {
    let period = Duration::from_millis(50);
    let props = RngProps::default().max_bytes(100).period(50);
    // Of a process that is held up for a period, the second request has a quota of its own.
    let (mut bus, start) = wait_for("two requests in a period", || {
        let mut bus = TestBus::new(Rng::new(&props, HostRandom).unwrap());
        bus.boot(Features::VERSION_1);
        let start = Instant::now();
        let given = [(); 2].map(|()| bus.request(0, &[], &[64]).len);
        if start.elapsed() >= period {
            return None;
        }
        assert_eq!(given, [64, 36]);
        Some((bus, start))
    });
    bus.reset();
    bus.boot(Features::VERSION_1);
    assert_eq!(bus.request(0, &[], &[64]).len, 64);
    assert!(start.elapsed() >= period);
}

#[test]
fn the_host_gives_different_bytes_each_time() {
    let mut bus = TestBus::new(rng(HostRandom));
    bus.boot(Features::VERSION_1);
    let [a, b] = [(); 2].map(|()| bus.request(0, &[], &[32]).bytes);
    assert_ne!(a, b);
    assert_ne!(a, vec![0; 32]);
}

#[test]
fn properties_are_checked() {
    let too_many = RngProps::default().max_bytes(1 << 63);
    let message = Rng::new(&too_many, HostRandom).err().unwrap().to_string();
    assert!(message.contains("max-bytes") && message.contains("2^63 - 1"));
    let no_period = RngProps::default().period(0);
    assert!(Rng::new(&no_period, HostRandom).is_err());
    let defaults = RngProps::default();
    assert_eq!(
        (defaults.max_bytes, defaults.period),
        (i64::MAX as u64, 65536)
    );
}

#[test]
fn only_its_own_state_is_restored() {
    let mut device = rng(HostRandom);
    let state = device.save().unwrap();
    assert!(device.restore(&state).is_ok());
    for wrong in [
        SavedState::default(),
        SavedState::new("virtio-rng", 2, Vec::new()),
        SavedState::new("virtio-rng", 1, vec![0]),
    ] {
        assert!(device.restore(&wrong).is_err());
    }
}

#[test]
fn a_legacy_driver_is_served_as_well() {
    let options = Options {
        legacy: Some(ByteOrder::Little),
        ..Options::default()
    };
    let mut bus = TestBus::with(rng(HostRandom), options);
    bus.boot(Features::NONE);
    assert_eq!(bus.request(0, &[], &[8]).len, 8);
}
