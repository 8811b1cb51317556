//! Cargo, started on this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::{Progress, coloured, line};
use crate::process::{Process, output};
use crate::report::Count;

/// The root directory of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap_or_else(|_| PathBuf::from("."))
}

/// The directory in which cargo put this program: `target`, unless the user chose another one.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program
        .ancestors()
        .nth(2)
        .context("this program is not in a target directory")?
        .to_owned())
}

/// Runs a cargo command whose success is the check.
pub fn check(arguments: &[&str]) -> Result<Count> {
    run(arguments, &[], |_| ())?;
    Ok(Count::one(true))
}

/// Like [`check`], with environment variables.
pub fn check_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Count> {
    run(arguments, variables, |_| ())?;
    Ok(Count::one(true))
}

/// Runs a cargo command that runs tests, and counts them. If a test fails the error is in the count;
/// a command that fails otherwise (it does not compile, say) is an error.
pub fn tests(arguments: &[&str]) -> Result<Count> {
    let mut count = Count::default();
    let ran = run(arguments, &[], |line| {
        count.add(summary(&plain(line)).unwrap_or_default())
    });
    match ran {
        Err(error) if count.failed == 0 => Err(error),
        _ => Ok(count),
    }
}

/// Builds all programs and examples as tests are built, with the features that development
/// dependencies ask for: what the tests have built is not built again. Returns their directory.
pub fn build_as_for_tests() -> Result<PathBuf> {
    check(&[
        "build",
        "--workspace",
        "--all-features",
        "--bins",
        "--examples",
    ])?;
    Ok(target()?.join("debug"))
}

/// Builds the programs that run guests, in one go: mini-vmm, ccw-host and ccw-bridge. Returns their
/// directory.
pub fn build_for_guests() -> Result<PathBuf> {
    let _progress = Progress::start("building what runs guests");
    let packages = ["mini-vmm", "ccw-host", "ccw-bridge"].map(|name| ["--package", name]);
    check(
        &[
            &["build", "--quiet", "--profile", "guest"],
            packages.as_flattened(),
        ]
        .concat(),
    )?;
    Ok(target()?.join("guest"))
}

/// Whether `cargo <name>` exists.
pub fn has(name: &str) -> bool {
    output(command().args([name, "--version"])).is_ok()
}

fn run(arguments: &[&str], variables: &[(&str, &str)], mut each: impl FnMut(&str)) -> Result<()> {
    let mut cargo = command();
    cargo.args(arguments).envs(variables.iter().copied());
    cargo.env(
        "CARGO_TERM_COLOR",
        if coloured() { "always" } else { "never" },
    );
    let status = Process::spawn(&cargo)?.drain(Instant::now() + LIMIT, |text| {
        line(text);
        each(text);
    })?;
    if !status.success() {
        bail!("cargo {}: {status}", arguments.join(" "));
    }
    Ok(())
}

fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if let Ok(target) = target() {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    cargo.current_dir(workspace());
    cargo
}

/// The numbers in a summary line of libtest or nextest.
fn summary(line: &str) -> Option<Count> {
    let numbers = match line.trim_start() {
        line if line.starts_with("test result:") => line,
        line if line.starts_with("Summary [") => line,
        _ => return None,
    };
    let before = |word: &str| {
        let (text, _) = numbers.split_once(word)?;
        text.rsplit(|character: char| !character.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let failed = before(" failed").unwrap_or(0) + before(" timed out").unwrap_or(0);
    Some(Count {
        passed: before(" passed").unwrap_or(0),
        failed,
    })
}

/// `line` without colour sequences.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

const LIMIT: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use super::{plain, summary};
    use crate::report::Count;

    #[test]
    fn cargo_summaries_are_counted() {
        let libtest =
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            summary(libtest),
            Some(Count {
                passed: 3,
                failed: 1
            })
        );
        let nextest =
            "     Summary [   0.012s] 42 tests run: 40 passed (1 slow), 2 failed, 0 skipped";
        assert_eq!(
            summary(nextest),
            Some(Count {
                passed: 40,
                failed: 2
            })
        );
        assert_eq!(summary("running 12 tests"), None);
    }

    #[test]
    fn cargo_colours_are_removed() {
        assert_eq!(
            plain("\x1b[32;1m     Summary\x1b[0m [ 1s]"),
            "     Summary [ 1s]"
        );
    }
}
