//! Medians of two VMMs side by side, how far the rounds are apart, and whether aims are met, in Markdown.

use super::Round;
use super::aims::Aim;
use super::sample::Sample;
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

    /// Whether there are figures of both VMMs, and of all that is measured.
    pub fn is_complete(&self) -> bool {
        let has = |metric: &str, vmm| self.values(metric, vmm).next().is_some();
        let mut metrics = self.metrics().peekable();
        metrics.peek().is_some() && metrics.all(|metric| has(metric, 0) && has(metric, 1))
    }

    /// Prints it under `title`.
    pub fn print(&self, title: &str) {
        let [left, right] = self.names;
        line(Paint::Title.on(format!("{title}, medians")));
        let heading = ["", "aim", left, right, "ratio", "of rounds", "rounds", ""];
        line(columns(heading.map(str::to_owned)));
        line("|---|---|---|---|---|---|---|---|");
        for metric in self.metrics() {
            line(columns(self.row(metric)));
        }
    }

    /// Those of the sample that has most.
    fn metrics(&self) -> impl Iterator<Item = &str> {
        let samples = self.rounds.iter().flatten();
        let fullest = samples.max_by_key(|sample| sample.metrics().count());
        fullest.into_iter().flat_map(Sample::metrics)
    }

    fn values(&self, metric: &str, vmm: usize) -> impl Iterator<Item = f64> {
        let rounds = self.rounds.iter();
        rounds.filter_map(move |round| round[vmm].value(metric))
    }

    /// Metric, aim, both medians, their ratio, the range of the rounds' ratios, how many rounds each VMM
    /// came through, and whether the aim is met.
    fn row(&self, metric: &str) -> [String; 8] {
        let [ours, theirs] = [0, 1].map(|vmm| median(self.values(metric, vmm)));
        let ratio = quotient(ours, theirs);
        let aim = Aim::of(metric);
        let met = aim.and_then(|aim| aim.is_met(ours, ratio));
        [
            metric.to_owned(),
            aim.map_or_else(String::new, |aim| aim.to_string()),
            ours.map_or("-".to_owned(), figure),
            theirs.map_or("-".to_owned(), figure),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            self.range(metric),
            self.counts(metric),
            met.map_or("", |met| if met { "met" } else { "missed" })
                .to_owned(),
        ]
    }

    fn range(&self, metric: &str) -> String {
        let value = |sample: &Sample| sample.value(metric);
        let pairs = self.rounds.iter();
        let ratios = pairs.filter_map(|[ours, theirs]| quotient(value(ours), value(theirs)));
        let ratios: Vec<_> = ratios.collect();
        let lowest = ratios.iter().copied().reduce(f64::min);
        let highest = ratios.into_iter().reduce(f64::max);
        lowest.zip(highest).map_or("-".to_owned(), |(low, high)| {
            format!("{low:.2} to {high:.2}")
        })
    }

    fn counts(&self, metric: &str) -> String {
        match [0, 1].map(|vmm| self.values(metric, vmm).count()) {
            [ours, theirs] if ours == theirs => ours.to_string(),
            [ours, theirs] => format!("{ours} and {theirs}"),
        }
    }
}

/// As Markdown has a table.
fn columns(cells: [String; 8]) -> String {
    let [metric, cells @ ..] = cells;
    let cells = cells.iter().zip(WIDTHS);
    let cells: String = cells
        .map(|(cell, width)| format!(" {cell:<width$} |"))
        .collect();
    format!("| {metric:<METRIC$} |{cells}")
}

fn quotient(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    let right = right.filter(|right| *right > 0.0)?;
    left.map(|left| left / right)
}

fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 => format!("{value:.3}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
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

/// Of the first column.
const METRIC: usize = 42;
/// Of the others.
const WIDTHS: [usize; 7] = [19, 8, 8, 6, 14, 7, 6];

#[cfg(test)]
mod tests {
    use super::{Table, columns, median};
    use crate::bench::sample::Sample;

    #[test]
    fn bench_takes_medians_of_what_there_is() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn bench_leaves_out_what_is_missing() {
        let sample = |value| {
            let mut sample = Sample::default();
            sample.set("bzImage: exits to init", value);
            sample
        };
        let none = Sample::default;
        let mut rounds = vec![
            [sample(10.0), none()],
            [sample(20.0), sample(40.0)],
            [sample(15.0), sample(60.0)],
        ];
        let row = Table::new(["a", "b"], &rounds).row("bzImage: exits to init");
        assert_eq!(
            row[1..],
            [
                "at most 5000",
                "15.0",
                "50.0",
                "0.30",
                "0.25 to 0.50",
                "3 and 2",
                "met"
            ]
        );
        assert!(columns(row).starts_with("| bzImage: exits to init "));
        assert!(Table::new(["a", "b"], &rounds).is_complete());
        rounds.truncate(1);
        assert!(!Table::new(["a", "b"], &rounds).is_complete());
        assert!(!Table::new(["a", "b"], &[]).is_complete());
    }
}
