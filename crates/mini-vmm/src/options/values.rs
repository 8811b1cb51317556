//! Values as QEMU writes them: sizes, switches, numbers and names.

use super::BadOption;

/// Bytes from a size such as `512`, `512M`, `1.5G` or `0x1000`, the value of `key` where it has one;
/// a plain number counts `unit` bytes.
pub(super) fn size(
    option: &str,
    key: Option<&str>,
    text: &str,
    unit: u64,
) -> Result<u64, BadOption> {
    parse_size(text, unit).ok_or_else(|| {
        let (why, accepted) = (
            "not a size",
            "a number, with K, M, G or T as its last letter",
        );
        match key {
            Some(key) => BadOption::property(option, key, text, why, accepted),
            None => BadOption::value(option, text, why, accepted),
        }
    })
}

/// A switch: `on`, `off`, `yes`, `no`, `true`, `false`, `y` or `n`.
pub fn switch(option: &str, key: &str, text: &str) -> Result<bool, BadOption> {
    match text {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(BadOption::property(
            option,
            key,
            text,
            "not a switch",
            "on, off",
        )),
    }
}

/// An unsigned number, decimal or with `0x`.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if digits(hex, 16) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if digits(text, 10) => text.parse().ok(),
        None => None,
    }
}

/// An identifier of a back-end: a letter, then letters, digits, `-`, `.` and `_`.
pub(super) fn identifier(option: &str, text: &str) -> Result<String, BadOption> {
    let ok = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if ok {
        return Ok(text.to_owned());
    }
    let accepted = "a letter, then letters, digits, '-', '.', '_'";
    Err(BadOption::property(
        option,
        "id",
        text,
        "not an identifier",
        accepted,
    ))
}

fn parse_size(text: &str, unit: u64) -> Option<u64> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, letter)) if !text.starts_with("0x") => match letter.to_ascii_uppercase() {
            'B' => (text.get(..at)?, 1),
            'K' => (text.get(..at)?, 1 << 10),
            'M' => (text.get(..at)?, 1 << 20),
            'G' => (text.get(..at)?, 1 << 30),
            'T' => (text.get(..at)?, 1 << 40),
            _ => (text, unit),
        },
        _ => (text, unit),
    };
    match digits.split_once('.') {
        None => number(digits)?.checked_mul(factor),
        Some((whole, fraction)) => decimal(whole, fraction, factor),
    }
}

/// `whole.fraction` times `factor`, rounded down, in integers.
fn decimal(whole: &str, fraction: &str, factor: u64) -> Option<u64> {
    if !digits(whole, 10) || !digits(fraction, 10) || fraction.len() > 18 {
        return None;
    }
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u128>().ok()? * u128::from(factor) / scale;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)?
        .checked_add(u64::try_from(part).ok()?)
}

/// `from_str_radix` would take a sign; a size or an address has none.
fn digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_qemus() {
        for (text, bytes) in [
            ("512", 512 << 20),
            ("512M", 512 << 20),
            ("2g", 2 << 30),
            ("1.5G", 3 << 29),
            ("64k", 64 << 10),
            ("100b", 100),
            ("0x10", 16 << 20),
        ] {
            assert_eq!(size("-m", None, text, 1 << 20), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_are_refused() {
        for text in [
            "",
            "M",
            "-1",
            "+1",
            "12q",
            "1.5.5G",
            "1.G",
            "0x",
            "99999999999T",
            "1 G",
            "٣M",
        ] {
            let error = size("-m", None, text, 1 << 20).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("-m {text}: not a size; accepted: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn switches_and_numbers() {
        assert_eq!(switch("-drive", "readonly", "on"), Ok(true));
        assert_eq!(switch("-drive", "readonly", "no"), Ok(false));
        assert!(switch("-drive", "readonly", "1").is_err());
        assert_eq!(number("0x3f8"), Some(0x3f8));
        assert_eq!(number("10"), Some(10));
        for text in ["", "+1", "-1", "0xg", "1e3", "18446744073709551616"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn identifiers() {
        assert_eq!(identifier("-drive", "d0.x_y-z").as_deref(), Ok("d0.x_y-z"));
        for text in ["", "0d", "a b", "a/b", "-a"] {
            assert!(identifier("-drive", text).is_err(), "{text}");
        }
    }
}
