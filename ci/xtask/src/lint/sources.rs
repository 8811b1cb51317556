//! Rules on text.

use crate::lint::{Fault, Source};

/// Marks of unfinished work, and tests that are not run.
pub fn unfinished(sources: &[Source]) -> Vec<Fault> {
    find(sources, &UNFINISHED, |source| {
        source
            .path
            .extension()
            .is_some_and(|extension| extension == "rs")
    })
}

/// Absolute paths that exist on some developer's machine only.
pub fn machine_paths(sources: &[Source]) -> Vec<Fault> {
    find(sources, &MACHINE_PATHS, |_| true)
}

fn find(sources: &[Source], marks: &[&str], wanted: impl Fn(&Source) -> bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| wanted(source)) {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
                faults.push(format!("{}:{}: {mark}", source.path.display(), number + 1));
            }
        }
    }
    faults
}

// Written in two halves, so that this file keeps its own rules.
const UNFINISHED: [&str; 6] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("dbg", "!("),
];
const MACHINE_PATHS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/Use", "rs/"),
    concat!("/ro", "ot/."),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "t-"),
];

#[cfg(test)]
mod tests {
    use super::{machine_paths, unfinished};
    use crate::lint::Source;

    fn source(path: &str, text: &str) -> [Source; 1] {
        [Source {
            path: path.into(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn lint_finds_unfinished_work_in_rust_only() {
        let text = concat!("fn a() {}\nfn b() { todo", "!() }\n");
        assert_eq!(
            unfinished(&source("a.rs", text)),
            [concat!("a.rs:2: todo", "!(")]
        );
        assert!(unfinished(&source("a.md", text)).is_empty());
    }

    #[test]
    fn lint_finds_paths_of_one_machine() {
        let text = concat!("see /ho", "me/me/notes");
        assert_eq!(machine_paths(&source("README.md", text)).len(), 1);
        assert!(machine_paths(&source("README.md", "/dev/kvm and /usr/bin")).is_empty());
    }
}
