//! The state of a unit that outlives the process.

use crate::LogicalUnit;
use crate::mode::Modes;
use crate::reservation::{Reservation, parse_type};
use crate::tray::MediaEvent;

impl<B> LogicalUnit<B> {
    /// What its initiator can see of its state. The medium, its size and the tray are the host's.
    pub fn save(&self) -> [u8; SAVED] {
        let Modes {
            write_back,
            descriptor_sense,
        } = self.modes();
        let state = self.state();
        let Reservation {
            generation,
            key,
            held,
        } = state.reservation;
        let flags = [
            write_back,
            descriptor_sense,
            state.stopped,
            state.tray.locked,
        ]
        .into_iter()
        .zip(0..)
        .fold(0, |flags, (on, bit)| flags | u8::from(on) << bit);
        let mut bytes = [0; SAVED];
        bytes[..2].copy_from_slice(&self.attentions.bits().to_le_bytes());
        (bytes[2], bytes[3]) = (flags, held.unwrap_or(0));
        bytes[4..8].copy_from_slice(&generation.to_le_bytes());
        bytes[8..].copy_from_slice(&key.unwrap_or(0).to_le_bytes());
        bytes
    }

    /// Takes over what [`save`](Self::save) gave. False, and nothing changed, where that cannot
    /// be.
    pub fn restore(&self, bytes: &[u8; SAVED]) -> bool {
        let [a0, a1, flags, held, g0, g1, g2, g3, key @ ..] = *bytes;
        let key = u64::from_le_bytes(key);
        let reservation = Reservation {
            generation: u32::from_le_bytes([g0, g1, g2, g3]),
            key: (key != 0).then_some(key),
            held: (held != 0).then_some(held),
        };
        let flag = |bit: u8| flags >> bit & 1 != 0;
        let sound = reservation.is_sound() && flags >> 4 == 0;
        if !sound || !self.attentions.set_bits(u16::from_le_bytes([a0, a1])) {
            return false;
        }
        self.set_modes(Modes {
            write_back: flag(0),
            descriptor_sense: flag(1),
        });
        let mut state = self.state();
        state.stopped = flag(2);
        state.tray.locked = flag(3) && self.setup.kind.is_removable();
        state.tray.event = MediaEvent::NoChange;
        state.reservation = reservation;
        true
    }
}

impl Reservation {
    /// Whether there can be such a one: only the registered hold a reservation.
    fn is_sound(&self) -> bool {
        let known = self.held.is_none_or(|held| parse_type(held).is_ok());
        known && (self.key.is_some() || self.held.is_none())
    }
}

/// Bytes of a saved unit.
pub(crate) const SAVED: usize = 16;
