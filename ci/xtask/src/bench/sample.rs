//! One boot of one VMM with everything that is measured in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::bench::counters;
use crate::guest::image::Image;
use crate::guest::machine::{Machine, Vmm};
use crate::guest::scenario::{BOOT, SILENCE};
use crate::guest::session::{Guest, Report};

/// The figures of one boot, by metric.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    values: BTreeMap<String, f64>,
}

impl Sample {
    /// Boots, measures, waits for power-off.
    pub fn take(vmm: &Vmm, image: &Image, work: &Path) -> Result<Self> {
        let mut machine = Machine::new(vmm, image, work, "virtio-blk-pci")?;
        machine.disk("virtio-blk-pci", "data", 64 << 20)?;
        machine.parameter("run=bench");
        // A second one would compete with the VMM's threads for a machine of two processors.
        machine.processors = 1;
        let (start, mut sample) = (Instant::now(), Self::default());
        let mut guest = Guest::start(&machine)?;
        guest.ready(BOOT)?;
        sample.set("start to init, s", start.elapsed().as_secs_f64());
        sample.set("exits to init", counters::exits(guest.process())?);
        sample.set("user exits to init", counters::user_exits(guest.process())?);
        sample.listen(&mut guest)?;
        guest.end()?;
        Ok(sample)
    }

    /// The figure, if it was measured.
    pub fn value(&self, metric: &str) -> Option<f64> {
        self.values.get(metric).copied()
    }

    fn listen(&mut self, guest: &mut Guest) -> Result<()> {
        let (mut exits, mut requests) = (0.0, 0.0);
        loop {
            match guest.report(SILENCE)? {
                Report::Fact { name, value } if name == "bench" && value == "begin" => {
                    exits = counters::user_exits(guest.process())?;
                    self.weigh(guest)?;
                }
                Report::Fact { name, .. } if name == "bench" => {
                    exits = counters::user_exits(guest.process())? - exits;
                }
                Report::Fact { name, value } => {
                    let rate: f64 = value.parse()?;
                    requests += rate * SECONDS;
                    self.set(&format!("fio {name}, IOPS"), rate);
                }
                Report::Done => {
                    self.set("user exits per request", exits / requests);
                    return Ok(());
                }
                Report::Ended => bail!("the VMM ended too early; {}", guest.last_words()),
                _ => (),
            }
        }
    }

    fn weigh(&mut self, guest: &Guest) -> Result<()> {
        let memory = counters::memory(guest.process())?;
        self.set("memory beyond guest RAM, MiB", memory.resident);
        self.set("of it private dirty, MiB", memory.private_dirty);
        Ok(())
    }

    fn set(&mut self, metric: &str, value: f64) {
        self.values.insert(metric.to_owned(), value);
    }
}

/// Every metric, in the order in which they are printed. The few exits that are counted with those
/// of requests are fio's report on the early console.
pub const METRICS: [&str; 10] = [
    "start to init, s",
    "exits to init",
    "user exits to init",
    "memory beyond guest RAM, MiB",
    "of it private dirty, MiB",
    "fio randread-1, IOPS",
    "fio randread-32, IOPS",
    "fio randwrite-1, IOPS",
    "fio randwrite-32, IOPS",
    "user exits per request",
];
/// How long each run of fio takes: `runtime` in `guest/bench.sh`.
const SECONDS: f64 = 4.0;
