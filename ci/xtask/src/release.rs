//! `cargo xtask release-check`: could every crate go to crates.io as it is?

use crate::cargo;
use crate::lint;
use crate::report::Report;

/// The rules, then cargo's own packaging, which builds each crate from its archive.
pub fn check(report: &mut Report) {
    report.step("rules of the project", || lint::run(&cargo::workspace()));
    report.step("packages", || {
        cargo::check(&[
            "package",
            "--workspace",
            "--exclude",
            "xtask",
            "--exclude",
            "testkit",
            "--exclude",
            "driver-tests",
        ])
    });
    if cargo::has("semver-checks") {
        report.step("semantic versions", || {
            cargo::check(&["semver-checks", "--workspace"])
        });
    }
}
