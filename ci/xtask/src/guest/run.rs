//! Guests seen from the machine of the user: prepares everything, then starts this program again
//! where guests can run (`xtask within`), and collects what it found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::cargo;
use crate::console::Progress;
use crate::debian::Debian;
use crate::ground::Ground;
use crate::guest::image::Image;
use crate::guest::suite::RESULTS;
use crate::guest::verdict::Verdict;
use crate::report::Count;

/// Which VMM to use.
#[derive(Args, Clone, Debug, Default)]
pub struct Choice {
    /// The VMM: a path, or `qemu` to try the tests themselves; default: mini-vmm, built now
    #[arg(long, value_name = "PATH")]
    pub vmm: Option<PathBuf>,
}

/// Guests, ready to run.
#[derive(Debug)]
pub struct Guests {
    ground: Ground,
    image: Image,
    vmm: PathBuf,
    qemu: PathBuf,
}

impl Guests {
    /// Gets packages, builds the guest's image and the VMM, and finds out where guests can run.
    pub fn prepare(choice: &Choice) -> Result<Self> {
        let target = cargo::target()?;
        let (debian, guests) = (Debian::new(&target), target.join(GUESTS));
        let image = Image::build(&debian, &guests)?;
        let qemu = debian.program("qemu-system-x86_64")?.path;
        let vmm = match &choice.vmm {
            None => build_mini_vmm(&target)?,
            Some(name) if name.as_os_str() == "qemu" => qemu.clone(),
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("--vmm {}: no such program", path.display()))?,
        };
        Ok(Self {
            ground: Ground::choose(&debian, &guests)?,
            image,
            vmm,
            qemu,
        })
    }

    /// Runs the scenarios whose name contains `filter`.
    pub fn test(&self, filter: &str) -> Result<Count> {
        let status = self.within("suite", &["--filter", filter], TEST_LIMIT)?;
        let mut count = Count::default();
        for verdict in self
            .ground
            .result(RESULTS)?
            .lines()
            .filter_map(Verdict::from_line)
        {
            count.add(Count::one(verdict.result.is_ok()));
        }
        ensure!(
            count != Count::default(),
            "no scenario is called like {filter:?}"
        );
        ensure!(
            (status == 0) == (count.failed == 0),
            "the guests' results are incomplete (status {status})"
        );
        Ok(count)
    }

    /// Boots one guest and shows what it found.
    pub fn demo(&self) -> Result<()> {
        match self.within("demo", &[], DEMO_LIMIT)? {
            0 => Ok(()),
            status => bail!("the demo failed (status {status}); its console is shown above"),
        }
    }

    /// Measures the VMM beside QEMU.
    pub fn bench(&self, rounds: u32) -> Result<()> {
        let qemu = utf8(&self.qemu)?;
        match self.within(
            "bench",
            &["--beside", qemu, "--rounds", &rounds.to_string()],
            BENCH_LIMIT,
        )? {
            0 => Ok(()),
            status => bail!("the benchmark broke off (status {status})"),
        }
    }

    fn within(&self, what: &str, more: &[&str], limit: Duration) -> Result<i32> {
        let mut arguments = vec![
            "--image",
            utf8(self.image.directory())?,
            "--vmm",
            utf8(&self.vmm)?,
        ];
        arguments.extend(more);
        arguments.push(what);
        self.ground.run(&arguments, limit)
    }
}

fn build_mini_vmm(target: &Path) -> Result<PathBuf> {
    let _progress = Progress::start("building mini-vmm");
    cargo::check(&[
        "build",
        "--quiet",
        "--profile",
        "guest",
        "--package",
        "mini-vmm",
    ])?;
    Ok(target.join("guest").join("mini-vmm"))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Below the target directory; `guest` itself is the directory of a cargo profile.
const GUESTS: &str = "guests";
const TEST_LIMIT: Duration = Duration::from_secs(12 * 60);
const DEMO_LIMIT: Duration = Duration::from_secs(5 * 60);
const BENCH_LIMIT: Duration = Duration::from_secs(30 * 60);
