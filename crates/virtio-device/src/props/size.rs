//! Sizes in bytes, as properties.

use super::PropValue;

/// A number of bytes below 2^32, which may be given in binary units: `4096`, `0x1000`, `4K`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u32);

impl PropValue for Size {
    const ACCEPTS: &'static str = "a number of bytes below 4G, such as 512, 4K or 1M";

    fn parse(text: &str) -> Option<Self> {
        let unit = |suffix: char| {
            UNITS
                .iter()
                .find(|(unit, _)| unit.eq_ignore_ascii_case(&suffix))
        };
        let hex = text.starts_with("0x") || text.starts_with("0X");
        let (number, factor) = match text.chars().last().and_then(unit) {
            Some(&(_, factor)) if !hex => (text.get(..text.len() - 1)?, factor),
            _ => (text, 1),
        };
        u32::parse(number)?.checked_mul(factor).map(Self)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

const UNITS: [(char, u32); 4] = [('B', 1), ('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
