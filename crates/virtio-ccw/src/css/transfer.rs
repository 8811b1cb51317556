//! One command and its data.

use super::ccw::Ccw;
use super::ida::{Block, Blocks};
use super::link::Link;
use super::program::Program;
use super::storage::{Check, Storage};
use super::{Completion, Outcome, Sense};

/// A command code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Command(pub u8);

impl Command {
    /// NO-OPERATION.
    pub const NO_OPERATION: Self = Self(0x03);
    /// SENSE, for the sense bytes of the last unit check.
    pub const SENSE: Self = Self(0x04);
    /// TRANSFER IN CHANNEL.
    pub const TRANSFER_IN_CHANNEL: Self = Self(0x08);
    /// SENSE ID.
    pub const SENSE_ID: Self = Self(0xe4);
}

/// The data of one command: a stream over all that its CCW names, and the CCWs chained to it by
/// data chaining, directly or through (modified) indirect-data-address words.
///
/// There is one position for reading and writing, as virtio's READ_FEAT and READ_VQ_CONF, which
/// are read commands, first look at a selector in the area. What counts as transferred is the
/// farthest position reached.
///
/// What the program names is found and checked as far as it is used, one piece after the other;
/// after an address that may not be used nothing more is transferred.
pub struct Transfer<'a> {
    storage: &'a dyn Storage,
    program: &'a mut Program,
    link: &'a Link,
    /// The word that the last block belongs to, and how many bytes there are before it.
    ccw: Ccw,
    before: u64,
    rest: Blocks,
    blocks: Vec<Block>,
    /// Where the position is: in which block, how far into it, and from the start.
    block: usize,
    offset: u16,
    position: u64,
    farthest: u64,
    check: Option<Check>,
    interrupt: bool,
    deferred: bool,
    /// The unit has asked for more than there is.
    short: bool,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        storage: &'a dyn Storage,
        program: &'a mut Program,
        link: &'a Link,
        ccw: Ccw,
    ) -> Self {
        Self {
            rest: Blocks::new(ccw, program.orb.format, program.orb.idaw),
            storage,
            program,
            link,
            ccw,
            before: 0,
            blocks: Vec::new(),
            block: 0,
            offset: 0,
            position: 0,
            farthest: 0,
            check: None,
            interrupt: false,
            deferred: false,
            short: false,
        }
    }

    /// From guest to device: fills `data` from the front. Returns how many bytes there were.
    pub fn read(&mut self, data: &mut [u8]) -> usize {
        let storage = self.storage;
        self.walk(data.len(), |block, at, len| {
            let piece = data.get_mut(at..at + len).unwrap_or_default();
            storage.read(block.address, piece)
        })
    }

    /// Reads exactly `N` bytes. `None` where there are not so many, which is an incorrect length.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut data = [0; N];
        let got = self.read(&mut data);
        self.all(got, N).then_some(data)
    }

    /// From device to guest. Returns how many bytes there was room for. Where the program says so
    /// (the skip flag), they count but are not stored.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let storage = self.storage;
        self.walk(data.len(), |block, at, len| match block.skip {
            true => len,
            false => storage.write(block.address, data.get(at..at + len).unwrap_or_default()),
        })
    }

    /// Writes exactly `data`. False where there is no room for all of it, which is an incorrect
    /// length.
    #[must_use]
    pub fn write_all(&mut self, data: &[u8]) -> bool {
        let put = self.write(data);
        self.all(put, data.len())
    }

    /// Moves on by up to `count` bytes, without looking at them. Returns by how many.
    pub fn advance(&mut self, count: usize) -> usize {
        self.walk(count, |_, _, len| len)
    }

    /// Back to the first byte.
    pub fn rewind(&mut self) {
        (self.block, self.offset, self.position) = (0, 0, 0);
    }

    /// For a command that ends later: see [`Outcome::Pending`].
    pub fn defer(&mut self) -> Completion {
        self.deferred = true;
        Completion::new(self.link.clone(), self.program.serial)
    }

    /// The transfer is over: how it went, together with what the unit says about the command.
    pub(super) fn end(mut self, outcome: Outcome) -> Ended {
        // A word that is used up and chains data has handed over to the next one.
        if self.ends_with_word() && self.ccw.has(Ccw::CHAIN_DATA) {
            self.try_chain();
        }
        let outcome = match outcome {
            Outcome::Pending if !self.deferred => Outcome::UnitCheck(Sense::EQUIPMENT_CHECK),
            outcome => outcome,
        };
        Ended {
            outcome,
            flags: self.ccw.flags,
            residual: self.residual(),
            immediate: self.farthest == 0,
            short: self.short,
            check: self.check,
            interrupt: self.interrupt,
        }
    }

    fn all(&mut self, done: usize, wanted: usize) -> bool {
        self.short |= done < wanted;
        done == wanted
    }

    fn ends_with_word(&self) -> bool {
        self.check.is_none() && self.farthest > 0 && self.residual() == 0
    }

    /// Bytes of the current word that were not transferred.
    fn residual(&self) -> u16 {
        let used = self.farthest.saturating_sub(self.before);
        self.ccw
            .count
            .saturating_sub(u16::try_from(used).unwrap_or(u16::MAX))
    }

    /// Goes over up to `count` bytes block by block. `access` is given a block that begins at the
    /// position, how many bytes came before it, and how many of it are wanted; it says how many
    /// could be had.
    fn walk(
        &mut self,
        count: usize,
        mut access: impl FnMut(Block, usize, usize) -> usize,
    ) -> usize {
        let mut done = 0;
        while done < count
            && let Some(block) = self.here()
        {
            let len = (count - done).min(block.len.into());
            let moved = access(block, done, len);
            self.move_on(moved as u16);
            done += moved;
            if moved < len {
                self.check = Some(Check::Program);
            }
        }
        done
    }

    /// What is left of the block at the position, at least a byte; none at the end of the data or
    /// after a check.
    fn here(&mut self) -> Option<Block> {
        if self.block == self.blocks.len() {
            self.find_block();
        }
        let block = self
            .blocks
            .get(self.block)
            .filter(|_| self.check.is_none())?;
        Some(Block {
            address: block.address.wrapping_add(self.offset.into()),
            len: block.len - self.offset,
            skip: block.skip,
        })
    }

    fn move_on(&mut self, count: u16) {
        self.offset += count;
        self.position += u64::from(count);
        self.farthest = self.farthest.max(self.position);
        if self
            .blocks
            .get(self.block)
            .is_some_and(|block| block.len == self.offset)
        {
            (self.block, self.offset) = (self.block + 1, 0);
        }
    }

    fn find_block(&mut self) {
        if self.check.is_some() {
            return;
        }
        match self.rest.next(self.storage) {
            Ok(Some(block)) => self.blocks.push(block),
            Ok(None) if self.ccw.has(Ccw::CHAIN_DATA) => {
                self.try_chain();
                // A chained word has a count, so this goes no deeper.
                self.find_block_of_word();
            }
            Ok(None) => {}
            Err(check) => self.check = Some(check),
        }
    }

    fn find_block_of_word(&mut self) {
        if self.check.is_none() {
            match self.rest.next(self.storage) {
                Ok(block) => self.blocks.extend(block),
                Err(check) => self.check = Some(check),
            }
        }
    }

    fn try_chain(&mut self) {
        match self.program.chained_data(self.storage) {
            Ok(ccw) => {
                self.before += u64::from(self.ccw.count);
                self.interrupt |= ccw.has(Ccw::INTERRUPT);
                self.rest = Blocks::new(ccw, self.program.orb.format, self.program.orb.idaw);
                self.ccw = ccw;
            }
            Err(check) => self.check = Some(check),
        }
    }
}

/// How a command ended, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Flags of the word that it ended in.
    pub(super) flags: u8,
    /// Bytes of that word that were not transferred.
    pub(super) residual: u16,
    /// Nothing was transferred.
    pub(super) immediate: bool,
    /// The unit wanted more than there was.
    pub(super) short: bool,
    pub(super) check: Option<Check>,
    /// A word fetched by data chaining asked for an interruption.
    pub(super) interrupt: bool,
}
