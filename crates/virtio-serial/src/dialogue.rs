//! What guest and device have told each other about a port.
//!
//! Messages to the guest are not queued but follow from this state: whatever a guest does, a port
//! owes it a handful of messages at most, and none gets lost for want of buffers.

/// A message that is due to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The port exists.
    Added,
    /// The port is gone.
    Removed,
    /// It is a console.
    Console,
    /// The size of the console.
    Size,
    /// The name of the port.
    Name,
    /// Whether somebody is at its host end.
    Open(bool),
}

/// The state of the talk about one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialogue {
    pub(crate) announced: bool,
    /// The driver has set the port up.
    pub(crate) ready: bool,
    /// Open in the guest.
    pub(crate) guest_open: bool,
    /// Open at the host end, as far as the guest knows.
    pub(crate) told_open: bool,
    /// The host end was closed and opened again since the guest was told that it is open.
    pub(crate) reopened: bool,
    pub(crate) console_due: bool,
    pub(crate) size_due: bool,
    pub(crate) name_due: bool,
}

impl Dialogue {
    /// The next message that is due, in the order in which drivers expect them: what a port is
    /// before that it is open. `host_open` says whether it is.
    pub(crate) fn next(&self, host_open: bool) -> Option<Notice> {
        if !self.announced {
            return Some(Notice::Added);
        }
        let open_due = self.told_open != host_open || self.reopened;
        let due = [
            (self.console_due, Notice::Console),
            (self.size_due, Notice::Size),
            (self.name_due, Notice::Name),
            (open_due, Notice::Open(!self.told_open)),
        ];
        let due = due.into_iter().find(|&(due, _)| due && self.ready);
        due.map(|(_, notice)| notice)
    }

    /// The guest has been given `notice`.
    pub(crate) fn given(&mut self, notice: Notice) {
        match notice {
            Notice::Added => self.announced = true,
            // There is no dialogue with a port that is gone.
            Notice::Removed => {}
            Notice::Console => self.console_due = false,
            Notice::Size => self.size_due = false,
            Notice::Name => self.name_due = false,
            Notice::Open(open) => {
                self.told_open = open;
                self.reopened = false;
            }
        }
    }

    /// The driver has set the port up, or failed to. One that comes back after a suspend knows the
    /// port from before the reset.
    pub(crate) fn port_ready(&mut self, ready: bool) {
        self.ready = ready;
        self.announced |= ready;
        self.told_open = false;
        self.reopened = false;
    }

    /// Somebody connected to the host end.
    pub(crate) fn host_opened(&mut self) {
        self.reopened = self.told_open;
    }

    /// The state as a byte, for saved state.
    pub(crate) fn to_byte(self) -> u8 {
        let Self {
            announced,
            ready,
            guest_open,
            told_open,
            reopened,
            console_due,
            size_due,
            name_due,
        } = self;
        let flags = [
            announced,
            ready,
            guest_open,
            told_open,
            reopened,
            console_due,
            size_due,
            name_due,
        ];
        flags
            .iter()
            .rev()
            .fold(0, |byte, &flag| byte << 1 | u8::from(flag))
    }

    /// The state that [`to_byte`](Self::to_byte) made a byte. Any byte is one that a guest could
    /// have brought about, or harmless.
    pub(crate) fn from_byte(byte: u8) -> Self {
        let flag = |n: u8| byte >> n & 1 == 1;
        Self {
            announced: flag(0),
            ready: flag(1),
            guest_open: flag(2),
            told_open: flag(3),
            reopened: flag(4),
            console_due: flag(5),
            size_due: flag(6),
            name_due: flag(7),
        }
    }
}
