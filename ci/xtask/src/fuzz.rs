//! `cargo xtask fuzz`: the targets of the workspace in `fuzz/`, by cargo-fuzz.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::report::Report;

/// Runs one target, or each, for so many seconds.
pub fn run(report: &mut Report, only: Option<&str>, seconds: u32) {
    let time = format!("-max_total_time={seconds}");
    let names = match chosen(only) {
        Ok(names) => names,
        Err(error) => return report.step("fuzz targets", || Err(error)),
    };
    for name in names {
        report.step(format!("fuzz {name}"), || {
            cargo::check(&["fuzz", "run", "--fuzz-dir", "fuzz", &name, "--", &time])
        });
    }
}

fn chosen(only: Option<&str>) -> Result<Vec<String>> {
    ensure!(
        cargo::has("fuzz"),
        "this needs cargo-fuzz: cargo install cargo-fuzz"
    );
    let all = targets(&cargo::workspace().join("fuzz/fuzz_targets"))?;
    let names: Vec<_> = all
        .iter()
        .filter(|name| only.is_none_or(|only| only == *name))
        .cloned()
        .collect();
    ensure!(
        !names.is_empty(),
        "no such fuzz target; there are: {}",
        all.join(" ")
    );
    Ok(names)
}

fn targets(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<_> = sources
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}
