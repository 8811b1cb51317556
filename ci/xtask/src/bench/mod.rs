//! `cargo xtask bench guest`: two VMMs beside each other, interleaved, on the same ground, with the
//! same CPU model.
//!
//! Nested as it may be, no figure means anything by itself; only the ratios do.

pub mod counters;
pub mod record;
pub mod sample;
pub mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::console::{Paint, line};
use crate::guest::image::Image;
use crate::guest::machine::{LOG, Machine, Vmm};
use crate::guest::scenario::BOOT;
use crate::guest::session::Guest;
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

/// What one round found of each VMM; nothing where it failed.
pub type Round = [Option<Sample>; 2];

impl Bench {
    /// Measures both VMMs `rounds` times with each number of `vcpus` and prints a table for each.
    /// A round that fails is reported and left out; what the record has of earlier runs is counted,
    /// too. Returns whether each table has figures of both.
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

    /// The first guest on fresh ground starts a fifth faster than all later ones: one ahead that does
    /// not count.
    fn warm_up(&self) -> Result<()> {
        let machine = Machine::new(&self.vmms[0], &self.image, &self.work, "virtio-blk-pci")?;
        Guest::start(&machine)?.ready(BOOT).map(drop)
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

    fn measure(&self, vmm: &Vmm, vcpus: u32, round: u32) -> Option<Sample> {
        let taken = Sample::take(vmm, &self.image, &self.work, vcpus);
        let log = format!("bench-{}-{vcpus}-{round}.console.log", vmm.name());
        // Where the machine could not even be described, there is none.
        let _ = fs::copy(self.work.join(LOG), self.logs.join(&log));
        match taken {
            Ok(sample) => Some(sample),
            Err(error) => {
                let failed = Paint::Bad.on(format!("failed under {}", vmm.name()));
                line(format_args!("  {failed}, see {log}: {error:#}"));
                None
            }
        }
    }
}

/// The name of the [`Record`].
pub const RECORD: &str = "bench.tsv";
