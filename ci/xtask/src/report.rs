//! Counts what passed and what failed, and how long each step took.

use std::fmt::Display;
use std::panic::resume_unwind;
use std::thread::{ScopedJoinHandle, scope};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::console::{Paint, line, seconds};

/// The account of one command.
#[derive(Debug)]
pub struct Report {
    start: Instant,
    count: Count,
    outcomes: Vec<Outcome>,
}

/// The name of a step that can be done beside others, and what it does.
pub type Step<'a> = (&'a str, Box<dyn FnOnce() -> Result<Count> + Send + 'a>);

/// What became of a step.
#[derive(Debug)]
struct Outcome {
    name: String,
    time: Duration,
    count: Count,
}

/// How many checks went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that passed.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
}

impl Count {
    /// A single check.
    pub fn one(passed: bool) -> Self {
        Self {
            passed: usize::from(passed),
            failed: usize::from(!passed),
        }
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Report {
    /// Starts the clock.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            count: Count::default(),
            outcomes: Vec::new(),
        }
    }

    /// Does one step. A step that breaks off counts as one failed check, and the next one is done all the same.
    pub fn step(&mut self, name: impl Display, work: impl FnOnce() -> Result<Count>) {
        self.enter(Outcome::of(name, work));
    }

    /// Does steps at the same time. What they say is mixed.
    pub fn together(&mut self, steps: Vec<Step<'_>>) {
        let outcomes = scope(|scope| {
            let start = |(name, work)| scope.spawn(move || Outcome::of(name, work));
            let running: Vec<_> = steps.into_iter().map(start).collect();
            let end = |step: ScopedJoinHandle<'_, _>| {
                step.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            running.into_iter().map(end).collect::<Vec<_>>()
        });
        outcomes.into_iter().for_each(|outcome| self.enter(outcome));
    }

    fn enter(&mut self, outcome: Outcome) {
        self.count.add(outcome.count);
        self.outcomes.push(outcome);
    }

    /// Prints the summary and returns whether all went well.
    pub fn finish(self) -> bool {
        line(Paint::Title.on("==> summary"));
        for Outcome { name, time, count } in &self.outcomes {
            line(format_args!(
                "{} {name:<44} {:>12}",
                mark(*count),
                seconds(*time)
            ));
        }
        line(format_args!(
            "     {:<44} {:>12}",
            "all",
            seconds(self.start.elapsed())
        ));
        line(format_args!(
            "{} passed, {} failed",
            self.count.passed, self.count.failed
        ));
        self.count.failed == 0
    }
}

impl Outcome {
    fn of(name: impl Display, work: impl FnOnce() -> Result<Count>) -> Self {
        line(Paint::Title.on(format!("==> {name}")));
        let start = Instant::now();
        let count = work().unwrap_or_else(|error| {
            line(format_args!("{} {error:#}", Paint::Bad.on("error:")));
            Count::one(false)
        });
        let time = start.elapsed();
        line(format_args!("{} {name}, {}", mark(count), seconds(time)));
        Self {
            name: name.to_string(),
            time,
            count,
        }
    }
}

fn mark(count: Count) -> String {
    if count.failed == 0 {
        Paint::Good.on("  ok")
    } else {
        Paint::Bad.on("FAIL")
    }
}
