//! The rules of this project that no other tool knows. Each is a function from the workspace to
//! the places that break it.

pub mod crates;
pub mod dependencies;
pub mod links;
pub mod sources;
pub mod tables;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::console::{Paint, line};
use crate::process::output;
use crate::report::Count;

/// A file of the workspace.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path below the workspace.
    pub path: PathBuf,
    /// Its contents.
    pub text: String,
}

/// A place that breaks a rule, and why.
pub type Fault = String;

/// Checks every rule and prints what breaks it.
pub fn run(workspace: &Path) -> Result<Count> {
    let (sources, mut count) = (sources_of(workspace)?, Count::default());
    let rules: [(&str, Vec<Fault>); 8] = [
        ("nothing unfinished", sources::unfinished(&sources)),
        ("no paths of one machine", sources::machine_paths(&sources)),
        (
            "libraries forbid unsafe code",
            crates::forbid_unsafe(workspace)?,
        ),
        (
            "published crates are complete",
            crates::complete(workspace)?,
        ),
        ("dependencies fit", dependencies::fit(workspace)?),
        ("links lead somewhere", links::lead_somewhere(&sources)),
        ("tests in docs/ exist", tables::named_tests_exist(&sources)),
        ("past bugs are listed", tables::bugs_are_listed(&sources)),
    ];
    for (rule, faults) in rules {
        let mark = if faults.is_empty() {
            Paint::Good.on("pass")
        } else {
            Paint::Bad.on("FAIL")
        };
        line(format_args!("  {mark} {rule}"));
        faults
            .iter()
            .for_each(|fault| line(format_args!("       {fault}")));
        count.add(Count::one(faults.is_empty()));
    }
    Ok(count)
}

/// Every text file that git knows or would add.
fn sources_of(workspace: &Path) -> Result<Vec<Source>> {
    let mut git = Command::new("git");
    git.current_dir(workspace)
        .args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listing = output(&mut git).context("the list of source files")?;
    let read = |path: &str| {
        let text = std::fs::read_to_string(workspace.join(path)).ok()?;
        Some(Source {
            path: path.into(),
            text,
        })
    };
    Ok(listing.lines().filter_map(read).collect())
}
