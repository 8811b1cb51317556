//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::{JoinHandle, spawn};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::console::{Paint, line};
use crate::guest::run::{Choice, Guests};
use crate::guest::s390x;
use crate::guest::scenario::Selection;
use crate::guest::scenarios::{ALL, NEWEST, NEWEST_LABEL};
use crate::guest::within::Within;
use crate::report::{Count, Report, Step};
use crate::{fuzz, guest, release, unit};

/// The commands of this project
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does everything compile?
    Check,
    /// Runs everything: lint, unit tests, documentation, and tests in real guests
    Test {
        /// Run one part only
        #[arg(long)]
        only: Option<Part>,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        choice: Choice,
    },
    /// Boots a stock Debian guest under mini-vmm and shows what it finds
    Demo {
        /// The guest's architecture; s390x is emulated, with our devices on channel I/O
        #[arg(long, default_value = "x86")]
        arch: Arch,
        #[command(flatten)]
        choice: Choice,
    },
    /// Measures
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Runs fuzz targets, each for a while; without a name, all of them
    Fuzz {
        /// The target's name
        target: Option<String>,
        /// For how long
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Format, clippy, feature sets, and the rules of this project
    Lint,
    /// Can every crate be published?
    ReleaseCheck,
    #[command(hide = true)]
    Within(Within),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Lint,
    Unit,
    Guest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arch {
    X86,
    S390x,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// mini-vmm beside QEMU, in the same place, interleaved
    Guest {
        /// How often each of them is measured
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// With how many vCPUs, one after the other
        #[arg(
            long,
            default_value = "1,2",
            value_delimiter = ',',
            value_name = "N,..."
        )]
        vcpus: Vec<u32>,
        /// Add to the rounds that this file keeps, and count them all
        #[arg(long, value_name = "FILE")]
        add: Option<PathBuf>,
        #[command(flatten)]
        choice: Choice,
    },
}

/// Does what the command line says; 0 if all went well, 1 if not, 2 if it makes no sense.
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            line(format_args!("{} {error:#}", Paint::Bad.on("error:")));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<bool> {
    match command {
        Command::Check => Ok(report(unit::check)),
        Command::Test {
            only,
            selection,
            choice,
        } => Ok(report(|report| test(report, only, &selection, &choice))),
        Command::Demo {
            arch: Arch::X86,
            choice,
        } => Guests::prepare(&choice)?.demo().map(|()| true),
        Command::Demo {
            arch: Arch::S390x, ..
        } => s390x::Guests::prepare()?.demo().map(|()| true),
        Command::Bench {
            what:
                Bench::Guest {
                    rounds,
                    vcpus,
                    add,
                    choice,
                },
        } => Guests::prepare(&choice)?
            .bench(&vcpus, rounds, add.as_deref())
            .map(|()| true),
        Command::Fuzz { target, seconds } => Ok(report(|report| {
            fuzz::run(report, target.as_deref(), seconds)
        })),
        Command::Lint => Ok(report(unit::lint)),
        Command::ReleaseCheck => Ok(report(release::check)),
        Command::Within(within) => within.run(),
    }
}

fn test(report: &mut Report, only: Option<Part>, selection: &Selection, choice: &Choice) {
    let filter = selection.filter.as_str();
    let wanted = |part| only.is_none_or(|only| only == part);
    // While the compiler works. What goes wrong with it will do so again where it is needed, and be said.
    let stock = (only.is_none() && filter.is_empty()).then(|| spawn(guest::stock));
    if wanted(Part::Lint) && filter.is_empty() {
        unit::lint(report);
    }
    if wanted(Part::Unit) {
        unit::test(report, filter);
    }
    if wanted(Part::Guest) {
        let _ = stock.map(JoinHandle::join);
        test_guests(report, selection, choice);
    }
}

fn test_guests(report: &mut Report, selection: &Selection, choice: &Choice) {
    let filter = selection.filter.as_str();
    let x86 = ALL.iter().any(|scenario| scenario.matches("", filter))
        || NEWEST
            .iter()
            .any(|scenario| scenario.matches(NEWEST_LABEL, filter));
    let s390x = s390x::has(filter);
    let (mut here, mut there) = (None, None);
    if x86 || !s390x {
        report.step("what guests need", || {
            here = Some(Guests::prepare(choice)?);
            Ok(Count::default())
        });
    }
    if s390x {
        report.step("what s390x guests need", || {
            there = Some(s390x::Guests::prepare()?);
            Ok(Count::default())
        });
    }
    // Either leaves a processor idle now and then.
    let mut steps: Vec<Step<'_>> = Vec::new();
    if let Some(guests) = &here {
        steps.push(("tests in guests", Box::new(|| guests.test(selection))));
    }
    if let Some(guests) = &there {
        steps.push(("tests in s390x guests", Box::new(|| guests.test(selection))));
    }
    report.together(steps);
}

fn report(work: impl FnOnce(&mut Report)) -> bool {
    let mut report = Report::start();
    work(&mut report);
    report.finish()
}
