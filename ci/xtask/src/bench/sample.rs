//! One boot of one VMM with everything that is measured in it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::counters::{self, Counters};
use crate::guest::image::Image;
use crate::guest::machine::{Machine, Vmm};
use crate::guest::scenario::BOOT;
use crate::guest::session::{Guest, Report};

/// The figures of one boot, by metric, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    values: Vec<(String, f64)>,
}

impl Sample {
    /// Boots with `vcpus`, measures, waits for power-off.
    pub fn take(vmm: &Vmm, image: &Image, work: &Path, vcpus: u32) -> Result<Self> {
        let mut machine = Machine::new(vmm, image, work, "virtio-blk-pci")?;
        machine.disk("virtio-blk-pci", "data", 64 << 20)?;
        machine.parameter("run=bench");
        machine.processors = vcpus;
        let (start, mut sample) = (Instant::now(), Self::default());
        let mut guest = Guest::start(&machine)?;
        guest.ready(BOOT)?;
        let (elapsed, counters) = (start.elapsed(), Counters::read(guest.process())?);
        sample.set("start to init, s", elapsed.as_secs_f64());
        sample.set("exits to init", counters.exits);
        sample.set("  for interrupts of the host", counters.host_interrupts);
        sample.set("  to user space", counters.user_exits);
        sample.listen(&mut guest)?;
        guest.end()?;
        Ok(sample)
    }

    /// The names of the figures.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(metric, _)| metric.as_str())
    }

    /// All figures with their names.
    pub fn figures(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// The figure, if it was measured.
    pub fn value(&self, metric: &str) -> Option<f64> {
        let found = self.values.iter().find(|(name, _)| name == metric);
        found.map(|(_, value)| *value)
    }

    pub(super) fn set(&mut self, metric: &str, value: f64) {
        self.values.push((metric.to_owned(), value));
    }

    fn listen(&mut self, guest: &mut Guest) -> Result<()> {
        let mut load = Load::default();
        loop {
            match guest.report(SILENCE)? {
                Report::Fact { name, value } => match name.as_str() {
                    "begin" => load = Load::begin(value, guest)?,
                    "end" => load.end(guest)?,
                    "rate" => self.rate(&load, value.parse()?),
                    _ => self.set(&name, value.parse()?),
                },
                Report::Done => return self.weigh(guest),
                Report::Ended => bail!("the VMM ended too early; {}", guest.last_words()),
                _ => (),
            }
        }
    }

    fn rate(&mut self, load: &Load, rate: f64) {
        let (requests, spent) = (rate * SECONDS, &load.counters);
        self.set(&format!("fio {}, IOPS; per request:", load.name), rate);
        for (what, count) in [
            ("exits", spent.exits),
            ("  to user space", spent.user_exits),
            ("context switches", spent.switches),
        ] {
            self.set(&format!("  {}: {what}", load.name), count / requests);
        }
    }

    fn weigh(&mut self, guest: &Guest) -> Result<()> {
        let memory = counters::memory(guest.process())?;
        self.set("memory beyond guest RAM, MiB", memory.resident);
        self.set("  of it private dirty, MiB", memory.private_dirty);
        Ok(())
    }
}

/// One run of fio, and what was counted meanwhile.
#[derive(Debug, Default)]
struct Load {
    name: String,
    counters: Counters,
}

impl Load {
    fn begin(name: String, guest: &Guest) -> Result<Self> {
        let counters = Counters::read(guest.process())?;
        Ok(Self { name, counters })
    }

    fn end(&mut self, guest: &Guest) -> Result<()> {
        let now = Counters::read(guest.process()).context("counters after fio")?;
        self.counters = now.since(&self.counters);
        Ok(())
    }
}

/// How long each run of fio takes: `runtime` in `guest/bench.sh`.
const SECONDS: f64 = 4.0;
/// How long the guest may say nothing: many times what a run of fio takes.
const SILENCE: Duration = Duration::from_secs(60);
