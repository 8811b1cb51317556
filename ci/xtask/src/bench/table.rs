//! Medians of two VMMs side by side, and how far the rounds are apart.

use super::Round;
use crate::console::{Paint, line};

/// The rounds of both VMMs under equal conditions.
pub struct Table<'a> {
    names: [&'static str; 2],
    rounds: &'a [Round],
}

impl<'a> Table<'a> {
    /// A table of `rounds` of the VMMs with these names.
    pub fn new(names: [&'static str; 2], rounds: &'a [Round]) -> Self {
        Self { names, rounds }
    }

    /// Whether there are figures of both VMMs.
    pub fn is_complete(&self) -> bool {
        (0..2).all(|vmm| self.rounds.iter().any(|round| round[vmm].is_some()))
    }

    /// Prints it under `title`.
    pub fn print(&self, title: &str) {
        let [left, right] = self.names;
        let heading = format!("{title}, median of {}", self.counts());
        line(Paint::Title.on(format!(
            "{heading:<38} {left:>10} {right:>10} {:>7}  of rounds",
            "ratio"
        )));
        for metric in self.metrics() {
            line(self.row(metric));
        }
    }

    /// How many rounds each VMM came through.
    fn counts(&self) -> String {
        let count = |vmm: usize| {
            self.rounds
                .iter()
                .filter(|round| round[vmm].is_some())
                .count()
        };
        match (count(0), count(1)) {
            (ours, theirs) if ours == theirs => ours.to_string(),
            (ours, theirs) => format!("{ours} and {theirs}"),
        }
    }

    fn metrics(&self) -> impl Iterator<Item = &str> {
        let samples = self.rounds.iter().flatten().flatten();
        samples.take(1).flat_map(|sample| sample.metrics())
    }

    fn row(&self, metric: &str) -> String {
        let value = |round: &Round, vmm: usize| round[vmm].as_ref()?.value(metric);
        let column = |vmm| median(self.rounds.iter().filter_map(|round| value(round, vmm)));
        let (ours, theirs) = (column(0), column(1));
        let pairs = self.rounds.iter();
        let ratios = pairs.filter_map(|round| quotient(value(round, 0)?, value(round, 1)?));
        format!(
            "{metric:<38} {:>10} {:>10} {:>7}  {}",
            figure(ours),
            figure(theirs),
            ours.zip(theirs)
                .and_then(|(ours, theirs)| quotient(ours, theirs))
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            ratios
                .map(|ratio| format!("{ratio:.2}"))
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}

fn quotient(left: f64, right: f64) -> Option<f64> {
    (right > 0.0).then(|| left / right)
}

fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.3}"),
        Some(value) => format!("{value:.1}"),
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, median};
    use crate::bench::sample::Sample;

    #[test]
    fn bench_takes_medians_of_what_there_is() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn bench_leaves_failed_rounds_out() {
        let sample = |value| {
            let mut sample = Sample::default();
            sample.set("exits", value);
            Some(sample)
        };
        let mut rounds = vec![[sample(10.0), None], [sample(20.0), sample(40.0)]];
        let row = Table::new(["a", "b"], &rounds).row("exits");
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words, ["exits", "15.0", "40.0", "0.38", "0.50"]);
        assert!(Table::new(["a", "b"], &rounds).is_complete());
        rounds.pop();
        assert!(!Table::new(["a", "b"], &rounds).is_complete());
    }
}
