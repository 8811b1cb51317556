//! Counts what passed and what failed, and how long each step took.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::console::{Paint, line, seconds};

/// The account of one command.
#[derive(Debug)]
pub struct Report {
    start: Instant,
    count: Count,
    steps: Vec<(String, Duration, bool)>,
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
            steps: Vec::new(),
        }
    }

    /// Does one step. A step that breaks off counts as one failed check, and the next one is done all the same.
    pub fn step(&mut self, name: impl Display, work: impl FnOnce() -> Result<Count>) {
        line(Paint::Title.on(format!("==> {name}")));
        let start = Instant::now();
        let count = work().unwrap_or_else(|error| {
            line(format_args!("{} {error:#}", Paint::Bad.on("error:")));
            Count::one(false)
        });
        let (time, good) = (start.elapsed(), count.failed == 0);
        self.count.add(count);
        self.steps.push((name.to_string(), time, good));
        line(format_args!("{} {name}, {}", mark(good), seconds(time)));
    }

    /// Prints the summary and returns whether all went well.
    pub fn finish(self) -> bool {
        line(Paint::Title.on("==> summary"));
        for (name, time, good) in &self.steps {
            line(format_args!(
                "{} {name:<44} {:>12}",
                mark(*good),
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

fn mark(good: bool) -> String {
    if good {
        Paint::Good.on("  ok")
    } else {
        Paint::Bad.on("FAIL")
    }
}
