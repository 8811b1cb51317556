//! `cargo xtask release-check`: could every crate go to crates.io as it is?

use crate::cargo;
use crate::lint;
use crate::report::Report;

/// The rules, then cargo's own packaging, which builds each crate from its archive.
pub fn check(report: &mut Report) {
    report.step("rules of the project", || lint::run(&cargo::workspace()));
    report.step("packages", || {
        let names = lint::crates::published(&cargo::workspace())?;
        let chosen = names.iter().flat_map(|name| ["-p", name]);
        cargo::check(&["package"].into_iter().chain(chosen).collect::<Vec<_>>())
    });
    if cargo::has("semver-checks") {
        report.step("semantic versions", || {
            cargo::check(&["semver-checks", "--workspace"])
        });
    }
}
