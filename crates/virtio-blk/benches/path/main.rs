//! The whole device path beside bare loops on the same file.
//!
//! `cargo bench -p virtio-blk` prints requests per second of random 4 KiB reads: a driver model,
//! its rings, the device and guest-io, on one thread, next to a loop that does nothing but
//! `preadv` and one that does nothing but io_uring. Nothing here asserts a time: the figures are
//! for people, the ratios for comparison.

mod bare;
mod driver;

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use bare::{Preadv, Ring};
use driver::Guest;
use testkit::bench::{BLOCK, BLOCKS, Random, image, on_images, race};
use virtio_blk::guest_io::Mode;

/// Something that reads blocks.
trait Contender {
    /// Reads all of `blocks`, keeping as many in flight as it was made for.
    fn read(&mut self, blocks: &[u64]);
}

fn main() {
    if let Ok(depth) = std::env::var(COUNT) {
        return count(&depth);
    }
    println!("random reads of 4 KiB, one thread, median of {ROUNDS} rounds");
    println!("requests per second, in thousands; user CPU in nanoseconds per request");
    on_images(TMP, compare);
    instructions();
}

fn compare(name: &str, file: &File) {
    println!("\n{name}");
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>12} {:>12} {:>9} {:>9} {:>9}",
        "depth", "device", "io_uring", "preadv", "of io_uring", "of preadv", "user", "user", "user"
    );
    for depth in [1, 8, 32, 128] {
        let mut contenders: [Box<dyn Contender>; 3] = [
            Box::new(Guest::new(file, Mode::Auto, depth)),
            Box::new(Ring::new(file, depth.into())),
            Box::new(Preadv::new(file)),
        ];
        let [device, ring, preadv] = compete(&mut contenders);
        println!(
            "{depth:>6} {:>9.0} {:>9.0} {:>9.0} {:>12.2} {:>12.2} {:>9.0} {:>9.0} {:>9.0}",
            device.rate / 1e3,
            ring.rate / 1e3,
            preadv.rate / 1e3,
            device.rate / ring.rate,
            device.rate / preadv.rate,
            device.user,
            ring.user,
            preadv.user,
        );
    }
}

/// Result of a contender: requests per second, and nanoseconds of user CPU per request.
#[derive(Clone, Copy, Debug)]
struct Score {
    rate: f64,
    user: f64,
}

/// A contender, with the CPU time that it has taken.
struct Metered<'a> {
    contender: &'a mut dyn Contender,
    user: Duration,
    count: usize,
}

impl<'a> Metered<'a> {
    fn new(contender: &'a mut Box<dyn Contender>) -> Self {
        Self {
            contender: &mut **contender,
            user: Duration::ZERO,
            count: 0,
        }
    }

    fn read(&mut self, blocks: &[u64]) {
        let before = user_time();
        self.contender.read(blocks);
        self.user += user_time() - before;
        self.count += blocks.len();
    }

    fn score(&self, rate: f64) -> Score {
        let user = self.user.as_nanos() as f64 / self.count as f64;
        Score { rate, user }
    }
}

fn compete(contenders: &mut [Box<dyn Contender>; 3]) -> [Score; 3] {
    let mut random = Random::default();
    let [mut a, mut b, mut c] = contenders.each_mut().map(Metered::new);
    let rates = race(
        ROUNDS,
        || random.numbers(REQUESTS, BLOCKS),
        [
            &mut |blocks| a.read(blocks),
            &mut |blocks| b.read(blocks),
            &mut |blocks| c.read(blocks),
        ],
    );
    [a.score(rates[0]), b.score(rates[1]), c.score(rates[2])]
}

/// Instructions of the device's wake-ups per request, as callgrind counts them.
fn instructions() {
    println!("\ninstructions per request in the device (callgrind)");
    for depth in [1, 32] {
        match (callgrind(depth, 6400), callgrind(depth, 12800)) {
            (Some(few), Some(many)) => println!("{depth:>6} {:>9.0}", (many - few) / 6400.0),
            _ => return println!("valgrind is not installed"),
        }
    }
}

fn callgrind(depth: u16, requests: usize) -> Option<f64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*Guest*serve*"])
        .arg(std::env::current_exe().ok()?)
        .env(COUNT, format!("{depth}:{requests}"))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// What runs under callgrind: so many requests at this depth, by the device alone.
fn count(what: &str) {
    let mut numbers = what.split(':').map(|number| number.parse());
    let mut number = || numbers.next().and_then(Result::ok).expect("depth:requests");
    let (depth, requests) = (number(), number());
    let file = image(TMP.as_ref()).expect("an image");
    let mut guest = Guest::new(&file, Mode::Auto, depth as u16);
    guest.read(&Random::default().numbers(requests, BLOCKS));
}

fn user_time() -> Duration {
    // SAFETY: `getrusage` fills in the structure that it is given.
    let time = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_utime
    };
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

const COUNT: &str = "PATH_COUNT";
const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const ROUNDS: usize = 41;
/// In each round; a multiple of every depth.
const REQUESTS: usize = 1 << 15;
