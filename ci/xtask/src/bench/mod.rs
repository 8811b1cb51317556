//! `cargo xtask bench guest`: two VMMs beside each other, interleaved, on the same ground, with the
//! same CPU model.
//!
//! Nested as it may be, no figure means anything by itself; only the ratios do.

pub mod aims;
pub mod counters;
pub mod load;
pub mod record;
pub mod sample;
pub mod table;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::console::{Paint, line, seconds};
use crate::guest::image::Image;
use crate::guest::machine::{LOG, Vmm};
use record::Record;
use sample::Sample;
use table::Table;

/// What is compared, and where.
#[derive(Debug)]
pub struct Bench {
    /// The VMMs; ratios are of the first to the second.
    pub vmms: [Vmm; 2],
    /// What their guests boot.
    pub image: Image,
    /// Where disks live.
    pub work: PathBuf,
    /// Where every guest's console log is kept, and the [`RECORD`].
    pub logs: PathBuf,
}

/// How many rounds there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// With so many vCPUs.
    pub vcpus: u32,
    /// All of them, those of earlier runs included.
    pub rounds: u32,
}

/// What one round found of each VMM; not all where it failed.
pub type Round = [Sample; 2];

impl Bench {
    /// Measures both VMMs in turns until there are so many rounds with each number of vCPUs, and prints a
    /// table for each. A boot that fails is reported and left out; rounds that the record has already
    /// are counted, those of before the emulated machine went down as well. Returns whether each table
    /// has all figures of both.
    pub fn run(&self, goals: &[Goal]) -> Result<bool> {
        self.warm_up()?;
        let mut record = Record::open(&self.logs.join(RECORD))?;
        let most = goals.iter().map(|goal| goal.rounds).max();
        for number in 1..=most.unwrap_or(0) {
            for Goal { vcpus, rounds } in goals {
                if (record.rounds(*vcpus).len() as u32) < number.min(*rounds) {
                    let what = format!("  round {number} of {rounds}, vCPUs: {vcpus}");
                    line(Paint::Faint.on(what));
                    record.add(*vcpus, self.measure_both(*vcpus, number))?;
                }
            }
        }
        let names = self.vmms.each_ref().map(Vmm::name);
        Ok(goals.iter().fold(true, |complete, Goal { vcpus, .. }| {
            let table = Table::new(names, record.rounds(*vcpus));
            table.print(&format!("vCPUs: {vcpus}"));
            complete && table.is_complete()
        }))
    }

    /// The first guest on fresh ground starts at another speed than all later ones, and files are read for
    /// the first time: one ahead for each VMM, which does not count.
    fn warm_up(&self) -> Result<()> {
        io::copy(
            &mut File::open(self.image.uncompressed_kernel())?,
            &mut io::sink(),
        )?;
        for vmm in &self.vmms {
            let start = Instant::now();
            let end = match sample::start(vmm, &self.image, &self.work) {
                Ok(()) => seconds(start.elapsed()),
                Err(error) => format!("{} {error:#}", Paint::Bad.on("failed:")),
            };
            let name = vmm.name();
            line(format_args!(
                "  the first start to init of {name}, not counted: {end}"
            ));
        }
        Ok(())
    }

    /// The VMMs take turns at being first.
    fn measure_both(&self, vcpus: u32, round: u32) -> Round {
        let mut found = Round::default();
        let first = usize::from(round.is_multiple_of(2));
        for vmm in [first, 1 - first] {
            found[vmm] = self.measure(&self.vmms[vmm], vcpus, round);
        }
        found
    }

    fn measure(&self, vmm: &Vmm, vcpus: u32, round: u32) -> Sample {
        let mut sample = Sample::default();
        let taken = sample.take(vmm, &self.image, &self.work, vcpus);
        let log = format!("bench-{}-{vcpus}-{round}.console.log", vmm.name());
        // Where the machine could not even be described, there is none.
        let _ = fs::copy(self.work.join(LOG), self.logs.join(&log));
        if let Err(error) = taken {
            let failed = Paint::Bad.on(format!("failed under {}", vmm.name()));
            line(format_args!("  {failed}, see {log}: {error:#}"));
        }
        sample
    }
}

/// The name of the [`Record`].
pub const RECORD: &str = "bench.tsv";
