//! Saved state: what the guest knows of each port, and bytes that are on their way.
//!
//! Little-endian: `device_ready` (1 byte), number of ports (2); then of each port its number (2),
//! its [`Dialogue`] (1), and the bytes that are on their way to and from the guest, each after
//! their number (4).

use virtio_device::{Error, Result};

use crate::dialogue::Dialogue;
use crate::port_state::PortState;
use crate::ports::Ports;
use crate::{receive, transmit};

/// Encodes the state of `ports`. `None` while one of them is in the middle of a write that is too
/// long to be kept.
pub(crate) fn encode(ports: &Ports) -> Option<Vec<u8>> {
    let mut out = vec![u8::from(ports.device_ready)];
    out.extend((ports.by_number.len() as u16).to_le_bytes());
    for (number, port) in &ports.by_number {
        out.extend(number.to_le_bytes());
        out.push(port.dialogue.to_byte());
        put(&mut out, port.receive.bytes());
        put(&mut out, &port.transmit.parked()?);
    }
    Some(out)
}

/// Takes over the state in `bytes`, if it is that of a device with the ports that this one has.
pub(crate) fn restore(ports: &mut Ports, bytes: &[u8]) -> Result<()> {
    let mut input = Input(bytes);
    let device_ready = match input.array()? {
        [ready @ (0 | 1)] => ready == 1,
        _ => return Err(Error::State("a flag that is none")),
    };
    if usize::from(u16::from_le_bytes(input.array()?)) != ports.by_number.len() {
        return Err(OTHER_PORTS);
    }
    let numbers = ports.by_number.keys();
    let saved = numbers.map(|&number| SavedPort::parse(&mut input, number));
    let saved = saved.collect::<Result<Vec<_>>>()?;
    if !input.0.is_empty() {
        return Err(Error::State("longer than it should be"));
    }
    ports.device_ready = device_ready;
    let ports = ports.by_number.values_mut();
    ports.zip(saved).for_each(|(port, saved)| saved.apply(port));
    Ok(())
}

struct SavedPort<'a> {
    dialogue: Dialogue,
    receive: &'a [u8],
    transmit: &'a [u8],
}

impl<'a> SavedPort<'a> {
    fn parse(input: &mut Input<'a>, number: u16) -> Result<Self> {
        if u16::from_le_bytes(input.array()?) != number {
            return Err(OTHER_PORTS);
        }
        let [flags] = input.array()?;
        Ok(Self {
            dialogue: Dialogue::from_byte(flags),
            receive: input.bytes(receive::CAPACITY)?,
            transmit: input.bytes(transmit::MAX_PARKED)?,
        })
    }

    fn apply(self, port: &mut PortState) {
        port.set_guest_open(self.dialogue.guest_open);
        port.dialogue = self.dialogue;
        port.receive.replace(self.receive);
        port.transmit.replace(self.transmit);
    }
}

/// Untrusted bytes, read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, limit: usize) -> Result<&'a [u8]> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        if len > limit {
            return Err(Error::State("more bytes on their way than there can be"));
        }
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

pub(crate) const KIND: &str = "virtio-serial";
pub(crate) const VERSION: u32 = 1;
const SHORT: Error = Error::State("shorter than it should be");
const OTHER_PORTS: Error = Error::State("a device with other ports");
