//! Debian's package tools, on the machine's own package lists or on lists of another architecture.
//!
//! Lists of another architecture live below `target`, beside what is unpacked from them. They come
//! from the mirror that the machine is set up for, and their signatures are checked with the
//! machine's keyring. Nothing that belongs to the machine is changed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::console::Progress;
use crate::process::output;

/// One set of package lists.
#[derive(Clone, Debug)]
pub(super) struct Apt {
    options: Vec<String>,
    /// What [`Apt::tools`] prefers where several suites have a package.
    suite: Option<String>,
    /// Whether `apt-get update` may be run without asking.
    may_update: bool,
}

impl Apt {
    /// The lists of the machine itself.
    pub(super) fn own() -> Self {
        Self {
            options: Vec::new(),
            suite: None,
            may_update: rustix::process::geteuid().as_raw() == 0,
        }
    }

    /// Lists of `architecture`, kept in `directory`: the machine's own suite and its backports, the
    /// stable one, and testing for what is newer than either.
    pub(super) fn foreign(architecture: &str, directory: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let (suite, mirror) = mirror()?;
        let sources: String = [&suite, &format!("{suite}-backports"), "stable", "testing"]
            .iter()
            .map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
            .collect();
        fs::write(directory.join("sources.list"), sources)?;
        fs::write(directory.join("status"), "")?;
        Ok(Self {
            options: options(architecture, directory),
            suite: Some(suite),
            may_update: true,
        })
    }

    /// `package` and every dependency that is not installed; of another architecture, nothing is.
    pub(super) fn closure(&self, package: &str) -> Result<Vec<String>> {
        let mut arguments = vec!["-s", "install", "--no-install-recommends", package];
        if let Some(suite) = &self.suite {
            arguments.extend(["-t", suite]);
        }
        let plan = self.run("apt-get", &arguments, None)?;
        Ok(plan
            .lines()
            .filter_map(|line| {
                line.strip_prefix("Inst ")?
                    .split(' ')
                    .next()
                    .map(str::to_owned)
            })
            .collect())
    }

    /// The names that begin with `beginning`.
    pub(super) fn names(&self, beginning: &str) -> Result<Vec<String>> {
        let names = self.run("apt-cache", &["pkgnames", beginning], None)?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The dependencies of `package` itself.
    pub(super) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let listing = self.run("apt-cache", &["depends", package], None)?;
        Ok(listing
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned))
            .collect())
    }

    /// Puts the archives of `packages` into `directory`; apt compares them with the signed lists.
    pub(super) fn download(&self, packages: &[String], directory: &Path) -> Result<()> {
        let _progress = Progress::start(format!("downloading {}", packages.join(" ")));
        let mut arguments = vec!["-q", "-o", "APT::Sandbox::User=root", "download"];
        arguments.extend(packages.iter().map(String::as_str));
        if let Some(suite) = &self.suite {
            arguments.extend(["-t", suite]);
        }
        self.run("apt-get", &arguments, Some(directory)).map(drop)
    }

    /// Runs an apt command. Where it fails and there may be no lists yet, fetches them and runs it
    /// again. A suite without lists is no error: what is needed may be in another one.
    fn run(&self, tool: &str, arguments: &[&str], directory: Option<&Path>) -> Result<String> {
        let mut command = Command::new(tool);
        command.args(&self.options).args(arguments);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let first = output(&mut command);
        if !self.may_update || first.as_ref().is_ok_and(|text| !text.is_empty()) {
            return first.context(
                "this needs Debian's package tools and up-to-date lists (apt-get update)",
            );
        }
        let _progress = Progress::start("apt-get update");
        let updated = output(
            Command::new("apt-get")
                .args(&self.options)
                .args(["-q", "update"]),
        );
        let second = output(&mut command);
        match updated {
            Err(error) if second.is_err() => second.context(error),
            _ => second,
        }
    }
}

fn options(architecture: &str, directory: &Path) -> Vec<String> {
    let path = |name: &str| directory.join(name).display().to_string();
    [
        ("APT::Architecture", architecture.to_owned()),
        ("APT::Architectures", architecture.to_owned()),
        ("APT::Sandbox::User", "root".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        (
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
            "false".to_owned(),
        ),
        ("Dir::Etc::SourceList", path("sources.list")),
        ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
        ("Dir::Etc::PreferencesParts", "/dev/null".to_owned()),
        ("Dir::State::Lists", path("lists")),
        ("Dir::State::Status", path("status")),
        ("Dir::Cache", path("cache")),
    ]
    .into_iter()
    .flat_map(|(name, value)| ["-o".to_owned(), format!("{name}={value}")])
    .collect()
}

/// The machine's suite (`bookworm`) and where it gets it from.
fn mirror() -> Result<(String, String)> {
    let sources = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let debian = sources
        .lines()
        .filter_map(|line| line.strip_prefix("Debian|Debian|main|")?.split_once('|'));
    let suite = debian
        .into_iter()
        .find(|(suite, _)| !suite.contains('-'))
        .context("apt has no lists of a Debian suite (apt-get update)")?;
    Ok((suite.0.to_owned(), suite.1.to_owned()))
}

/// Of the package debian-archive-keyring, which every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
