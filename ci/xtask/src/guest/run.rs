//! Guests seen from the machine of the user: prepares everything, then starts this program again
//! where guests can run (`xtask within`), and collects what it found.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::bench::RECORD;
use crate::bench::record::count;
use crate::cargo;
use crate::debian::Debian;
use crate::ground::Ground;
use crate::guest::image::Image;
use crate::guest::machine::Vmm;
use crate::guest::scenario::{Selection, TOOLS};
use crate::guest::scenarios::{ALL, NEWEST, NEWEST_LABEL, share};
use crate::guest::suite::{boots, check_of, results_of};
use crate::guest::verdict::Verdict;
use crate::report::Count;

/// Which VMM to use.
#[derive(Args, Clone, Debug, Default)]
pub struct Choice {
    /// The VMM: a path, or `qemu` to try the tests themselves; default: mini-vmm, built now
    #[arg(long, value_name = "PATH")]
    pub vmm: Option<PathBuf>,
    /// The guests' CPU model, as `-cpu` has it; default: one that suits where they run
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
}

/// Guests, ready to run.
#[derive(Debug)]
pub struct Guests {
    ground: Ground,
    image: Image,
    /// With Debian's newest kernel.
    newest: Image,
    vmm: PathBuf,
    qemu: PathBuf,
    cpu: String,
}

impl Guests {
    /// Gets packages, builds the guest's image and the VMM, and finds out where guests can run.
    pub fn prepare(choice: &Choice) -> Result<Self> {
        let target = cargo::target()?;
        let (debian, guests) = (Debian::new(&target), target.join(GUESTS));
        let [image, newest] = images()?;
        let qemu = debian.program("qemu-system-x86_64")?.path;
        let vmm = match &choice.vmm {
            None => build_mini_vmm()?,
            Some(name) if name.as_os_str() == "qemu" => qemu.clone(),
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("--vmm {}: no such program", path.display()))?,
        };
        let ground = Ground::choose(&debian, &guests)?;
        Ok(Self {
            cpu: choice.cpu.as_deref().unwrap_or(ground.cpu()).to_owned(),
            ground,
            image,
            newest,
            vmm,
            qemu,
        })
    }

    /// Runs the scenarios that are selected.
    pub fn test(&self, selection: &Selection) -> Result<Count> {
        let filter = &selection.filter;
        let mut words = vec!["--filter", filter];
        if let Some(newest) = self.newest() {
            words.extend(["--newest", utf8(newest.directory())?]);
        }
        let mut limit = TEST_LIMIT;
        if selection.full {
            words.push("--full");
            limit = FULL_TEST_LIMIT;
        }
        let boots = self.boots(filter);
        ensure!(!boots.is_empty(), "no scenario is called like {filter:?}");
        let places = self.ground.places().min(boots.len() as u32);
        let arguments = self.arguments("suite", &words)?;
        let status = self.ground.run_in(places, &arguments, limit)?;
        let mut verdicts = Vec::new();
        for place in 1..=places {
            let lines = self.ground.result(&results_of(place))?;
            verdicts.extend(lines.lines().filter_map(Verdict::from_line));
        }
        let (mut count, mut made) = (Count::default(), HashSet::new());
        for verdict in verdicts {
            count.add(Count::one(verdict.result.is_ok()));
            made.insert(verdict.check);
        }
        for boot in boots {
            ensure!(made.contains(&check_of(&boot)), "{boot} left no results");
        }
        ensure!(
            (status == 0) == (count.failed == 0),
            "the guests' results are incomplete (status {status})"
        );
        Ok(count)
    }

    fn boots(&self, filter: &str) -> Vec<String> {
        let newest = self.newest().map(|_| boots(NEWEST, NEWEST_LABEL, filter));
        let mut all = boots(ALL, "", filter);
        all.extend(newest.into_iter().flatten());
        all
    }

    /// The image with the newest kernel, unless the VMM is QEMU, which has none of the disks that it is
    /// there for.
    fn newest(&self) -> Option<&Image> {
        Some(&self.newest).filter(|_| Vmm::new(&self.vmm, &self.cpu).is_ours())
    }

    /// Boots one guest and shows what it found.
    pub fn demo(&self) -> Result<()> {
        match self.within("demo", &[], DEMO_LIMIT)? {
            0 => Ok(()),
            status => bail!("the demo failed (status {status}); its console is shown above"),
        }
    }

    /// Measures the VMM beside QEMU: with each number of `vcpus`, `rounds` times. What the file `add`
    /// keeps of earlier runs is counted, and it will keep this one, too.
    pub fn bench(mut self, vcpus: &[u32], rounds: u32, add: Option<&Path>) -> Result<()> {
        // As many as the guests have, at most, that are measured.
        self.ground.processors(2);
        let earlier = match add.filter(|file| file.exists()) {
            Some(file) => std::fs::read_to_string(file)?,
            None => String::new(),
        };
        self.ground.hand_over(RECORD, &earlier)?;
        let goals = vcpus
            .iter()
            .map(|vcpus| Ok(count(&earlier, *vcpus)? + rounds));
        let measured = self.measure(vcpus, &goals.collect::<Result<Vec<_>>>()?, rounds);
        if let Some(file) = add {
            std::fs::write(file, self.ground.result(RECORD)?)?;
        }
        measured
    }

    /// Until there are as many rounds as `goals` says with each number of `vcpus`, `more` of them new.
    fn measure(&self, vcpus: &[u32], goals: &[u32], more: u32) -> Result<()> {
        let list = |numbers: &[u32]| {
            let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
            numbers.join(",")
        };
        let (vcpus, goals, boots) = (list(vcpus), list(goals), 2 * more * vcpus.len() as u32);
        let words = [
            "--beside",
            utf8(&self.qemu)?,
            "--vcpus",
            &vcpus,
            "--rounds",
            &goals,
        ];
        match self.within("bench", &words, BOOT_LIMIT * (boots + 1))? {
            0 => Ok(()),
            status => bail!("not all was measured (status {status}); see the lines above"),
        }
    }

    fn within(&self, what: &str, more: &[&str], limit: Duration) -> Result<i32> {
        self.ground.run(&self.arguments(what, more)?, limit)
    }

    fn arguments<'a>(&'a self, what: &'a str, more: &[&'a str]) -> Result<Vec<&'a str>> {
        let mut arguments = vec![
            "--image",
            utf8(self.image.directory())?,
            "--vmm",
            utf8(&self.vmm)?,
            "--cpu",
            &self.cpu,
        ];
        arguments.extend(more);
        arguments.push(what);
        Ok(arguments)
    }
}

/// Gets what guests and their scenarios take from Debian, unless it is there, and makes the images: of
/// its stable kernel and of its newest.
pub fn images() -> Result<[Image; 2]> {
    let target = cargo::target()?;
    let (debian, guests) = (Debian::new(&target), target.join(GUESTS));
    let image = Image::build(&debian, debian.kernel()?, &guests, "image")?;
    let kernel = Debian::newest(&target)?.kernel()?;
    let newest = Image::build(&debian, kernel, &guests, "newest")?;
    for name in TOOLS.iter().chain(share::PROGRAMS) {
        debian.program(name)?;
    }
    debian.program("qemu-system-x86_64")?;
    Ok([image, newest])
}

fn build_mini_vmm() -> Result<PathBuf> {
    let directory = cargo::build_for_guests()?;
    let name = directory.join(QTEST_NAME);
    let _ = std::fs::remove_file(&name);
    std::os::unix::fs::symlink("mini-vmm", name)?;
    Ok(directory.join("mini-vmm"))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Below the target directory; `guest` itself is the directory of a cargo profile.
pub(super) const GUESTS: &str = "guests";
const TEST_LIMIT: Duration = Duration::from_secs(40 * 60);
const FULL_TEST_LIMIT: Duration = Duration::from_secs(5 * 3600);
const DEMO_LIMIT: Duration = Duration::from_secs(5 * 60);
/// For one boot of one VMM with all that is measured in it.
const BOOT_LIMIT: Duration = Duration::from_secs(5 * 60);
/// QEMU's qtest programs want this form of a name of the VMM that they start.
const QTEST_NAME: &str = "mini-vmm-system-x86_64";
