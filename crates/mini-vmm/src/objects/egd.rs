//! The protocol of the entropy gathering daemon, spoken by a client.
//!
//! Of its commands one is used: 2, then a number from 1 to 255, asks for as many bytes of entropy,
//! which come without any header when the daemon has them.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use virtio_rng::EntropySource;

use crate::chardev::Chardev;

/// A daemon at the other end of a character device. It is asked for no more than what the guest asks
/// for, and not again before it has answered.
pub(super) struct EgdSource {
    chardev: Arc<Chardev>,
    /// Whom the question was put to.
    peer: Option<u64>,
    question: Question,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// None is open.
    None,
    /// Its second byte was not taken yet.
    Half(u8),
    /// This many bytes of the answer are still to come.
    Open(usize),
}

impl EgdSource {
    pub(super) fn new(chardev: Arc<Chardev>) -> Self {
        Self {
            chardev,
            peer: None,
            question: Question::None,
        }
    }

    /// A daemon that went owes nothing, and one that came was not asked yet.
    fn meet(&mut self) -> io::Result<()> {
        self.chardev.let_in();
        let peer = self.chardev.peer();
        if peer != self.peer {
            (self.peer, self.question) = (peer, Question::None);
        }
        match peer {
            Some(_) => Ok(()),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Goes on asking, for `wanted` bytes if nothing was asked for yet.
    fn ask(&mut self, wanted: usize) -> io::Result<()> {
        if self.question == Question::None {
            let wanted = u8::try_from(wanted).unwrap_or(u8::MAX);
            let sent = self.chardev.write(&[READ_BLOCKING, wanted])?;
            self.question = match sent {
                0 => Question::None,
                1 => Question::Half(wanted),
                _ => Question::Open(wanted.into()),
            };
        }
        if let Question::Half(wanted) = self.question
            && self.chardev.write(&[wanted])? > 0
        {
            self.question = Question::Open(wanted.into());
        }
        Ok(())
    }
}

impl EntropySource for EgdSource {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        self.meet()?;
        self.ask(data.len())?;
        let Question::Open(owed) = self.question else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let room = data.len().min(owed);
        let read = self
            .chardev
            .read(data.get_mut(..room).unwrap_or_default())?;
        self.question = match owed - read.min(owed) {
            0 => Question::None,
            left => Question::Open(left),
        };
        Ok(read)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.chardev.input())
    }
}

/// Asks for bytes, which come when there are as many.
const READ_BLOCKING: u8 = 2;
