//! Interruptions on their way to QEMU.

use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use ccw_message::{Class, Interruption as Message, send};
use virtio_ccw::css::{CssHost, Interruption, IscMask, SubchannelId};

/// The stream of interruptions.
pub(crate) struct Interruptions(Mutex<UnixStream>);

impl Interruptions {
    /// Sends to `stream`.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(Mutex::new(stream))
    }

    /// A QEMU that has gone needs no interruption.
    fn send(&self, message: &Message) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = send(&mut *stream, message, &[]);
    }
}

impl CssHost for Interruptions {
    fn raise(&self, interruption: Interruption) {
        let subchannel = interruption.subchannel_word();
        self.send(&Message {
            class: Class::Io,
            subchannel_id: (subchannel >> 16) as u16,
            subchannel_nr: subchannel as u16,
            parameter: interruption.parameter(),
            word: interruption.word(),
        });
    }

    /// QEMU cannot take an interruption back: it may have been taken by a CPU.
    fn withdraw(&self, _: SubchannelId) {}

    /// QEMU executes TEST PENDING INTERRUPTION.
    fn take(&self, _: IscMask) -> Option<Interruption> {
        None
    }

    fn channel_report_pending(&self) {
        self.send(&Message {
            class: Class::ChannelReport,
            subchannel_id: 0,
            subchannel_nr: 0,
            parameter: 0,
            word: 0,
        });
    }
}
