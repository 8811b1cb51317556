//! Rules on the crates below `crates/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::lint::Fault;

/// Library crates forbid unsafe code, but for the one that is there for it.
pub fn forbid_unsafe(workspace: &Path) -> Result<Vec<Fault>> {
    let libraries = crates(workspace)?
        .into_iter()
        .filter(|path| !UNSAFE.iter().any(|name| path.ends_with(name)));
    let sources = libraries
        .map(|path| path.join("src/lib.rs"))
        .filter(|path| path.is_file());
    let lacks = |path: &PathBuf| {
        !fs::read_to_string(path).is_ok_and(|text| text.contains("#![forbid(unsafe_code)]"))
    };
    Ok(sources
        .filter(lacks)
        .map(|path| format!("{}: no #![forbid(unsafe_code)]", shown(workspace, &path)))
        .collect())
}

/// Names of the crates that are published: those below `crates/`.
pub fn published(workspace: &Path) -> Result<Vec<String>> {
    let name = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        Some(name.to_owned())
    };
    Ok(crates(workspace)?.into_iter().filter_map(name).collect())
}

/// What a reader on crates.io expects, and the sections of this project's READMEs.
pub fn complete(workspace: &Path) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in crates(workspace)? {
        let manifest = fs::read_to_string(path.join("Cargo.toml"))?;
        if manifest.contains("publish = false") {
            continue;
        }
        let name = shown(workspace, &path);
        let missing = FILES.iter().filter(|file| !path.join(file).exists());
        faults.extend(missing.map(|file| format!("{name}: no {file}")));
        if let Ok(readme) = fs::read_to_string(path.join("README.md")) {
            let missing = SECTIONS
                .iter()
                .filter(|section| !readme.contains(&format!("\n## {section}\n")));
            faults.extend(missing.map(|section| format!("{name}/README.md: no section {section}")));
        }
        let hidden = manifest.contains("[features]") && !manifest.contains(ALL_DOCUMENTED);
        faults.extend(hidden.then(|| format!("{name}/Cargo.toml: no {ALL_DOCUMENTED}")));
        let missing = KEYS.iter().filter(|key| !manifest.contains(*key));
        faults.extend(missing.map(|key| format!("{name}/Cargo.toml: no {key}")));
    }
    Ok(faults)
}

fn crates(workspace: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace.join("crates"))?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.retain(|path| path.join("Cargo.toml").is_file());
    paths.sort();
    Ok(paths)
}

fn shown(workspace: &Path, path: &Path) -> String {
    path.strip_prefix(workspace)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// guest-io works on guest memory, mini-vmm on KVM.
const UNSAFE: [&str; 2] = ["guest-io", "mini-vmm"];
const FILES: [&str; 4] = ["README.md", "CHANGELOG.md", "src", "examples"];
const SECTIONS: [&str; 5] = ["Design", "Usage", "Threat model", "Examples", "License"];
const KEYS: [&str; 7] = [
    "description",
    "license",
    "repository",
    "readme",
    "keywords",
    "categories",
    "rust-version",
];
/// docs.rs shows what is behind features, too.
const ALL_DOCUMENTED: &str = "[package.metadata.docs.rs]\nall-features = true";
