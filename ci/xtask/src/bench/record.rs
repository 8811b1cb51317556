//! What rounds have found so far, in a file, so that a measurement can be made in several runs.
//!
//! A line is one figure: vCPUs, number of the round, number of the VMM, value and metric, with tabs
//! between them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::Round;

/// Rounds by their numbers of vCPUs, those of earlier runs first.
#[derive(Debug)]
pub struct Record {
    file: File,
    rounds: BTreeMap<u32, Vec<Round>>,
}

/// How many rounds with so many vCPUs the text of a record has.
pub fn count(text: &str, vcpus: u32) -> Result<u32> {
    let rounds = parse(text)?;
    Ok(rounds.get(&vcpus).map_or(0, |rounds| rounds.len() as u32))
}

impl Record {
    /// What is in the file at `path`, if there is one; [`Record::add`] adds to it.
    pub fn open(path: &Path) -> Result<Self> {
        let earlier = fs::read_to_string(path).unwrap_or_default();
        let context = || path.display().to_string();
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: file.with_context(context)?,
            rounds: parse(&earlier).with_context(context)?,
        })
    }

    /// The rounds with so many vCPUs.
    pub fn rounds(&self, vcpus: u32) -> &[Round] {
        self.rounds.get(&vcpus).map_or(&[], Vec::as_slice)
    }

    /// Adds a round.
    pub fn add(&mut self, vcpus: u32, round: Round) -> Result<()> {
        let number = self.rounds(vcpus).len();
        self.file
            .write_all(lines(vcpus, number, &round).as_bytes())?;
        self.rounds.entry(vcpus).or_default().push(round);
        Ok(())
    }
}

fn lines(vcpus: u32, number: usize, round: &Round) -> String {
    let samples = round.iter().enumerate();
    let figures = samples.flat_map(|(vmm, sample)| {
        sample
            .figures()
            .map(move |(metric, value)| format!("{vcpus}\t{number}\t{vmm}\t{value}\t{metric}\n"))
    });
    figures.collect()
}

/// A round in which nothing was found left no line, and is not counted.
fn parse(text: &str) -> Result<BTreeMap<u32, Vec<Round>>> {
    let mut rounds: BTreeMap<(u32, usize), Round> = BTreeMap::new();
    for line in text.lines() {
        let (round, vmm, value, metric) = figure(line).with_context(|| format!("line {line:?}"))?;
        let sample = rounds.entry(round).or_default().get_mut(vmm);
        let sample = sample.context("there are two VMMs")?;
        sample.set(metric, value);
    }
    let mut found: BTreeMap<u32, Vec<Round>> = BTreeMap::new();
    for ((vcpus, _), round) in rounds {
        found.entry(vcpus).or_default().push(round);
    }
    Ok(found)
}

/// vCPUs and number of the round, VMM, value, metric.
fn figure(line: &str) -> Option<((u32, usize), usize, f64, &str)> {
    let mut words = line.splitn(5, '\t');
    let round = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (vmm, value) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((round, vmm, value, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::{Round, count, lines, parse};
    use crate::bench::sample::Sample;

    #[test]
    fn bench_reads_the_rounds_that_it_kept() {
        let sample = |value| {
            let mut sample = Sample::default();
            sample.set("exits to init", value);
            sample.set("  to user space", value / 8.0);
            sample
        };
        let rounds: [(u32, usize, Round); 3] = [
            (1, 0, [sample(10.0), sample(20.0)]),
            (2, 0, [Sample::default(), sample(30.0)]),
            (1, 1, [sample(40.0), Sample::default()]),
        ];
        let kept: String = rounds.iter().map(|(v, n, r)| lines(*v, *n, r)).collect();
        let counts = [1, 2, 3].map(|vcpus| count(&kept, vcpus).unwrap());
        assert_eq!(counts, [2, 1, 0]);
        let found = parse(&kept).unwrap();
        assert_eq!((found[&1].len(), found[&2].len()), (2, 1));
        assert_eq!(found[&1][1][0].value("  to user space"), Some(5.0));
        let empty = |sample: &Sample| sample.figures().next().is_none();
        assert!(empty(&found[&2][0][0]) && empty(&found[&1][1][1]));
        assert!(parse("1\t0\t2\t1.5\texits\n").is_err());
        assert!(parse("1\t0\texits\n").is_err());
    }
}
