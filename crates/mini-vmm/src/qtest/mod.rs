//! QEMU's qtest protocol (its docs/devel/testing/qtest): a program at a socket makes the accesses
//! that a processor would make, one line each, and gets one line back.
//!
//! The machine is the one that KVM would run, without processors: devices, buses and their threads
//! are the same, interrupt messages are the memory writes that they are on the bus. So devices are
//! tested with neither KVM nor a guest.
//!
//! Tests take it that a device has seen an access that has a reply, as where all is done by one
//! thread. So the reply to a write to a device waits until the threads of devices have nothing to
//! do but what is in flight.

mod access;
mod verb;
mod wires;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_manager::{EventOps, EventSubscriber, Events};
use virtio_bus::Activity;
use vm_device::device_manager::IoManager;

use crate::chardev::{Chardev, Heard, Talk};
use crate::memory::SharedMemory;
use access::Access;
use verb::{Refusal, Request};
pub use wires::wires;

/// The server: an event subscriber of the main thread, which makes the accesses there.
pub struct Qtest {
    access: Access,
    activity: Activity,
    session: Mutex<Session>,
}

struct Session {
    talk: Talk,
    lines: Lines,
}

impl Qtest {
    /// A server for whoever is at the other end of `chardev`, of what is on `bus` and in `memory`.
    /// Threads that report to `activity` see a write before its reply is sent.
    pub fn new(
        chardev: Arc<Chardev>,
        (bus, memory): (Arc<IoManager>, SharedMemory),
        activity: Activity,
    ) -> Self {
        let session = Session {
            talk: Talk::new(chardev),
            lines: Lines::default(),
        };
        Self {
            access: Access { bus, memory },
            activity,
            session: Mutex::new(session),
        }
    }

    /// One reading, and every line of it as long as replies are taken.
    fn serve(&self, session: &mut Session) {
        let Session { talk, lines } = session;
        talk.flush();
        self.answer(talk, lines);
        if talk.backlog() > 0 {
            return;
        }
        let mut buffer = [0; READING];
        let heard = talk.read(&mut buffer);
        if talk.is_new_peer() {
            *lines = Lines::default();
        }
        if let Heard::Bytes(length) = heard {
            lines.push(buffer.get(..length).unwrap_or_default());
            self.answer(talk, lines);
        }
    }

    fn answer(&self, talk: &mut Talk, lines: &mut Lines) {
        while talk.backlog() == 0
            && let Some(line) = lines.next()
        {
            let reply = line.and_then(|line| self.execute(&line));
            let reply = reply.unwrap_or_else(|refusal| refusal.to_string());
            talk.write(format!("{reply}\n").as_bytes());
            if !talk.has_peer() {
                // What else it asked for is not done: nobody would hear of it.
                *lines = Lines::default();
            }
        }
    }

    /// Makes the access of `line`, and returns the reply.
    fn execute(&self, line: &[u8]) -> Result<String, Refusal> {
        let access = &self.access;
        Ok(match Request::parse(line)? {
            Request::Endianness => "OK little".to_owned(),
            Request::In { port, width } => format!("OK {:#06x}", access.input(port, width)),
            Request::Out { port, width, value } => {
                access.output(port, width, value);
                self.settle();
                "OK".to_owned()
            }
            Request::Load { address, width } => {
                let mut bytes = [0; 8];
                access.read(address, bytes.get_mut(..width).unwrap_or_default());
                format!("OK {:#018x}", u64::from_le_bytes(bytes))
            }
            Request::Read { address, length } => {
                let mut bytes = vec![0; length];
                access.read(address, &mut bytes);
                format!("OK 0x{}", verb::hex(&bytes))
            }
            Request::Write { address, bytes } => {
                if access.write(address, &bytes) {
                    self.settle();
                }
                "OK".to_owned()
            }
        })
    }

    fn settle(&self) {
        if !self.activity.settle(SETTLED) {
            log::warn!("qtest: devices are at work for longer than {SETTLED:?}");
        }
    }
}

impl EventSubscriber for Qtest {
    fn init(&self, ops: &mut EventOps) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.talk.watch(ops);
    }

    fn process(&self, _: Events, ops: &mut EventOps) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        self.serve(&mut session);
        session.talk.watch(ops);
    }
}

/// Cuts what comes in into lines.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins, and up to where it has no end.
    start: usize,
    searched: usize,
    /// The line is too long, and its rest is not kept.
    skipping: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    fn next(&mut self) -> Option<Result<Vec<u8>, Refusal>> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(length) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            self.bound();
            return None;
        };
        let end = self.searched + length;
        let line = self.bytes.get(self.start..end).unwrap_or_default().to_vec();
        (self.start, self.searched) = (end + 1, end + 1);
        match std::mem::take(&mut self.skipping) {
            true => Some(Err(Refusal::TooLong)),
            false => Some(Ok(line)),
        }
    }

    fn bound(&mut self) {
        if self.skipping || self.searched - self.start > LONGEST {
            self.skipping = true;
            self.start = self.searched;
        }
    }
}

/// Longer than any device that is not broken is at work without waiting for something.
const SETTLED: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READING: usize = 64 << 10;
/// Bytes of a line: as much as the longest write takes.
const LONGEST: usize = 2 * verb::MOST_BYTES + 64;

#[cfg(test)]
mod tests;
