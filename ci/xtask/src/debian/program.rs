//! A program of a package, and the libraries that it is loaded with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::PROGRAM_DIRECTORIES;
use crate::process::output;

/// A program that may live below an unpacked prefix, with its libraries.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where the executable is.
    pub path: PathBuf,
    prefix: Option<PathBuf>,
}

impl Program {
    /// A program of this machine.
    pub fn installed(path: PathBuf) -> Self {
        Self { path, prefix: None }
    }

    /// The program at `path`, unpacked or not, with the libraries next to it.
    pub fn at(path: &Path) -> Self {
        let tree = path.ancestors().nth(3);
        let unpacked = tree.filter(|tree| {
            let directories = PROGRAM_DIRECTORIES.iter();
            tree.parent().is_some()
                && directories
                    .map(|directory| tree.join(directory))
                    .any(|directory| path.starts_with(directory))
        });
        Self {
            path: path.to_owned(),
            prefix: unpacked.map(Path::to_owned),
        }
    }

    /// A program at `path`, somewhere below `prefix`.
    pub fn unpacked(path: PathBuf, prefix: &Path) -> Self {
        Self {
            path,
            prefix: Some(prefix.to_owned()),
        }
    }

    /// A command that runs the program with the libraries it was unpacked with.
    pub fn command(&self) -> Command {
        self.command_for(&self.path)
    }

    /// A command that runs another program, `starter`, which will start this one.
    pub fn command_for(&self, starter: &Path) -> Command {
        let mut command = Command::new(starter);
        if let Some(libraries) = self.libraries() {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// The shared libraries the program is loaded with, by their full paths.
    pub fn shared_libraries(&self) -> Result<Vec<PathBuf>> {
        let mut ldd = Command::new("ldd");
        if let Some(libraries) = self.libraries() {
            ldd.env("LD_LIBRARY_PATH", libraries);
        }
        let listing = output(ldd.arg(&self.path))?;
        if let Some(missing) = listing.lines().find(|line| line.contains("not found")) {
            bail!("{}: {}", self.path.display(), missing.trim());
        }
        Ok(listing
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from)
            .collect())
    }

    /// The same of a program for s390x, which cannot be loaded here; its loader is among them.
    pub fn foreign_libraries(&self) -> Result<Vec<PathBuf>> {
        let prefix = self.prefix.as_ref().context("a program of this machine")?;
        let (mut found, mut todo) = (BTreeSet::new(), vec![self.path.clone()]);
        while let Some(object) = todo.pop() {
            for name in needed(&object)? {
                let library = FOREIGN_LIBRARIES
                    .iter()
                    .map(|directory| prefix.join(directory).join(&name))
                    .find(|path| path.exists())
                    .with_context(|| format!("{}: {name} not found", object.display()))?;
                if found.insert(library.clone()) {
                    todo.push(library);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn libraries(&self) -> Option<String> {
        let prefix = self.prefix.as_ref()?.display();
        Some(
            LIBRARIES
                .map(|directory| format!("{prefix}/{directory}"))
                .join(":"),
        )
    }
}

/// The NEEDED entries of an ELF object of any machine.
fn needed(object: &Path) -> Result<Vec<String>> {
    let listing = output(Command::new("readelf").arg("-dW").arg(object))?;
    let name = |line: &str| {
        let (_, name) = line.split_once("(NEEDED)")?.1.split_once('[')?;
        Some(name.trim_end_matches(']').to_owned())
    };
    Ok(listing.lines().filter_map(name).collect())
}

const LIBRARIES: [&str; 4] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/pulseaudio",
    "usr/lib/x86_64-linux-gnu/ceph",
];
const FOREIGN_LIBRARIES: [&str; 3] = [
    "usr/lib/s390x-linux-gnu",
    "lib/s390x-linux-gnu",
    "usr/lib/s390x-linux-gnu/ceph",
];
