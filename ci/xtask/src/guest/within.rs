//! `xtask within`: the half of the guest commands that runs where KVM does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::bench::{Bench, Goal};
use crate::guest::demo;
use crate::guest::image::Image;
use crate::guest::machine::Vmm;
use crate::guest::scenario::Selection;
use crate::guest::scenarios::{ALL, NEWEST, NEWEST_LABEL};
use crate::guest::suite::Suite;

/// What the outer half passes on.
#[derive(Args, Clone, Debug)]
pub struct Within {
    what: What,
    /// Where results go
    #[arg(long)]
    share: PathBuf,
    /// Which of those that share the work this is
    #[arg(long, default_value_t = 1)]
    place: u32,
    /// The guest's image
    #[arg(long)]
    image: PathBuf,
    /// The image of guests with the newest kernel
    #[arg(long)]
    newest: Option<PathBuf>,
    /// The VMM
    #[arg(long)]
    vmm: PathBuf,
    /// The VMM to compare with
    #[arg(long)]
    beside: Option<PathBuf>,
    /// The guests' CPU model
    #[arg(long)]
    cpu: String,
    #[command(flatten)]
    selection: Selection,
    /// With how many vCPUs to measure
    #[arg(long, value_delimiter = ',')]
    vcpus: Vec<u32>,
    /// With each of these, how many rounds there are to be
    #[arg(long, value_delimiter = ',')]
    rounds: Vec<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Suite,
    Demo,
    Bench,
}

impl Within {
    /// Does it, and returns whether all went well. Disks live in the temporary directory.
    pub fn run(&self) -> Result<bool> {
        let work = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
        let done = self.run_in(&work);
        let _ = std::fs::remove_dir_all(&work);
        done
    }

    fn run_in(&self, work: &Path) -> Result<bool> {
        let (vmm, image) = (Vmm::new(&self.vmm, &self.cpu), Image::open(&self.image));
        match self.what {
            What::Suite => {
                let run = |image, label, scenarios| -> Result<_> {
                    let suite = Suite::new(vmm.clone(), image, &self.share, work, self.place)?;
                    suite
                        .resume()?
                        .labelled(label)
                        .run(scenarios, &self.selection)
                };
                let mut count = run(image, "", ALL)?;
                if let Some(newest) = &self.newest {
                    // The results of the first are among those of the second.
                    count = run(Image::open(newest), NEWEST_LABEL, NEWEST)?;
                }
                Ok(count.failed == 0)
            }
            What::Demo => demo::run(&vmm, &image, work),
            What::Bench => {
                let beside = self.beside.as_ref().context("--beside is missing")?;
                let bench = Bench {
                    vmms: [vmm, Vmm::new(beside, &self.cpu)],
                    image,
                    work: work.to_owned(),
                    logs: self.share.clone(),
                };
                let goals = self.vcpus.iter().zip(&self.rounds);
                let goals = goals.map(|(&vcpus, &rounds)| Goal { vcpus, rounds });
                bench.run(&goals.collect::<Vec<_>>())
            }
        }
    }
}
