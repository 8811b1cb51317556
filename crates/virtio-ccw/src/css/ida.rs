//! Where the data of one channel-command word is: directly at its address, or through a list of
//! indirect-data-address words (IDAW) or modified ones (MIDAW), chapter 15.

use super::ccw::{Ccw, CcwFormat};
use super::storage::{Check, Storage, fetch};

/// Format of indirect-data-address words, and how much one of them covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdawFormat {
    /// 31 bits, blocks of 2 KiB.
    One,
    /// 64 bits.
    Two {
        /// Block size in bytes: 2 or 4 KiB.
        block: u64,
    },
}

impl IdawFormat {
    pub(super) const TWO_2K: Self = Self::Two { block: 0x800 };
    pub(super) const TWO_4K: Self = Self::Two { block: 0x1000 };

    pub(super) const fn new(two: bool, small_blocks: bool) -> Self {
        match (two, small_blocks) {
            (false, _) => Self::One,
            (true, true) => Self::TWO_2K,
            (true, false) => Self::TWO_4K,
        }
    }

    fn block(self) -> u64 {
        match self {
            Self::One => 0x800,
            Self::Two { block } => block,
        }
    }

    fn len(self) -> u64 {
        match self {
            Self::One => 4,
            Self::Two { .. } => 8,
        }
    }

    fn fetch(self, storage: &dyn Storage, address: u64) -> Result<u64, Check> {
        match self {
            Self::One => {
                fetch(storage, address)
                    .map(u32::from_be_bytes)
                    .and_then(|word| match word >> 31 {
                        0 => Ok(word.into()),
                        _ => Err(Check::Program),
                    })
            }
            Self::Two { .. } => fetch(storage, address).map(u64::from_be_bytes),
        }
    }
}

/// A run of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) address: u64,
    pub(super) len: u16,
    /// What the device sends is not stored.
    pub(super) skip: bool,
}

/// The blocks of one channel-command word, in order, each found when it is asked for.
#[derive(Debug)]
pub(super) struct Blocks {
    addressing: Addressing,
    /// Bytes for which no block was given out yet.
    left: u16,
    skip: bool,
}

#[derive(Debug)]
enum Addressing {
    Direct {
        address: u64,
        limit: u64,
    },
    Indirect {
        list: u64,
        format: IdawFormat,
        first: bool,
    },
    Modified {
        list: u64,
    },
}

impl Blocks {
    pub(super) fn new(ccw: Ccw, format: CcwFormat, idaw: IdawFormat) -> Self {
        let address = ccw.address.into();
        let addressing = match (ccw.has(Ccw::INDIRECT), ccw.has(Ccw::MODIFIED_INDIRECT)) {
            (true, _) => Addressing::Indirect {
                list: address,
                format: idaw,
                first: true,
            },
            (false, true) => Addressing::Modified { list: address },
            (false, false) => Addressing::Direct {
                address,
                limit: format.limit(),
            },
        };
        Self {
            addressing,
            left: ccw.count,
            skip: ccw.has(Ccw::SKIP),
        }
    }

    /// The next block, of at least one byte; `None` after the last.
    pub(super) fn next(&mut self, storage: &dyn Storage) -> Result<Option<Block>, Check> {
        if self.left == 0 {
            return Ok(None);
        }
        let (address, len, skip) = match &mut self.addressing {
            Addressing::Direct { address, limit } => direct(address, *limit, self.left)?,
            Addressing::Indirect {
                list,
                format,
                first,
            } => indirect(storage, list, *format, first, self.left)?,
            Addressing::Modified { list } => modified(storage, list, self.left)?,
        };
        self.left -= len;
        Ok(Some(Block {
            address,
            len,
            skip: skip || self.skip,
        }))
    }
}

/// Address, length (up to `left`) and whether it is skipped.
type Found = Result<(u64, u16, bool), Check>;

fn direct(address: &mut u64, limit: u64, left: u16) -> Found {
    let start = *address;
    let room = limit.saturating_sub(start);
    let len = u64::from(left).min(room) as u16;
    if len == 0 {
        return Err(Check::Program);
    }
    *address += u64::from(len);
    Ok((start, len, false))
}

fn indirect(
    storage: &dyn Storage,
    list: &mut u64,
    format: IdawFormat,
    first: &mut bool,
    left: u16,
) -> Found {
    if !(*list).is_multiple_of(format.len()) || *list >= CcwFormat::One.limit() {
        return Err(Check::Program);
    }
    let address = format.fetch(storage, *list)?;
    let offset = address % format.block();
    if offset != 0 && !*first {
        return Err(Check::Program);
    }
    *list += format.len();
    *first = false;
    let len = (format.block() - offset).min(left.into()) as u16;
    Ok((address, len, false))
}

/// A modified list may not leave its page, a block not its page; the last word has the last byte
/// of the count, and says that it is the last.
fn modified(storage: &dyn Storage, list: &mut u64, left: u16) -> Found {
    let word = fetch(storage, *list).map(u128::from_be_bytes)?;
    let (flags, len) = ((word >> 80) as u8, (word >> 64) as u16);
    let address = word as u64;
    let last = flags & MIDAW_LAST != 0;
    let next = *list + MIDAW_LEN;
    let bad = !(*list).is_multiple_of(MIDAW_LEN)
        || word >> 88 != 0
        || flags & MIDAW_RESERVED != 0
        || len == 0
        || len > left
        || last != (len == left)
        || address % PAGE + u64::from(len) > PAGE
        || !last && next.is_multiple_of(PAGE);
    *list = next;
    match bad {
        true => Err(Check::Program),
        false => Ok((address, len, flags & MIDAW_SKIP != 0)),
    }
}

const PAGE: u64 = 0x1000;
const MIDAW_LEN: u64 = 16;
const MIDAW_LAST: u8 = 0x80;
const MIDAW_SKIP: u8 = 0x40;
/// All but those two and the data-transfer-interruption control, which has no effect.
const MIDAW_RESERVED: u8 = 0x1f;
