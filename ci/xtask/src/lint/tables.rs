//! Rules on the tables of `docs/`: the tests that they name exist, and those that belong there are
//! named.

use std::collections::BTreeSet;

use crate::lint::{Fault, Source};

/// Every `` `crate: test` `` in a table is a function below that crate's directory.
pub fn named_tests_exist(sources: &[Source]) -> Vec<Fault> {
    let functions = functions(sources);
    let mut faults = Vec::new();
    for table in TABLES {
        for row in rows(sources, table) {
            let missing = row
                .tests
                .into_iter()
                .filter(|test| !functions.contains(test));
            faults.extend(missing.map(|Test { place, name }| {
                format!("{table}: {}: no test {place}: {name}", row.key)
            }));
        }
    }
    faults
}

/// Every test called `bug_NN_...` stands in row NN of the past bugs, of which there are all.
pub fn bugs_are_listed(sources: &[Source]) -> Vec<Fault> {
    let rows = rows(sources, PAST_BUGS);
    let mut faults = Vec::new();
    for number in 1..=BUGS {
        let count = rows
            .iter()
            .filter(|row| row.key == number.to_string())
            .count();
        if count != 1 {
            faults.push(format!("{PAST_BUGS}: {count} rows {number}"));
        }
    }
    for test in functions(sources) {
        for number in numbers(&test.name) {
            let row = rows.iter().find(|row| row.key == number.to_string());
            if !row.is_some_and(|row| row.tests.contains(&test)) {
                let Test { place, name } = &test;
                faults.push(format!("{PAST_BUGS}: row {number} lacks {place}: {name}"));
            }
        }
    }
    faults
}

/// A function, and the directory below `crates/`, `ci/` or the root that it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    place: String,
    name: String,
}

struct Row {
    key: String,
    tests: Vec<Test>,
}

/// The rows of the table in a file, by their first cell.
fn rows(sources: &[Source], path: &str) -> Vec<Row> {
    let table = sources.iter().find(|source| source.path.ends_with(path));
    let lines = table.map_or("", |source| source.text.as_str()).lines();
    let row = |line: &str| {
        let (key, rest) = line.strip_prefix("| ")?.split_once(" |")?;
        let tests = rest.split('`').skip(1).step_by(2).filter_map(test);
        Some(Row {
            key: key.trim_matches('`').to_owned(),
            tests: tests.collect(),
        })
    };
    lines.filter_map(row).collect()
}

/// `crate: test`.
fn test(text: &str) -> Option<Test> {
    let (place, name) = text.split_once(": ")?;
    Some(Test {
        place: place.to_owned(),
        name: name.to_owned(),
    })
}

fn functions(sources: &[Source]) -> BTreeSet<Test> {
    let mut functions = BTreeSet::new();
    for source in sources {
        let parts: Vec<_> = source
            .path
            .iter()
            .filter_map(|part| part.to_str())
            .collect();
        let place = match parts[..] {
            ["crates" | "ci", place, ..] | [place @ "fuzz", ..] => place,
            _ => continue,
        };
        if source
            .path
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            let names = source.text.lines().filter_map(function);
            functions.extend(names.map(|name| Test {
                place: place.to_owned(),
                name,
            }));
        }
    }
    functions
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<String> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("pub ").unwrap_or(rest);
    let (name, _) = rest.strip_prefix("fn ")?.split_once(['(', '<'])?;
    Some(name.to_owned())
}

/// The rows that a test is named after: `bug_05_bug_10_...` has two.
fn numbers(name: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut rest = name;
    while let Some((number, more)) = rest
        .strip_prefix("bug_")
        .and_then(|rest| rest.split_once('_'))
    {
        numbers.extend(number.parse::<u32>());
        rest = more;
    }
    numbers
}

const TABLES: [&str; 2] = [PAST_BUGS, "docs/conformance.md"];
const PAST_BUGS: &str = "docs/past-bugs.md";
const BUGS: u32 = 80;

#[cfg(test)]
mod tests {
    use super::{bugs_are_listed, named_tests_exist};
    use crate::lint::Source;

    fn sources(row: &str) -> [Source; 2] {
        let source = |path: &str, text: String| Source {
            path: path.into(),
            text,
        };
        [
            source(
                "crates/x/tests/a.rs",
                "    fn bug_07_bug_08_it_stops(\n".to_owned(),
            ),
            source("docs/past-bugs.md", row.to_owned()),
        ]
    }

    #[test]
    fn lint_finds_tests_that_are_not_there() {
        let there = sources("| 7 | a spin | `x: bug_07_bug_08_it_stops` |");
        assert!(named_tests_exist(&there).is_empty());
        let gone = sources("| 7 | a spin | `y: bug_07_bug_08_it_stops`, `x: bug_07` |");
        assert_eq!(named_tests_exist(&gone).len(), 2);
    }

    #[test]
    fn lint_finds_tests_that_are_not_listed() {
        let rows: String = (1..=80)
            .map(|n| format!("| {n} | a bug | later |\n"))
            .collect();
        assert_eq!(bugs_are_listed(&sources(&rows)).len(), 2);
        let test = "`x: bug_07_bug_08_it_stops`";
        let listed = rows
            .replace("| 7 | a bug | later", &format!("| 7 | a bug | {test}"))
            .replace("| 8 | a bug | later", &format!("| 8 | a bug | {test}"));
        assert!(bugs_are_listed(&sources(&listed)).is_empty());
        let twice = listed.replace("| 9 |", "| 8 |");
        assert_eq!(bugs_are_listed(&sources(&twice)).len(), 2);
    }
}
