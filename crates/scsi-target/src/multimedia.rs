//! What only a CD-ROM drive answers (MMC-6).

use guest_io::MemoryGuard;
use guest_io::block::Backend;

use crate::command::{Command, Extent};
use crate::reply::reply;
use crate::tray::Tray;
use crate::{Buffers, Ending, LogicalUnit, Sense, features, toc};

impl<B: Backend> LogicalUnit<B> {
    pub(crate) fn multimedia<G: MemoryGuard>(
        &self,
        command: Command,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Ending, Sense> {
        let (bytes, room) = match command {
            Command::ReadToc {
                msf,
                format,
                track,
                room,
            } => (toc::read(format, msf, track, self.ready()?.blocks())?, room),
            Command::Configuration {
                selection,
                from,
                room,
            } => {
                let blocks = self.ready().ok().map(|medium| medium.blocks());
                (features::configuration(selection, from, blocks)?, room)
            }
            Command::EventStatus {
                polled,
                classes,
                room,
            } => (self.event_status(polled, classes)?, room),
            Command::DiscInformation { kind, room } => {
                self.ready()?;
                (disc_information(kind)?, room)
            }
            Command::MechanismStatus { room } => (mechanism_status(&self.state().tray), room),
            Command::Seek { lba } => {
                self.ready()?.range(Extent { lba, blocks: 1 })?;
                return Ok(Ending::good(0));
            }
            _ => return Err(Sense::INVALID_OPCODE),
        };
        Ok(reply(buffers, &bytes, room))
    }

    /// GET EVENT STATUS NOTIFICATION (MMC-6 section 6.7): media events, to those who poll.
    fn event_status(&self, polled: bool, classes: u8) -> Result<Vec<u8>, Sense> {
        if !polled {
            return Err(Sense::INVALID_CDB);
        }
        if classes & MEDIA == 0 {
            // NEA: no event available of these classes.
            return Ok(vec![0, 2, 0x80, MEDIA]);
        }
        let mut state = self.state();
        let event = std::mem::take(&mut state.tray.event) as u8;
        let present = state.medium.is_some() && !state.tray.open;
        let status = u8::from(state.tray.open) | u8::from(present) << 1;
        Ok(vec![0, 6, 0x04, MEDIA, event, status, 0, 0])
    }
}

/// READ DISC INFORMATION (MMC-6 section 6.21): one complete session, finalized.
fn disc_information(kind: u8) -> Result<Vec<u8>, Sense> {
    if kind != 0 {
        return Err(Sense::INVALID_CDB);
    }
    let mut bytes = vec![0, 32, 0x0e, 1, 1, 1, 1, 0x20];
    bytes.resize(34, 0);
    Ok(bytes)
}

/// MECHANISM STATUS (MMC-6 section 6.12).
fn mechanism_status(tray: &Tray) -> Vec<u8> {
    let door = if tray.open { 0x10 } else { 0 };
    vec![0, door, 0, 0, 0, 1, 0, 0]
}

/// The class of media events: number 4.
const MEDIA: u8 = 0x10;
