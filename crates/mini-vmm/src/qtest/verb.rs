//! The verbs: one line is one request.

use crate::options::number;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Endianness,
    /// A read of a port, 1, 2 or 4 bytes wide.
    In {
        port: u16,
        width: usize,
    },
    Out {
        port: u16,
        width: usize,
        value: u32,
    },
    /// A read of 1, 2, 4 or 8 bytes of memory, as a number.
    Load {
        address: u64,
        width: usize,
    },
    /// A read of memory, as a row of bytes.
    Read {
        address: u64,
        length: usize,
    },
    Write {
        address: u64,
        bytes: Vec<u8>,
    },
}

/// Why a line is refused. The first two are in QEMU's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("FAIL Unknown command '{0}'")]
    Unknown(String),
    #[error("ERR invalid argument count")]
    Count,
    #[error("ERR not a number that fits: {0}")]
    Number(String),
    #[error("ERR line too long")]
    TooLong,
}

impl Request {
    /// The request in `line`.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let line = String::from_utf8_lossy(line);
        let mut words = Words(line.split_ascii_whitespace());
        let verb = words.next().unwrap_or_default();
        Ok(match verb {
            "endianness" => Self::Endianness,
            "inb" | "inw" | "inl" => Self::In {
                port: words.number()?,
                width: width(verb),
            },
            "outb" | "outw" | "outl" => Self::Out {
                port: words.number()?,
                width: width(verb),
                value: words.number()?,
            },
            "readb" | "readw" | "readl" | "readq" => Self::Load {
                address: words.number()?,
                width: width(verb),
            },
            "writeb" | "writew" | "writel" | "writeq" => Self::Write {
                address: words.number()?,
                bytes: words.value(width(verb))?,
            },
            "read" => Self::Read {
                address: words.number()?,
                length: words.length()?,
            },
            "write" => Self::Write {
                address: words.number()?,
                bytes: words.bytes()?,
            },
            other => return Err(Refusal::Unknown(shown(other))),
        })
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 0xf)]);
    }
    text
}

struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, Refusal> {
        self.0.next().ok_or(Refusal::Count)
    }

    fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Refusal> {
        let word = self.next()?;
        let value = number(word).and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| Refusal::Number(shown(word)))
    }

    fn length(&mut self) -> Result<usize, Refusal> {
        let word = self.next()?;
        let value = number(word).and_then(|value| usize::try_from(value).ok());
        let value = value.filter(|value| (1..=MOST_BYTES).contains(value));
        value.ok_or_else(|| Refusal::Number(shown(word)))
    }

    /// The bytes of a number, which may be given with more digits than it has room for.
    fn value(&mut self, width: usize) -> Result<Vec<u8>, Refusal> {
        let value: u64 = self.number()?;
        Ok(value.to_le_bytes().into_iter().take(width).collect())
    }

    /// A number of bytes, and that many in hexadecimal; those that are missing are zero.
    fn bytes(&mut self) -> Result<Vec<u8>, Refusal> {
        let length = self.length()?;
        let word = self.next()?;
        let refused = || Refusal::Number(shown(word));
        let digits = word.strip_prefix("0x").ok_or_else(refused)?;
        let mut bytes = digits.as_bytes().chunks(2).map(byte);
        let mut taken = vec![0; length];
        for (slot, byte) in taken.iter_mut().zip(&mut bytes) {
            *slot = byte.ok_or_else(refused)?;
        }
        Ok(taken)
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    }
}

/// By the last letter of the verb.
fn width(verb: &str) -> usize {
    match verb.as_bytes().last() {
        Some(b'w') => 2,
        Some(b'l') => 4,
        Some(b'q') => 8,
        _ => 1,
    }
}

/// The start of a word, which may be as long as a line.
fn shown(word: &str) -> String {
    word.chars().take(SHOWN).collect()
}

/// Bytes of the longest read or write.
pub(super) const MOST_BYTES: usize = 16 << 20;
const SHOWN: usize = 64;
