//! Rules on dependencies: from crates.io only, none that needs a newer compiler than we promise,
//! one version of each crate whose types we hand on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lint::Fault;
use crate::process::output;

/// Checks the lock file and what cargo knows about each package in it.
pub fn fit(workspace: &Path) -> Result<Vec<Fault>> {
    let lock = std::fs::read_to_string(workspace.join("Cargo.lock")).context("Cargo.lock")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        .args(["metadata", "--format-version", "1", "--all-features"]);
    let metadata = serde_json::from_str(&output(&mut cargo)?).context("cargo metadata")?;
    Ok([
        foreign_sources(&lock),
        duplicates(&lock),
        too_new(&metadata),
    ]
    .concat())
}

fn foreign_sources(lock: &str) -> Vec<Fault> {
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    sources
        .filter(|source| *source != CRATES_IO)
        .map(|source| format!("Cargo.lock: {source} is not crates.io"))
        .collect()
}

fn duplicates(lock: &str) -> Vec<Fault> {
    let versions = |name: &str| lock.matches(&format!("\nname = \"{name}\"\n")).count();
    let twice = SINGLE.iter().filter(|name| versions(name) > 1);
    twice
        .map(|name| format!("Cargo.lock: more than one version of {name}"))
        .collect()
}

fn too_new(metadata: &Value) -> Vec<Fault> {
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let ours = packages
        .iter()
        .find(|package| package["source"].is_null())
        .and_then(needs);
    let newer = packages.iter().filter(|package| needs(package) > ours);
    newer
        .map(|package| format!("{} needs Rust {}", package["id"], package["rust_version"]))
        .collect()
}

/// The `rust-version` of a package, comparable.
fn needs(package: &Value) -> Option<Vec<u32>> {
    package["rust_version"]
        .as_str()?
        .split('.')
        .map(|number| number.parse().ok())
        .collect()
}

const CRATES_IO: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";
const SINGLE: [&str; 4] = [
    "vm-memory",
    "vmm-sys-util",
    "virtio-queue",
    "virtio-bindings",
];

#[cfg(test)]
mod tests {
    use super::{duplicates, foreign_sources, too_new};
    use serde_json::json;

    #[test]
    fn lint_finds_dependencies_that_need_a_newer_compiler() {
        let metadata = json!({"packages": [
            {"id": "ours", "source": null, "rust_version": "1.88"},
            {"id": "old", "source": "crates.io", "rust_version": "1.9.0"},
            {"id": "any", "source": "crates.io", "rust_version": null},
            {"id": "new", "source": "crates.io", "rust_version": "1.100"},
        ]});
        assert_eq!(too_new(&metadata), [r#""new" needs Rust "1.100""#]);
    }

    #[test]
    fn lint_reads_the_lock_file() {
        let lock = "\nname = \"vm-memory\"\nsource = \"git+https://example.org\"\n\nname = \"vm-memory\"\n";
        assert_eq!(foreign_sources(lock).len(), 1);
        assert_eq!(duplicates(lock).len(), 1);
    }
}
