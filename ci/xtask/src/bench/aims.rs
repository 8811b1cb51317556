//! What the figures should be.

use std::fmt;

/// A bound for the first VMM's figure, or for its ratio to the second one's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// The figure.
    AtMost(f64),
    /// The ratio.
    RatioAtLeast(f64),
    /// The ratio.
    RatioAtMost(f64),
}

impl Aim {
    /// That of the metric with this name, if there is one.
    pub fn of(metric: &str) -> Option<Self> {
        let found = AIMS.iter().find(|(name, _)| *name == metric);
        found.map(|(_, aim)| *aim)
    }

    /// Whether a figure with this ratio meets it; `None` where that is not known.
    pub fn is_met(self, figure: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::AtMost(most) => figure.map(|figure| figure <= most),
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Self::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::RatioAtLeast(least) => write!(f, "ratio at least {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio at most {most}"),
        }
    }
}

const AIMS: &[(&str, Aim)] = &[
    ("ELF image: start to init, s", Aim::RatioAtMost(0.6)),
    ("ELF image: exits to init", Aim::AtMost(5000.0)),
    ("bzImage: start to init, s", Aim::RatioAtMost(0.6)),
    ("bzImage: exits to init", Aim::AtMost(5000.0)),
    ("randread-1: IOPS", Aim::RatioAtLeast(1.05)),
    ("randread-1: exits to user space/request", Aim::AtMost(0.0)),
    ("randwrite-1: IOPS", Aim::RatioAtLeast(1.3)),
    ("randwrite-1: exits to user space/request", Aim::AtMost(0.0)),
    ("randread-32: IOPS", Aim::RatioAtLeast(1.3)),
    ("randread-32: exits to user space/request", Aim::AtMost(0.0)),
    ("randwrite-32: IOPS", Aim::RatioAtLeast(1.5)),
    (
        "randwrite-32: exits to user space/request",
        Aim::AtMost(0.0),
    ),
    ("memory beyond guest RAM, MiB", Aim::AtMost(6.0)),
    ("private dirty, MiB", Aim::AtMost(1.0)),
];

#[cfg(test)]
mod tests {
    use super::Aim;

    #[test]
    fn bench_judges_by_figure_or_by_ratio() {
        let aim = |metric| Aim::of(metric).unwrap();
        let exits = aim("bzImage: exits to init");
        assert_eq!(exits.is_met(Some(5000.0), None), Some(true));
        assert_eq!(exits.is_met(None, Some(0.1)), None);
        let start = aim("bzImage: start to init, s");
        assert_eq!(start.is_met(Some(9.0), Some(0.61)), Some(false));
        let rate = aim("randread-1: IOPS");
        assert_eq!(rate.is_met(Some(9.0), Some(1.05)), Some(true));
        assert_eq!(Aim::of("context switches"), None);
    }
}
