//! A channel program on its way: which word comes next.

use super::ccw::{Ccw, Rules};
use super::orb::Orb;
use super::storage::{Check, Storage, fetch};

/// A channel program that was started and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) orb: Orb,
    /// Which start function of its subchannel it is.
    pub(super) run: u64,
    /// Which command of its subchannel was begun last.
    pub(super) serial: u64,
    /// Address of the next word.
    pub(super) next: u32,
    /// Address of the last word that was fetched, or could not be.
    pub(super) current: u32,
    /// The initial-status interruption is still to be made.
    pub(super) initial_status: bool,
    /// A TRANSFER IN CHANNEL may come now: not as the first word, and not after another.
    transfer: bool,
    /// Words that may still be fetched.
    left: u32,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Command(Ccw),
    /// The program suspends itself before this word.
    Suspend,
}

impl Program {
    /// Words that a program can have before it suspends itself or waits for its device. Those of
    /// drivers have a handful; one that loops is stopped with a channel-control check, since it is
    /// the CPU that started it which executes it.
    pub(super) const MAX_WORDS: u32 = 4096;

    pub(super) fn new(orb: Orb, run: u64) -> Self {
        Self {
            orb,
            run,
            serial: 0,
            next: orb.address,
            current: orb.address,
            initial_status: orb.initial_status,
            transfer: false,
            left: Self::MAX_WORDS,
        }
    }

    /// A program that suspended itself before the word at `address`.
    pub(super) fn suspended(orb: Orb, address: u32) -> Self {
        Self {
            next: address,
            current: address,
            transfer: true,
            initial_status: false,
            ..Self::new(orb, 0)
        }
    }

    /// It has waited: it may go on for as long as a new one.
    pub(super) fn refresh(&mut self) {
        self.left = Self::MAX_WORDS;
    }

    /// Fetches the next command.
    pub(super) fn command(&mut self, storage: &dyn Storage) -> Result<Fetched, Check> {
        let ccw = self.word(storage, false)?;
        if ccw.has(Ccw::SUSPEND) {
            // It is fetched anew when the program is resumed, and may have changed by then.
            (self.next, self.transfer) = (self.current, true);
            return Ok(Fetched::Suspend);
        }
        Ok(Fetched::Command(ccw))
    }

    /// Fetches the next word of a command that chains data.
    pub(super) fn chained_data(&mut self, storage: &dyn Storage) -> Result<Ccw, Check> {
        self.word(storage, true)
    }

    fn word(&mut self, storage: &dyn Storage, data: bool) -> Result<Ccw, Check> {
        loop {
            let ccw = self.fetch(storage)?;
            if !ccw.is_transfer(self.orb.format)? {
                ccw.check(self.rules(), data)?;
                self.transfer = true;
                return Ok(ccw);
            }
            if !std::mem::take(&mut self.transfer) {
                return Err(Check::Program);
            }
            self.next = ccw.address;
        }
    }

    fn fetch(&mut self, storage: &dyn Storage) -> Result<Ccw, Check> {
        self.current = self.next;
        self.left = self.left.checked_sub(1).ok_or(Check::ChannelControl)?;
        let limit = self.orb.format.limit();
        if !self.current.is_multiple_of(Ccw::LEN) || u64::from(self.current) >= limit {
            return Err(Check::Program);
        }
        self.next = self.current + Ccw::LEN;
        let bytes = fetch(storage, self.current.into())?;
        Ok(Ccw::parse(bytes, self.orb.format))
    }

    fn rules(&self) -> Rules {
        Rules {
            format: self.orb.format,
            midaw: self.orb.midaw,
            suspend: self.orb.suspend,
        }
    }
}
