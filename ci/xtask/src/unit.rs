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

/// The tests whose name contains `filter`, and of the other steps those whose name does.
pub fn test(report: &mut Report, filter: &str) {
    let steps = STEPS.iter().filter(|(name, _)| is_meant(name, filter));
    let steps: Vec<_> = steps.collect();
    report.step("tests", || run_tests(filter, steps.is_empty()));
    for (name, step) in steps {
        report.step(name, step);
    }
}

/// Whether a step is one of those that `filter` selects, large letters or small.
fn is_meant(name: &str, filter: &str) -> bool {
    name.to_lowercase().contains(&filter.to_lowercase())
}

/// With nextest if it is there, which is faster; else with cargo's own runner. If one is a `must`, it is
/// an error where there is none.
fn run_tests(filter: &str, must: bool) -> Result<Count> {
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
        !must || count != Count::default(),
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

fn doc_tests() -> Result<Count> {
    cargo::tests(&["test", "--doc", "--workspace", "--all-features"])
}

fn documentation() -> Result<Count> {
    cargo::check_with(&DOCUMENTATION, &[("RUSTDOCFLAGS", "-D warnings")])
}

type Step = (&'static str, fn() -> Result<Count>);

/// Besides the tests that cargo finds.
const STEPS: [Step; 5] = [
    ("fuzz targets, briefly", fuzz::smoke),
    ("doc tests", doc_tests),
    ("examples", run_examples),
    ("QMP, with its public client", qmp::test),
    ("documentation", documentation),
];
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

#[cfg(test)]
mod tests {
    use super::{STEPS, is_meant};

    #[test]
    fn steps_are_selected_by_their_names() {
        let meant = |filter| STEPS.iter().filter(move |(name, _)| is_meant(name, filter));
        assert_eq!(meant("").count(), STEPS.len());
        for (filter, name) in [("qmp", "QMP, with its public client"), ("fuzz", STEPS[0].0)] {
            let names: Vec<_> = meant(filter).map(|(name, _)| *name).collect();
            assert_eq!(names, [name]);
        }
        assert_eq!(meant("queue_reset").count(), 0);
    }
}
