//! Persistent reservations (SPC-4 section 5.13) of a unit that one initiator has.
//!
//! With one I_T nexus nobody can be kept out; what remains is that keys, generations and conflicts
//! are as the standard has them, for initiators that insist on holding a reservation.

use crate::{Ending, Sense, Status};

/// Registration and reservation of the one I_T nexus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// PRGENERATION.
    pub(crate) generation: u32,
    /// Key under which the nexus is registered.
    pub(crate) key: Option<u64>,
    /// TYPE of the reservation that it holds.
    pub(crate) held: Option<u8>,
}

/// The parameter list of PERSISTENT RESERVE OUT.
#[derive(Clone, Copy, Debug)]
struct Keys {
    reservation: u64,
    action: u64,
}

impl Reservation {
    /// PERSISTENT RESERVE IN.
    pub(crate) fn answer(&self, action: u8) -> Vec<u8> {
        let list = match action {
            READ_KEYS => self
                .key
                .map(u64::to_be_bytes)
                .into_iter()
                .flatten()
                .collect(),
            READ_RESERVATION => self.descriptor(),
            REPORT_CAPABILITIES => return capabilities(),
            _ => self.full_status(),
        };
        let mut bytes = self.generation.to_be_bytes().to_vec();
        bytes.extend((list.len() as u32).to_be_bytes());
        bytes.extend(list);
        bytes
    }

    /// PERSISTENT RESERVE OUT with this parameter list.
    pub(crate) fn change(&mut self, action: u8, scope_and_type: u8, list: &[u8]) -> Ending {
        let keys = match Keys::parse(list) {
            Ok(keys) => keys,
            Err(sense) => return sense.into(),
        };
        let done = match action {
            REGISTER if self.key.unwrap_or(0) != keys.reservation => Err(CONFLICT),
            REGISTER | REGISTER_AND_IGNORE => {
                self.register(keys.action);
                Ok(())
            }
            _ if self.key != Some(keys.reservation) => Err(CONFLICT),
            RESERVE => parse_type(scope_and_type).and_then(|kind| self.reserve(kind)),
            RELEASE => self.release(scope_and_type),
            CLEAR => {
                self.clear();
                Ok(())
            }
            _ => parse_type(scope_and_type).and_then(|kind| self.preempt(kind, keys.action)),
        };
        done.map_or_else(|ending| ending, |()| Ending::good(LIST as u32))
    }

    fn register(&mut self, key: u64) {
        self.generation = self.generation.wrapping_add(1);
        self.key = (key != 0).then_some(key);
        if self.key.is_none() {
            self.held = None;
        }
    }

    fn reserve(&mut self, kind: u8) -> Result<(), Ending> {
        match self.held {
            Some(held) if held != kind => Err(CONFLICT),
            _ => {
                self.held = Some(kind);
                Ok(())
            }
        }
    }

    fn release(&mut self, scope_and_type: u8) -> Result<(), Ending> {
        match self.held {
            Some(held) if held != scope_and_type => Err(Sense::RELEASE_OF_ANOTHER.into()),
            _ => {
                self.held = None;
                Ok(())
            }
        }
    }

    fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        (self.key, self.held) = (None, None);
    }

    /// Of oneself: there is nobody else.
    fn preempt(&mut self, kind: u8, victim: u64) -> Result<(), Ending> {
        let all = self
            .held
            .is_some_and(|held| ALL_REGISTRANTS.contains(&held));
        match victim {
            0 if !all => return Err(Sense::INVALID_LIST.into()),
            0 => {}
            key if self.key != Some(key) => return Err(CONFLICT),
            _ => {}
        }
        self.generation = self.generation.wrapping_add(1);
        if self.held.is_some() {
            self.held = Some(kind);
        }
        Ok(())
    }

    /// The reservation, if there is one. That of all registrants has no holder to name.
    fn descriptor(&self) -> Vec<u8> {
        let Some(held) = self.held else {
            return Vec::new();
        };
        let key = match ALL_REGISTRANTS.contains(&held) {
            true => 0,
            false => self.key.unwrap_or(0),
        };
        let mut bytes = key.to_be_bytes().to_vec();
        bytes.extend([0, 0, 0, 0, 0, held, 0, 0]);
        bytes
    }

    fn full_status(&self) -> Vec<u8> {
        let Some(key) = self.key else {
            return Vec::new();
        };
        let mut bytes = key.to_be_bytes().to_vec();
        let holder = u8::from(self.held.is_some());
        bytes.extend([0, 0, 0, 0, holder, self.held.unwrap_or(0)]);
        bytes.extend([0; 4]);
        // Relative target port 1, and a TransportID that says that initiator 0 has no name.
        bytes.extend([0, 1, 0, 0, 0, 24]);
        bytes.extend([0; 24]);
        bytes
    }
}

impl Keys {
    fn parse(list: &[u8]) -> Result<Self, Sense> {
        let list: &[u8; LIST] = list.try_into().map_err(|_| Sense::LIST_LENGTH)?;
        let [
            k0,
            k1,
            k2,
            k3,
            k4,
            k5,
            k6,
            k7,
            action @ ..,
            _,
            _,
            _,
            _,
            flags,
            _,
            _,
            _,
        ] = list;
        // SPEC_I_PT names other initiators, APTPL asks to remember after a loss of power.
        if flags & 0x09 != 0 {
            return Err(Sense::INVALID_LIST);
        }
        Ok(Self {
            reservation: u64::from_be_bytes([*k0, *k1, *k2, *k3, *k4, *k5, *k6, *k7]),
            action: u64::from_be_bytes(*action),
        })
    }
}

/// REPORT CAPABILITIES: TMV, and every type.
fn capabilities() -> Vec<u8> {
    vec![0, 8, 0, 0x80, 0xea, 0x01, 0, 0]
}

/// SCOPE must be the logical unit.
pub(crate) fn parse_type(scope_and_type: u8) -> Result<u8, Ending> {
    match scope_and_type {
        1 | 3 | 5..=8 => Ok(scope_and_type),
        _ => Err(Sense::INVALID_CDB.into()),
    }
}

/// Bytes of the parameter list.
pub(crate) const LIST: usize = 24;
const CONFLICT: Ending = Ending::status(Status::ReservationConflict);
/// WRITE EXCLUSIVE and EXCLUSIVE ACCESS, of all registrants.
const ALL_REGISTRANTS: [u8; 2] = [7, 8];

const READ_KEYS: u8 = 0;
const READ_RESERVATION: u8 = 1;
const REPORT_CAPABILITIES: u8 = 2;

const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const REGISTER_AND_IGNORE: u8 = 6;
