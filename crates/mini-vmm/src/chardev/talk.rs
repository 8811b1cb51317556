//! A conversation over a character device: what is to be said waits here, and while it does, nothing
//! more is listened to. So a peer that does not read cannot make its backlog grow.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use event_manager::{EventOps, EventSet, Events};

use super::Chardev;

/// A conversation. Its owner is an event subscriber, which calls [`Talk::watch`] after every event.
#[derive(Debug)]
pub struct Talk {
    chardev: Arc<Chardev>,
    peer: Option<u64>,
    backlog: Vec<u8>,
    ended: bool,
    watched: Option<Watched>,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing now.
    Nothing,
    /// This many bytes.
    Bytes(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Input,
    Output,
    Nothing,
}

impl Talk {
    /// A conversation over `chardev`, which belongs to it.
    pub fn new(chardev: Arc<Chardev>) -> Self {
        Self {
            chardev,
            peer: None,
            backlog: Vec::new(),
            ended: false,
            watched: None,
        }
    }

    /// Reads what has come in. Ask [`Talk::is_new_peer`] before looking at it.
    pub fn read(&mut self, buffer: &mut [u8]) -> Heard {
        match self.chardev.read(buffer) {
            Ok(0) => self.ended = true,
            Ok(read) => return Heard::Bytes(read),
            Err(error) if is_transient(error.kind()) => {}
            Err(_) => self.ended = true,
        }
        Heard::Nothing
    }

    /// Takes the descriptors that came with what was read, if they are wanted.
    pub fn passed(&self) -> Vec<OwnedFd> {
        self.chardev.passed()
    }

    /// Whether somebody else is at the other end than when this was asked last. What the one before
    /// has not read is gone.
    pub fn is_new_peer(&mut self) -> bool {
        let peer = self.chardev.peer();
        if peer == self.peer {
            return false;
        }
        self.peer = peer;
        self.backlog.clear();
        peer.is_some()
    }

    /// Says `bytes`, or as much as is taken now; the rest waits.
    pub fn write(&mut self, bytes: &[u8]) {
        self.backlog.extend_from_slice(bytes);
        self.flush();
    }

    /// Says what waits, as far as it is taken. To a peer that does not listen any more nothing is said,
    /// nor is it listened to.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while let Some(rest) = self.backlog.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.chardev.send(rest) {
                Ok(some) => sent += some,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.hang_up(),
            }
        }
        self.backlog.drain(..sent.min(self.backlog.len()));
    }

    /// Ends it with this peer, and waits for the next one where there can be one.
    pub fn hang_up(&mut self) {
        self.chardev.hang_up();
        self.backlog.clear();
        self.peer = self.chardev.peer();
    }

    /// Whether the peer that was met last is still there.
    pub fn has_peer(&self) -> bool {
        self.peer.is_some()
    }

    /// Bytes that wait.
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Waits for room while something is to be said, and else for something to hear.
    pub fn watch(&mut self, ops: &mut EventOps) {
        let wanted = match (self.backlog.is_empty(), self.ended) {
            (false, _) => Watched::Output,
            (true, false) => Watched::Input,
            (true, true) => Watched::Nothing,
        };
        if self.watched == Some(wanted) {
            return;
        }
        if let Some(events) = self.watched.and_then(|watched| self.events(watched)) {
            let _ = ops.remove(events);
        }
        if let Some(events) = self.events(wanted) {
            let _ = ops.add(events);
        }
        self.watched = Some(wanted);
    }

    fn events(&self, watched: Watched) -> Option<Events> {
        let fd = match watched {
            Watched::Input => self.chardev.input(),
            Watched::Output => self.chardev.output(),
            Watched::Nothing => return None,
        };
        Some(Events::with_data_raw(fd.as_raw_fd(), 0, EventSet::IN))
    }
}

fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
