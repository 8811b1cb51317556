//! The steps that need no guest: format, clippy, feature sets, unit and doc tests, rustdoc.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cargo;
use crate::console::line;
use crate::fuzz;
use crate::lint;
use crate::process::Process;
use crate::qmp;
use crate::report::{Count, Report};

/// Whether everything compiles: the quickest answer.
pub fn check(report: &mut Report) {
    report.step("cargo check", || {
        cargo::check(&["check", "--workspace", "--all-targets", "--all-features"])
    });
}

/// Format, clippy and this project's own rules.
pub fn lint(report: &mut Report) {
    report.step("format", || cargo::check(&["fmt", "--all", "--check"]));
    report.step("rules of the project", || lint::run(&cargo::workspace()));
    report.step("clippy", || cargo::check(&CLIPPY));
    report.step("no default features", || {
        cargo::check(&["check", "--workspace", "--no-default-features"])
    });
}

/// Unit, integration and doc tests whose name contains `filter`, and the documentation.
pub fn test(report: &mut Report, filter: &str) {
    report.step("tests", || run_tests(filter));
    if filter.is_empty() {
        report.step("fuzz targets, briefly", fuzz::smoke);
        report.step("doc tests", || {
            cargo::tests(&["test", "--doc", "--workspace", "--all-features"])
        });
        report.step("examples", run_examples);
        report.step("QMP, with its public client", qmp::test);
        report.step("documentation", || {
            cargo::check_with(&DOCUMENTATION, &[("RUSTDOCFLAGS", "-D warnings")])
        });
    }
}

/// With nextest if it is there, which is faster; else with cargo's own runner.
fn run_tests(filter: &str) -> Result<Count> {
    let runner: &[&str] = match cargo::has("nextest") {
        true => &["nextest", "run", "--no-fail-fast", "--no-tests=pass"],
        false => &[
            "test",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ],
    };
    let name = (!filter.is_empty()).then_some(filter);
    let arguments: Vec<_> = runner
        .iter()
        .copied()
        .chain(["--workspace", "--all-features"])
        .chain(name)
        .collect();
    let count = cargo::tests(&arguments)?;
    ensure!(
        count != Count::default(),
        "no test is called like {filter:?}"
    );
    Ok(count)
}

/// Those that show a seam from end to end: each runs through and checks what it sees.
fn run_examples() -> Result<Count> {
    let examples = cargo::build_as_for_tests()?.join("examples");
    let mut count = Count::default();
    for name in EXAMPLES {
        let example = Process::spawn(&Command::new(examples.join(name)))?;
        let status = example.drain(Instant::now() + EXAMPLE, |text| line(text))?;
        count.add(Count::one(status.success()));
    }
    Ok(count)
}

const EXAMPLES: &[&str] = &["zero", "transport", "vmm", "rng_on_pci", "toy_function"];
/// Longer than any of them takes.
const EXAMPLE: Duration = Duration::from_secs(60);
const CLIPPY: [&str; 7] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--all-features",
    "--",
    "-D",
    "warnings",
];
const DOCUMENTATION: [&str; 4] = ["doc", "--workspace", "--no-deps", "--all-features"];
