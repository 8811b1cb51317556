//! Bytes through ports.

mod common;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::*;
use testkit::{Segment, TestBus, wait_for};
use virtio_serial::{Port, PortBackend};

#[test]
fn bug_23_guests_bytes_arrive_whatever_their_segmentation() {
    for features in formats() {
        let wire = Wire::new();
        let mut bus = opened(console_and_port(&wire, &Wire::new()), features);
        let data = pattern(300);
        for sizes in [vec![300], vec![1, 299], vec![0, 150, 0, 150], vec![3; 100]] {
            let mut rest = &data[..];
            let pieces: Vec<_> = sizes
                .iter()
                .map(|&size| {
                    let (piece, tail) = rest.split_at(size);
                    rest = tail;
                    piece
                })
                .collect();
            assert_eq!(
                bus.request(1, &pieces, &[8]).len,
                0,
                "bug_26: nothing is written"
            );
            assert_eq!(wire.received(), data);
        }
    }
}

#[test]
fn bug_23_hosts_bytes_arrive_whatever_the_segmentation() {
    for features in formats() {
        let wire = Wire::new();
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        let data = pattern(300);
        for sizes in [
            vec![300],
            vec![1, 299],
            vec![0, 150, 0, 150],
            vec![3; 100],
            vec![500],
        ] {
            wire.send(&data);
            let response = bus.request(4, &[b"ignored"], &sizes);
            assert_eq!(response.len, 300);
            assert_eq!(response.bytes[..300], data);
        }
    }
}

#[test]
fn host_bytes_fill_one_buffer_after_the_other() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    wire.send(b"abcdefghij");
    for expected in [&b"abcd"[..], b"efgh", b"ij"] {
        let response = bus.request(4, &[], &[4]);
        assert_eq!(&response.bytes[..response.len as usize], expected);
    }
    let request = bus.submit(4, &[], &[4]);
    bus.run();
    assert!(!bus.queue(4).has_used());
    wire.send(b"k");
    bus.run();
    let used = bus.queue(4).collect().unwrap();
    assert_eq!((used.id, used.len), (request.id, 1));
}

#[test]
fn bug_64_nothing_is_read_for_a_guest_without_room() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    wire.send(&pattern(1 << 20));
    bus.run();
    assert_eq!((wire.reads(), wire.waiting()), (0, 1 << 20));
    assert!(!bus.run(), "nor does anything spin");
    bus.request(4, &[], &[16]);
    let taken = (1 << 20) - wire.waiting();
    assert!(taken <= 64 << 10, "{taken} bytes are kept");
    let reads = wire.reads();
    while !bus.run() && wire.reads() == reads && wire.waiting() > 900 << 10 {
        bus.request(4, &[], &[16 << 10]);
        assert!(wire.reads() <= reads + 1);
    }
}

#[test]
fn bug_57_starved_guest_goes_on_when_it_has_room_again() {
    for features in formats() {
        let wire = Wire::new();
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        let data = pattern(200_000);
        wire.send(&data);
        let mut got = Vec::<u8>::new();
        while got.len() < data.len() {
            let requests: Vec<_> = (0..7).map(|_| bus.submit(4, &[], &[999])).collect();
            assert!(bus.run_until(|bus| bus.queue(4).has_used()));
            bus.run();
            for request in requests {
                let Some(used) = bus.queue(4).collect() else {
                    break;
                };
                assert_eq!(used.id, request.id);
                let response = bus.response(&request, used);
                got.extend(&response.bytes[..response.len as usize]);
            }
        }
        assert_eq!(got, data);
    }
}

#[test]
fn closed_port_is_not_read() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    tell(&mut bus, 1, PORT_OPEN, 0);
    wire.send(b"later");
    let request = bus.submit(4, &[], &[16]);
    bus.run();
    assert_eq!(wire.reads(), 0);
    tell(&mut bus, 1, PORT_OPEN, 1);
    bus.run();
    let used = bus.queue(4).collect().unwrap();
    assert_eq!(&bus.response(&request, used).bytes[..5], b"later");
}

#[test]
fn slow_back_end_holds_up_the_guest_and_loses_nothing() {
    for features in formats() {
        let wire = Wire::with_room(0);
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        let data = pattern(100_000);
        for chunk in data.chunks(1000) {
            bus.submit(5, &[chunk], &[]);
        }
        bus.run();
        assert!(!bus.queue(5).has_used());
        let mut got = Vec::<u8>::new();
        while got.len() < data.len() {
            wire.set_room(777);
            bus.run();
            got.extend(wire.received());
            let done = got.len() / 1000;
            let used = std::iter::from_fn(|| bus.queue(5).collect()).count();
            let before = (got.len() - got.len().min(777)) / 1000;
            assert_eq!(used, done - before);
        }
        assert_eq!(got, data);
        assert!(!bus.run(), "an idle port is not watched");
    }
}

#[test]
fn slow_port_does_not_hold_up_others() {
    let (slow, quick) = (Wire::with_room(0), Wire::new());
    let mut bus = opened(console_and_port(&quick, &slow), modern());
    for _ in 0..100 {
        bus.submit(5, &[b"stuck"], &[]);
    }
    for _ in 0..300 {
        bus.request(1, &[b"through"], &[]);
    }
    assert_eq!(quick.received().len(), 2100);
    assert_eq!(slow.received(), b"");
}

#[test]
fn busy_port_lets_others_have_their_turn() {
    let (busy, other) = (Wire::new(), Wire::new());
    let mut bus = opened(console_and_port(&busy, &other), modern());
    let huge = Segment {
        address: 0,
        len: testkit::END as u32,
        writable: false,
    };
    for _ in 0..20 {
        bus.queue(1).add(&[huge]).unwrap();
    }
    bus.queue(1).publish();
    bus.notify(1);
    bus.submit(5, &[b"a word"], &[]);
    // A round of the runner is one call for each queue and some more.
    let runner_rounds = 20 * testkit::END / (256 << 10);
    assert!(runner_rounds > 1000);
    bus.run();
    assert_eq!(other.received(), b"a word");
    assert!(bus.run_until(|bus| bus.queue(1).in_flight() == 0 || {
        while bus.queue(1).collect().is_some() {}
        busy.received();
        false
    }));
}

#[test]
fn bytes_for_nobody_are_lost() {
    let wire = Wire::unconnected();
    let mut bus = opened(console_and_port(&Wire::unconnected(), &wire), modern());
    for queue in [1, 5, 7, 9] {
        bus.request(queue, &[b"nobody", b"home"], &[]);
    }
    wire.connect();
    bus.run();
    bus.request(5, &[b"hello"], &[]);
    assert_eq!(wire.received(), b"hello");
}

#[test]
fn peer_that_leaves_takes_what_was_for_it_along() {
    for replaced in [false, true] {
        let wire = Wire::with_room(3);
        let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
        bus.submit(5, &[b"abcdef"], &[]);
        bus.submit(4, &[], &[16]);
        bus.run();
        assert!(!bus.queue(5).has_used());
        if replaced {
            wire.connect();
        }
        wire.hang_up();
        bus.run();
        wire.set_room(usize::MAX);
        bus.run();
        assert!(
            bus.queue(5).collect().is_some(),
            "nobody waits for who left"
        );
        wire.connect();
        bus.run();
        bus.request(5, &[b"ghi"], &[]);
        assert_eq!(wire.received(), b"abcghi");
        bus.submit(5, &[b"jkl"], &[]);
        bus.run();
        assert_eq!(wire.received(), b"jkl");
    }
}

/// Never has anything, and counts how often it is asked.
struct Empty(Arc<AtomicUsize>);

impl PortBackend for Empty {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[test]
fn ended_back_end_is_left_alone() {
    let reads = Arc::new(AtomicUsize::new(0));
    let mut bus = opened(serial(vec![Port::console(Empty(reads.clone()))]), modern());
    bus.request(1, &[b"into the void"], &[]);
    for _ in 0..10 {
        bus.submit(0, &[], &[16]);
        bus.run();
    }
    assert!(!bus.run());
    assert!(!bus.queue(0).has_used());
    assert_eq!(reads.load(Ordering::Relaxed), 1);
}

#[test]
fn bug_18_buffer_that_leaves_memory_is_not_sent_in_part() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&wire, &Wire::new()), modern());
    let segment = |address, len| Segment {
        address,
        len,
        writable: false,
    };
    let before = bus.interrupts().config();
    for chain in [
        &[segment(0x8000, 64), segment(testkit::END, 1)][..],
        &[segment(testkit::END - 200_000, 200_001)],
    ] {
        bus.queue(1).add(chain).unwrap();
        bus.queue(1).publish();
        bus.notify(1);
        bus.run();
        assert_eq!(bus.queue(1).collect().map(|used| used.len), Some(0));
    }
    assert_eq!(wire.received(), b"");
    assert!(bus.needs_reset());
    assert_eq!(bus.interrupts().config(), before + 1);
    bus.request(1, &[b"goes on"], &[]);
    assert_eq!(wire.received(), b"goes on");
}

#[test]
fn bug_18_bytes_for_a_buffer_that_leaves_memory_wait_for_a_better_one() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    wire.send(b"precious");
    let (address, len, writable) = (testkit::END - 4, 16, true);
    bus.queue(4)
        .add(&[Segment {
            address,
            len,
            writable,
        }])
        .unwrap();
    bus.queue(4).publish();
    bus.notify(4);
    bus.run();
    assert_eq!(bus.queue(4).collect().map(|used| used.len), Some(0));
    assert_eq!(bus.ram().read(testkit::END - 4, 4), [0; 4]);
    assert_eq!(bus.request(4, &[], &[8]).bytes, b"precious");
}

#[test]
fn console_that_nobody_reads_does_not_hold_up_its_guest_for_long() {
    let patience = Duration::from_millis(100);
    let (console, port) = (Wire::with_room(4), Wire::with_room(4));
    let device = console_and_port(&console, &port).with_patience(patience);
    let mut bus = opened(device, modern());
    bus.submit(5, &[b"a port waits"], &[]);
    let start = Instant::now();
    bus.request(1, &[b"panic: at"], &[]);
    assert!(start.elapsed() >= patience);
    let start = Instant::now();
    for _ in 0..100 {
        bus.request(1, &[b"lost"], &[]);
    }
    assert!(start.elapsed() < patience * 100);
    assert!(!bus.queue(5).has_used());
    console.set_room(usize::MAX);
    port.set_room(usize::MAX);
    bus.request(1, &[b"reboot"], &[]);
    assert_eq!(console.received(), b"panireboot");
    assert_eq!(port.received(), b"a port waits");
}

#[test]
fn console_that_is_read_slowly_loses_nothing() {
    let data = pattern(50);
    let got = wait_for("a reader that is slow, but not too slow", || {
        read_slowly(&data)
    });
    assert_eq!(got, data);
}

/// What a reader gets who takes a byte at a time, long before the console loses patience, and takes
/// longer than that for all of them. `None` if the reader itself was held up.
fn read_slowly(data: &[u8]) -> Option<Vec<u8>> {
    let patience = Duration::from_millis(200);
    let console = Wire::with_room(0);
    let device = console_and_port(&console, &Wire::new()).with_patience(patience);
    let mut bus = opened(device, modern());
    let mut last = Instant::now();
    bus.submit(1, &[data], &[]);
    let mut got = Vec::new();
    for _ in data {
        std::thread::sleep(patience / 10);
        console.set_room(1);
        bus.run();
        got.extend(console.received());
        if last.elapsed() >= patience {
            return None;
        }
        last = Instant::now();
    }
    Some(got)
}

#[test]
fn ten_megabytes_arrive_each_way() {
    for features in formats() {
        let wire = Wire::echo();
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        let data = pattern(10 << 20);
        let (mut sent, mut got) = (0, Vec::new());
        while got.len() < data.len() {
            let chunk = &data[sent..data.len().min(sent + (32 << 10))];
            sent += chunk.len();
            if !chunk.is_empty() {
                bus.request(5, &[chunk], &[]);
            }
            receive(&mut bus, &mut got);
        }
        assert!(got == data);
    }
}

fn receive(bus: &mut TestBus, got: &mut Vec<u8>) {
    let response = bus.request(4, &[], &[4096; 8]);
    got.extend(&response.bytes[..response.len as usize]);
}
