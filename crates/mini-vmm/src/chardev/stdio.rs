//! Standard input and output. Their modes are shared with other processes, so they are asked
//! before each call, where one's own descriptor would be made non-blocking.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::PollFlags;

use super::escape::{Asked, Escape, HELP};
use super::{is_ready, would_block};
use crate::exit::{Wish, Wishes};
use crate::terminal::RawTerminal;

#[derive(Debug)]
pub(super) struct Stdio {
    terminal: Option<RawTerminal>,
    escape: Mutex<Escape>,
    wishes: Wishes,
}

impl Stdio {
    pub(super) fn open(signal: bool, wishes: Wishes) -> io::Result<Self> {
        let terminal = RawTerminal::enter(signal)?;
        Ok(Self {
            terminal,
            escape: Mutex::default(),
            wishes,
        })
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        rustix::stdio::stdin()
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        rustix::stdio::stdout()
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if !is_ready(self.input(), PollFlags::IN, 0) {
            return would_block();
        }
        let read = rustix::io::read(self.input(), &mut *buffer)?;
        if self.terminal.is_none() || read == 0 {
            return Ok(read);
        }
        let typed = buffer.get_mut(..read).unwrap_or_default();
        let mut escape = self.escape.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, asked) = escape.filter(typed);
        match asked {
            Some(Asked::Quit) => self.wishes.make(Wish::PowerOff),
            Some(Asked::Help) => drop(rustix::io::write(self.output(), HELP.as_bytes())),
            None => {}
        }
        // No bytes would mean the end of the input.
        if kept == 0 { would_block() } else { Ok(kept) }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if !is_ready(self.output(), PollFlags::OUT, 0) {
            return would_block();
        }
        // A pipe that is writable takes this many without blocking (PIPE_BUF).
        let some = bytes.get(..bytes.len().min(PIPE_BUF)).unwrap_or_default();
        Ok(rustix::io::write(self.output(), some)?)
    }
}

const PIPE_BUF: usize = 4096;
