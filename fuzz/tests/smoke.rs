//! Every target on the stable compiler: the seeds, and then a stream of inputs that is always the
//! same, for a few seconds.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fuzz::stream::Stream;
use fuzz::targets::ALL;

/// Prints the input that its target panics on.
struct Reproducer<'a>(&'a str, &'a [u8]);

impl Drop for Reproducer<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex = self.1.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            println!("{} panics on (xxd -r -p): {hex}", self.0);
        }
    }
}

fn smoke(name: &str) {
    let (_, target) = ALL
        .iter()
        .find(|(other, _)| *other == name)
        .expect("a target");
    let run = |input: &[u8]| {
        let _reproducer = Reproducer(name, input);
        target(input);
    };
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    for file in fs::read_dir(seeds).expect("seeds") {
        run(&fs::read(file.expect("a file").path()).expect("an input"));
    }
    let start = Instant::now();
    let inputs = Stream::new(name.len() as u64).take(INPUTS);
    let count = inputs
        .take_while(|_| start.elapsed() < SECONDS)
        .map(|input| run(&input))
        .count();
    println!("{name}: {count} inputs in {:?}", start.elapsed());
    assert!(count > 0);
}

macro_rules! smoke {
    ($($name:ident)*) => {
        $(#[test] fn $name() { smoke(stringify!($name)); })*

        #[test]
        fn no_target_is_left_out() {
            let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

smoke! { split_ring packed_ring balloon blk net rng scsi serial p9 pci mmio ccw channel_programs restore }

const INPUTS: usize = 50_000;
const SECONDS: Duration = Duration::from_secs(4);
