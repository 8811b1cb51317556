//! `cargo xtask bench guest`: two VMMs beside each other, interleaved, on the same ground.
//!
//! Nested as it may be, no figure means anything by itself; only the ratios do.

pub mod counters;
pub mod sample;

use std::path::Path;

use anyhow::Result;

use crate::console::{Paint, line};
use crate::guest::image::Image;
use crate::guest::machine::Vmm;
use sample::{METRICS, Sample};

/// Measures both VMMs `rounds` times and prints medians and ratios (first to second).
pub fn run(vmms: &[Vmm; 2], image: &Image, work: &Path, rounds: u32) -> Result<()> {
    let mut samples: [Vec<Sample>; 2] = Default::default();
    for round in 1..=rounds {
        for (vmm, samples) in vmms.iter().zip(&mut samples) {
            line(Paint::Faint.on(format!("  round {round} of {rounds}: {}", vmm.name())));
            samples.push(Sample::take(vmm, image, work)?);
        }
    }
    print(vmms, &samples);
    Ok(())
}

fn print([left, right]: &[Vmm; 2], [ours, theirs]: &[Vec<Sample>; 2]) {
    line(Paint::Title.on(format!(
        "{:<34} {:>12} {:>12} {:>8}",
        "median",
        left.name(),
        right.name(),
        "ratio"
    )));
    for metric in METRICS {
        let (ours, theirs) = (median(ours, metric), median(theirs, metric));
        let ratio = if theirs > 0.0 {
            format!("{:.2}", ours / theirs)
        } else {
            "-".to_owned()
        };
        let digits = if ours < 10.0 { 3 } else { 1 };
        line(format_args!(
            "{metric:<34} {ours:>12.digits$} {theirs:>12.digits$} {ratio:>8}"
        ));
    }
}

/// A metric that no sample has counts as zero.
fn median(samples: &[Sample], metric: &str) -> f64 {
    let mut values: Vec<_> = samples
        .iter()
        .filter_map(|sample| sample.value(metric))
        .collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
