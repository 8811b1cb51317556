//! Rules on what Markdown refers to.

use std::path::{Component, Path, PathBuf};

use crate::lint::{Fault, Source};

/// Relative links lead to a file or directory, and Rust files that are named are below the
/// directory of the page that names them.
pub fn lead_somewhere(sources: &[Source]) -> Vec<Fault> {
    let pages = sources.iter().filter(|source| {
        let extension = source.path.extension();
        extension.is_some_and(|extension| extension == "md")
    });
    let faults = pages.flat_map(|page| {
        let links = links(&page.text).filter(|link| !leads(sources, page, link));
        let files = files(&page.text).filter(|file| !is_below(sources, page, file));
        let name = page.path.display();
        let fault = |what: &str| format!("{name}: {what} is not there");
        links.chain(files).map(fault).collect::<Vec<_>>()
    });
    faults.collect()
}

/// Targets of links that are neither on the web, nor in the page, nor items of Rust.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        let (path, _) = target.split_once('#').unwrap_or((target, ""));
        Some(path)
    });
    targets
        .filter(|path| path.contains(['/', '.']) && !path.contains("::") && !path.contains("://"))
}

/// Names of Rust files in code spans.
fn files(text: &str) -> impl Iterator<Item = &str> {
    let name = |c: char| c.is_ascii_alphanumeric() || "_-/.".contains(c);
    let words = text.split('`');
    words.filter(move |word| word.ends_with(".rs") && word.chars().all(name))
}

fn leads(sources: &[Source], page: &Source, link: &str) -> bool {
    let directory = page.path.parent().unwrap_or(Path::new(""));
    let target = normal(&directory.join(link));
    sources
        .iter()
        .any(|source| source.path.starts_with(&target))
}

fn is_below(sources: &[Source], page: &Source, file: &str) -> bool {
    let directory = page.path.parent().unwrap_or(Path::new(""));
    let mut below = sources
        .iter()
        .filter(|source| source.path.starts_with(directory));
    below.any(|source| source.path.ends_with(file))
}

/// A path without `..`, as far as that is inside.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::lead_somewhere;
    use crate::lint::Source;

    fn faults(text: &str) -> Vec<String> {
        let source = |path: &str, text: &str| Source {
            path: path.into(),
            text: text.to_owned(),
        };
        lead_somewhere(&[
            source("crates/x/README.md", text),
            source("crates/x/src/queue/split.rs", ""),
            source("docs/a.md", ""),
        ])
    }

    #[test]
    fn lint_follows_links() {
        let there =
            "[a](../../docs/a.md#top) [b](src) [c](https://x.y/z.md) [d](#here) [`E`](crate::E)";
        assert!(faults(there).is_empty());
        assert_eq!(faults("[a](../docs/a.md), [b](a.md)").len(), 2);
    }

    #[test]
    fn lint_looks_for_files_that_are_named() {
        assert!(faults("`split.rs`, `queue/split.rs`, `a.rs: b`").is_empty());
        let gone = "crates/x/README.md: src/split.rs is not there";
        assert_eq!(faults("see `src/split.rs`"), [gone]);
    }
}
