//! Free page hints (section 5.5.6.6): pages whose contents nobody needs at the moment.

use crate::layout::{DONE, STOP};

/// Who wants to know: called with the guest address and the bytes of each range.
pub(crate) type Sink = Box<dyn FnMut(u64, u64) + Send>;

/// A request for hints, as far as it has got.
#[derive(Default)]
pub(crate) struct Hints {
    /// The identifier of the last request; 0 before the first.
    last: u32,
    sink: Option<Sink>,
    /// The driver has answered to the last request and not said that it stops.
    begun: bool,
}

impl Hints {
    /// A new request, and its identifier, which no request had that the driver may still answer to.
    pub(crate) fn request(&mut self, sink: Sink) -> u32 {
        self.last = match self.last.checked_add(1) {
            Some(next) if self.last >= FIRST => next,
            _ => FIRST,
        };
        self.sink = Some(sink);
        self.begun = false;
        self.last
    }

    /// Nobody wants to know any more: what the driver is to be told.
    pub(crate) fn end(&mut self) -> u32 {
        self.sink = None;
        self.begun = false;
        DONE
    }

    /// The driver begins to answer to a request, or stops.
    pub(crate) fn command(&mut self, command: u32) {
        self.begun = command != STOP && command == self.last;
    }

    /// The driver names a range.
    pub(crate) fn hint(&mut self, address: u64, len: u64) {
        if let Some(sink) = self.sink.as_mut().filter(|_| self.begun) {
            sink(address, len);
        }
    }

    /// The device is reset; identifiers go on.
    pub(crate) fn reset(&mut self) {
        let last = self.last;
        *self = Self {
            last,
            ..Self::default()
        };
    }
}

/// Identifiers that are none of the commands.
const FIRST: u32 = 0x8000_0000;
