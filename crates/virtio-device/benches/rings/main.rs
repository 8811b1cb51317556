//! Our split and packed engines beside virtio-queue, in one run.
//!
//! `cargo bench -p virtio-device` prints nanoseconds per chain at opt-level 3, then runs itself
//! again built with opt-level "s", and last counts instructions under callgrind where valgrind is
//! installed. Nothing here asserts a time: the figures are for people, the ratios for comparison.

mod driver;
mod engines;

use std::process::Command;
use std::time::{Duration, Instant};

use driver::{Driver, Shape, memory};
use engines::{Engine, Ours, Upstream};
use vm_memory::GuestMemoryMmap;
use vm_memory::bitmap::{AtomicBitmap, Bitmap, NewBitmap};

fn main() {
    if let Ok(which) = std::env::var(COUNT) {
        return count(&which);
    }
    let level = std::env::var(LEVEL).unwrap_or_else(|_| "3".to_owned());
    println!("\nopt-level {level}: nanoseconds per chain, a host slice for each descriptor");
    println!("(median of {ROUNDS} rounds; xN: how many times faster than virtio-queue)\n");
    one_thread::<()>("plain memory");
    one_thread::<AtomicBitmap>("dirty-tracked memory");
    two_threads();
    if level == "3" {
        again_for_size();
        instructions();
    }
}

fn one_thread<B: Bitmap + NewBitmap + 'static>(name: &str) {
    println!("one thread, {name}");
    header();
    for descriptors in [1, 3, 8] {
        for indirect in [false, true] {
            for batch in [1, 32] {
                let shape = |packed| Shape {
                    descriptors,
                    indirect,
                    packed,
                };
                let upstream = measure::<B, _>(shape(false), batch, Upstream::new);
                let split = measure::<B, _>(shape(false), batch, Ours::new);
                let packed = measure::<B, _>(shape(true), batch, Ours::new);
                row(
                    &label(descriptors, indirect, batch),
                    upstream,
                    split,
                    packed,
                );
            }
        }
    }
    println!();
}

/// Median nanoseconds per chain. Only the device's side is inside the clock.
fn measure<B, E>(shape: Shape, batch: u16, engine: impl Fn(Shape) -> E) -> f64
where
    B: Bitmap + NewBitmap + 'static,
    E: Engine<B>,
{
    let memory = memory::<B>();
    let (mut driver, mut engine) = (Driver::new(&memory, shape), engine(shape));
    let (chains, idle) = (shape.chains(), clock());
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            driver.make(chains);
            driver.fence();
            let start = Instant::now();
            for _ in 0..chains / batch {
                engine.wake(&memory, batch);
            }
            let took = start.elapsed().as_nanos() as f64 - idle;
            assert_eq!(driver.collect(), chains, "every chain came back");
            took / f64::from(chains)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// What reading the clock costs.
fn clock() -> f64 {
    let start = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(Instant::now());
    }
    start.elapsed().as_nanos() as f64 / 1000.0
}

/// A driver on another processor refills as fast as it can.
fn two_threads() {
    println!("a live driver on a second processor, 3 descriptors, at most 32 a wake-up");
    println!("(time in wake-ups that found chains, which are as long as the driver made them)");
    header();
    for indirect in [false, true] {
        let shape = |packed| Shape {
            descriptors: 3,
            indirect,
            packed,
        };
        let upstream = live(shape(false), Upstream::new);
        let (split, packed) = (live(shape(false), Ours::new), live(shape(true), Ours::new));
        row(&label(3, indirect, 32), upstream, split, packed);
    }
    println!();
}

/// Nanoseconds per chain in the device. What it waits for the driver, which is the slower of the
/// two, does not count: a device sleeps then.
fn live<E: Engine<()>>(shape: Shape, engine: impl Fn(Shape) -> E) -> f64 {
    let memory: GuestMemoryMmap = memory();
    let (mut engine, idle) = (engine(shape), clock());
    std::thread::scope(|scope| {
        scope.spawn(|| refill(&mut Driver::new(&memory, shape), shape));
        let (mut busy, mut done) = (0.0, 0);
        while done < LIVE_CHAINS {
            let start = Instant::now();
            let count = engine.wake(&memory, 32);
            let took = start.elapsed();
            if count == 0 {
                let woken = start + NOTIFICATION;
                while Instant::now() < woken {
                    std::hint::spin_loop();
                }
                continue;
            }
            busy += took.as_nanos() as f64 - idle;
            done += u64::from(count);
        }
        busy / LIVE_CHAINS as f64
    })
}

fn refill(driver: &mut Driver<'_, ()>, shape: Shape) {
    let mut in_flight = 0;
    let mut left = LIVE_CHAINS;
    while left + in_flight > 0 {
        in_flight -= u64::from(driver.collect());
        let more = (u64::from(shape.chains()) - in_flight).min(left);
        driver.make(more as u16);
        (left, in_flight) = (left - more, in_flight + more);
        std::hint::spin_loop();
    }
}

fn header() {
    println!(
        "  {:<34} {:>12} {:>16} {:>16} {:>13}",
        "", "virtio-queue", "split", "packed", "packed/split"
    );
}

fn row(label: &str, upstream: f64, split: f64, packed: f64) {
    let (by_split, by_packed) = (upstream / split, upstream / packed);
    println!(
        "  {label:<34} {upstream:>12.1} {split:>9.1} x{by_split:<5.1} {packed:>9.1} x{by_packed:<5.1} {:>12.2}",
        packed / split
    );
}

fn label(descriptors: u16, indirect: bool, batch: u16) -> String {
    let kind = if indirect { "indirect" } else { "direct" };
    format!("{descriptors} descriptors, {kind}, batch {batch}")
}

/// The same program, optimised for size.
fn again_for_size() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = [
        "bench",
        "--quiet",
        "-p",
        "virtio-device",
        "--bench",
        "rings",
    ];
    let mut run = Command::new(cargo);
    run.args(args)
        .args(["--profile", "bench-size"])
        .env(LEVEL, "s");
    match run.status() {
        Ok(status) if status.success() => {}
        other => println!("opt-level s: could not be run: {other:?}"),
    }
}

/// Instructions per chain, as callgrind counts them: the same on every machine.
fn instructions() {
    println!("instructions per chain, 3 descriptors, batch 32 (callgrind)");
    for which in [
        "virtio-queue",
        "split",
        "packed",
        "split-indirect",
        "packed-indirect",
    ] {
        match (callgrind(which, 50), callgrind(which, 150)) {
            (Some(few), Some(many)) => {
                let chains = 100.0 * 64.0;
                println!("  {which:<34} {:>12.0}", (many - few) as f64 / chains);
            }
            _ => return println!("  valgrind is not installed"),
        }
    }
}

fn callgrind(which: &str, rounds: u32) -> Option<u64> {
    let run = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-atstart=no",
        ])
        .arg("--toggle-collect=*wake*")
        .arg(std::env::current_exe().ok()?)
        .env(COUNT, format!("{which}:{rounds}"))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// What runs under callgrind: `rounds` times 64 chains.
fn count(which: &str) {
    let (which, rounds) = which.split_once(':').expect("engine:rounds");
    let rounds = rounds.parse().expect("a number of rounds");
    let (packed, indirect) = (which.starts_with("packed"), which.ends_with("indirect"));
    let shape = Shape {
        descriptors: 3,
        indirect,
        packed,
    };
    if which == "virtio-queue" {
        turn(shape, Upstream::new(shape), rounds);
    } else {
        turn(shape, Ours::new(shape), rounds);
    }
}

fn turn(shape: Shape, mut engine: impl Engine<()>, rounds: u32) {
    let memory: GuestMemoryMmap = memory();
    let mut driver = Driver::new(&memory, shape);
    for _ in 0..rounds {
        driver.make(64);
        engine.wake(&memory, 32);
        engine.wake(&memory, 32);
        assert_eq!(driver.collect(), 64, "every chain came back");
    }
}

const ROUNDS: usize = 2001;
const LIVE_CHAINS: u64 = 2_000_000;
/// About as long as a driver's notification takes to wake a device.
const NOTIFICATION: Duration = Duration::from_micros(5);
const LEVEL: &str = "RINGS_OPT_LEVEL";
const COUNT: &str = "RINGS_COUNT";
