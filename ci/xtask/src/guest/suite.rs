//! Runs scenarios: those that may share a boot in one, the others each in their own.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread::spawn;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::console::{Paint, line, seconds};
use crate::guest::image::Image;
use crate::guest::machine::{LOG, Machine, Vmm};
use crate::guest::scenario::{
    BOOT, Equip, Play, SILENCE, Scenario, Selection, Shared, Solo, in_l1,
};
use crate::guest::session::{Guest, Report, SILENT};
use crate::guest::verdict::Verdict;
use crate::report::Count;

/// A run of scenarios with one VMM. Verdicts are printed as they come, and kept in the results file
/// when their boot has ended. Runs at several places, of the same scenarios, share the boots among
/// them.
#[derive(Debug)]
pub struct Suite {
    vmm: Vmm,
    image: Image,
    share: PathBuf,
    work: PathBuf,
    place: u32,
    results: File,
    count: Count,
    /// The checks of the run that this one resumes.
    earlier: HashSet<String>,
    /// Verdicts of the boot that is under way.
    boot: Vec<Verdict>,
    /// What names of checks and scenarios begin with.
    label: String,
    processors: Option<u32>,
    full: bool,
}

impl Suite {
    /// Prepares the run at `place`: results and logs go to `share`, disks to `work`.
    pub fn new(vmm: Vmm, image: Image, share: &Path, work: &Path, place: u32) -> Result<Self> {
        fs::create_dir_all(share.join(CLAIMS))?;
        let results = File::options()
            .append(true)
            .create(true)
            .open(share.join(results_of(place)))?;
        Ok(Self {
            place,
            vmm,
            image,
            share: share.to_owned(),
            work: work.to_owned(),
            results,
            count: Count::default(),
            earlier: HashSet::new(),
            boot: Vec::new(),
            label: String::new(),
            processors: None,
            full: false,
        })
    }

    /// Takes over what the share has of a run that was cut short: boots with results are not made
    /// again.
    pub fn resume(mut self) -> Result<Self> {
        let text = fs::read_to_string(self.share.join(results_of(self.place)))?;
        for verdict in text.lines().filter_map(Verdict::from_line) {
            self.count.add(Count::one(verdict.result.is_ok()));
            self.earlier.insert(verdict.check);
        }
        Ok(self)
    }

    /// The same with `label` before the names of scenarios and checks.
    #[must_use]
    pub fn labelled(mut self, label: &str) -> Self {
        self.label = label.to_owned();
        self
    }

    /// The same with so many processors in every guest, whatever scenarios ask for.
    #[must_use]
    pub fn processors(mut self, processors: u32) -> Self {
        self.processors = Some(processors);
        self
    }

    /// Runs those of `scenarios` that are selected. Returns the number of checks.
    pub fn run(mut self, scenarios: &[Scenario], selection: &Selection) -> Result<Count> {
        self.full = selection.full;
        let label = self.label.clone();
        let chosen = scenarios
            .iter()
            .filter(|scenario| scenario.matches(&label, &selection.filter));
        let (mut shared, mut alone, mut equip) = (Vec::new(), Vec::new(), Vec::new());
        for scenario in chosen {
            match scenario.play {
                Play::Shared(parts) => {
                    shared.push((scenario.name, parts));
                    equip.push(scenario.equip);
                }
                Play::Alone(play) => alone.push((scenario, play)),
            }
        }
        if !shared.is_empty() {
            self.boot(SHARED, &equip, |suite, machine| {
                suite.run_shared(machine, &shared)
            })?;
        }
        for (scenario, play) in alone {
            self.boot(scenario.name, &[scenario.equip], |suite, machine| {
                suite.run_alone(machine, scenario.name, play)
            })?;
        }
        Ok(self.count)
    }

    /// One machine, one boot; what goes wrong with it as a whole is a failed check of its own.
    ///
    /// One level down, where the emulated SVM now and then ends a guest of several processors in a
    /// triple fault or stops one of them for good, whichever VMM runs it, a boot that failed by that is
    /// made again, and that is said.
    fn boot(
        &mut self,
        name: &str,
        equip: &[Equip],
        play: impl Fn(&mut Self, &mut Machine) -> Result<()>,
    ) -> Result<()> {
        if self.earlier.contains(&self.name_of(name)) || !self.claims(name)? {
            return Ok(());
        }
        for left in (0..BOOTS).rev() {
            let log = self.boot_once(name, equip, &play)?;
            match self.excuse(&log) {
                Some(excuse) if left > 0 && in_l1() => line(format_args!(
                    "  {excuse}, as the emulated SVM has it: what this boot said does not count"
                )),
                _ => break,
            }
            self.boot.clear();
        }
        let verdicts = std::mem::take(&mut self.boot);
        for verdict in &verdicts {
            self.count.add(Count::one(verdict.result.is_ok()));
        }
        let lines: String = verdicts.iter().map(Verdict::to_line).collect();
        Ok(self.results.write_all(lines.as_bytes())?)
    }

    /// Whether a boot is to be made here: nobody has claimed it, or this run has, and was cut short.
    fn claims(&self, boot: &str) -> Result<bool> {
        let (claim, place) = (self.share.join(CLAIMS).join(self.name_of(boot)), self.place);
        match File::create_new(&claim) {
            Ok(mut file) => write!(file, "{place}").map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::read_to_string(&claim).map(|whose| whose == place.to_string())
            }
            Err(error) => Err(error),
        }
        .context("claiming a boot")
    }

    /// Whether a boot that failed did so as those do that the emulated SVM ended, and how.
    fn excuse(&self, log: &str) -> Option<&'static str> {
        let mut failures = self
            .boot
            .iter()
            .filter_map(|verdict| verdict.result.as_ref().err());
        if failures.any(|failure| failure.starts_with(SILENT)) {
            return Some("a guest that stopped for good");
        }
        let failed = self.boot.iter().any(|verdict| verdict.result.is_err());
        (failed && log.contains(TRIPLE_FAULT)).then_some("a triple fault")
    }

    /// The check that a boot as a whole is, with its label.
    fn name_of(&self, boot: &str) -> String {
        check_of(&format!("{}{boot}", self.label))
    }

    /// Returns what the console said.
    fn boot_once(
        &mut self,
        name: &str,
        equip: &[Equip],
        play: impl Fn(&mut Self, &mut Machine) -> Result<()>,
    ) -> Result<String> {
        let (start, directory) = (Instant::now(), self.work.join(name));
        let shared = name == SHARED;
        let root = if shared {
            "virtio-blk-pci"
        } else {
            "virtio-blk-pci,packed=on"
        };
        let mut machine = Machine::new(&self.vmm, &self.image, &directory, root)?;
        machine.full |= self.full;
        machine.parameter("pulse=5");
        match (shared, self.label.is_empty()) {
            (false, _) => machine.load_uncompressed(),
            // Of the two kernels that boot shared guests, one unpacks itself and the VMM the other.
            (true, true) => machine.leave_packed(),
            (true, false) => {}
        }
        let equipped = equip.iter().try_for_each(|equip| equip(&mut machine));
        machine.processors = self.processors.unwrap_or(machine.processors);
        let played = equipped.and_then(|()| play(self, &mut machine));
        let detail = played.map(|()| seconds(start.elapsed()));
        self.record(Verdict::of(&format!("{name}-boot"), detail));
        let log = fs::read(machine.file(LOG)).unwrap_or_default();
        let kept = self.share.join(format!("{}{name}.console.log", self.label));
        let _ = fs::write(kept, &log);
        fs::remove_dir_all(&directory)?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    fn run_shared(&mut self, machine: &mut Machine, scenarios: &[(&str, Shared)]) -> Result<()> {
        let names: Vec<_> = scenarios.iter().map(|(name, _)| *name).collect();
        machine.parameter(&format!("run={}", names.join(",")));
        let mut missing = scenarios
            .iter()
            .flat_map(|(_, shared)| (shared.checks)(machine))
            .collect();
        let mut guest = Guest::start(machine)?;
        let beside: Vec<_> = scenarios
            .iter()
            .map(|(name, shared)| {
                let (work, machine) = (shared.beside, machine.clone());
                (*name, spawn(move || work(&machine)))
            })
            .collect();
        let ended = self
            .listen(&mut guest, &mut missing)
            .and_then(|()| guest.end());
        for check in missing {
            self.record(Verdict {
                check,
                result: Err("the guest never reported it".to_owned()),
            });
        }
        for (name, work) in beside {
            self.record_all(work.join().unwrap_or_else(|_| vec![crashed(name)]));
        }
        ended?;
        for (_, shared) in scenarios {
            self.record_all((shared.after)(machine));
        }
        Ok(())
    }

    /// Records the guest's reports until the VMM ends.
    fn listen(&mut self, guest: &mut Guest, missing: &mut BTreeSet<String>) -> Result<()> {
        let ready = guest.ready(BOOT)?;
        line(Paint::Faint.on(format!("  user space after {ready:.1} s")));
        loop {
            let verdict = match guest.report(SILENCE)? {
                Report::Verdict(verdict) => verdict,
                Report::Done => return Ok(()),
                Report::Ended => bail!("{}", guest.early_end()),
                _ => continue,
            };
            missing.remove(&verdict.check);
            self.record(verdict);
        }
    }

    fn run_alone(&mut self, machine: &mut Machine, name: &str, play: Solo) -> Result<()> {
        machine.parameter(&format!("run={name}"));
        let mut guest = Guest::start(machine)?;
        let verdicts = play(&mut guest, machine)?;
        self.record_all(verdicts);
        Ok(())
    }

    fn record_all(&mut self, verdicts: Vec<Verdict>) {
        verdicts
            .into_iter()
            .for_each(|verdict| self.record(verdict));
    }

    fn record(&mut self, mut verdict: Verdict) {
        verdict.check.insert_str(0, &self.label);
        let (word, detail) = match &verdict.result {
            Ok(detail) => (Paint::Good.on("pass"), detail),
            Err(detail) => (Paint::Bad.on("FAIL"), detail),
        };
        line(format_args!("  {word} {:<16} {detail}", verdict.check));
        self.boot.push(verdict);
    }
}

/// The boots that [`Suite::run`] makes.
pub fn boots(scenarios: &[Scenario], label: &str, filter: &str) -> Vec<String> {
    let chosen = scenarios
        .iter()
        .filter(|scenario| scenario.matches(label, filter));
    let mut boots: Vec<_> = chosen
        .map(|scenario| match scenario.play {
            Play::Shared(_) => format!("{label}{SHARED}"),
            Play::Alone(_) => format!("{label}{}", scenario.name),
        })
        .collect();
    boots.sort();
    boots.dedup();
    boots
}

/// The check that a boot as a whole is.
pub fn check_of(boot: &str) -> String {
    format!("{boot}-boot")
}

/// The name of a place's results file in the share: one [`Verdict`] per line.
pub fn results_of(place: u32) -> String {
    format!("results.{place}.tsv")
}

fn crashed(name: &str) -> Verdict {
    Verdict {
        check: format!("{name}-beside"),
        result: Err("the host's part of the test crashed".to_owned()),
    }
}

/// How often a boot is made, at most.
const BOOTS: u32 = 3;
/// What mini-vmm says of one.
const TRIPLE_FAULT: &str = "triple fault of the guest";
/// The boot of all scenarios that may share one.
const SHARED: &str = "shared";
/// Boots that somebody makes, in the share: files that say at which place.
const CLAIMS: &str = "claims";
