//! `cargo xtask fuzz`: the targets of the workspace in `fuzz/`, by cargo-fuzz; and a short run of
//! them by the stable compiler, for `cargo xtask test`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::report::{Count, Report};

/// Runs one target, or each, for so many seconds.
pub fn run(report: &mut Report, only: Option<&str>, seconds: u32) {
    let names = match chosen(only) {
        Ok(names) => names,
        Err(error) => return report.step("fuzz targets", || Err(error)),
    };
    for name in names {
        report.step(format!("fuzz {name}"), || fuzz(&name, seconds));
    }
}

/// Runs every target for some seconds, on its seeds and a fixed stream of inputs.
pub fn smoke() -> Result<Count> {
    cargo::tests(&[
        "test",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--no-default-features",
        "--release",
        "--test",
        "smoke",
    ])
}

/// New inputs go to `fuzz/corpus`; the seeds are only read. The sanitizer needs flags that the
/// stable compiler has but hides.
fn fuzz(name: &str, seconds: u32) -> Result<Count> {
    let corpus = format!("fuzz/corpus/{name}");
    fs::create_dir_all(cargo::workspace().join(&corpus)).context("the corpus")?;
    let seeds = format!("fuzz/seeds/{name}");
    let time = format!("-max_total_time={seconds}");
    cargo::check_with(
        &[
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz",
            name,
            &corpus,
            &seeds,
            "--",
            &time,
            "-timeout=20",
        ],
        &[("RUSTC_BOOTSTRAP", "1")],
    )
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
