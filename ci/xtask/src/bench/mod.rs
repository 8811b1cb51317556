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

/// What one round found of each VMM; not all where it failed.
pub type Round = [Sample; 2];

impl Bench {
    /// Measures both VMMs `rounds` times with each number of `vcpus` and prints a table for each.
    /// A boot that fails is reported and left out; what the record has of earlier runs is counted,
    /// too. Returns whether each table has all figures of both.
    pub fn run(&self, vcpus: &[u32], rounds: u32) -> Result<bool> {
        self.warm_up()?;
        let mut record = Record::open(&self.logs.join(RECORD))?;
        for round in 1..=rounds {
            for vcpus in vcpus {
                line(Paint::Faint.on(format!("  round {round} of {rounds}, vCPUs: {vcpus}")));
                // Who is first depends on all rounds there are.
                let number = record.rounds(*vcpus).len() as u32 + 1;
                record.add(*vcpus, self.measure_both(*vcpus, number))?;
            }
        }
        let names = self.vmms.each_ref().map(Vmm::name);
        Ok(vcpus.iter().fold(true, |complete, vcpus| {
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
