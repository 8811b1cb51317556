//! Commands that a device server does itself, at once: what it tells of the unit, and what changes
//! its state.

use std::sync::atomic::Ordering;

use guest_io::block::Backend;
use guest_io::{BlockSize, MemoryGuard};

use crate::absent::report_luns;
use crate::command::{Command, Extent, Motion};
use crate::reply::{parameters, reply};
use crate::{
    Attention, Buffers, Ending, LogicalUnit, Lun, Sense, inquiry, mode, mode_select, supported,
    vital,
};

impl<B: Backend> LogicalUnit<B> {
    /// Does what concerns the unit itself.
    pub(crate) fn execute<G: MemoryGuard>(
        &self,
        command: Command,
        buffers: &mut impl Buffers<G>,
        luns: &mut dyn FnMut() -> Vec<Lun>,
    ) -> Result<Ending, Sense> {
        let (bytes, room) = match command {
            Command::TestUnitReady => return self.ready().map(|_| Ending::good(0)),
            Command::RequestSense { descriptor, room } => (self.request_sense(descriptor), room),
            Command::Inquiry { page, room } => (self.inquiry(page)?, room),
            Command::ReportLuns { select, room } => {
                self.attentions.clear(Attention::LunsChanged);
                return Ok(report_luns(select, room, buffers, &luns()));
            }
            Command::ModeSense(wanted) => {
                let bytes = mode::sense(wanted, self.modes(), self.default, self.facts())?;
                (bytes, wanted.room)
            }
            Command::ModeSelect { long, len } => return self.mode_select(long, len, buffers),
            Command::StartStop(motion) => return self.start_stop(motion),
            Command::PreventAllow { prevent } => {
                self.lock_tray(prevent);
                return Ok(Ending::good(0));
            }
            Command::ReadCapacity10 => (self.capacity()?, CAPACITY),
            Command::ReadCapacity16 { room } => (self.long_capacity()?, room),
            Command::LbaStatus { lba, room } => (self.lba_status(lba)?, room),
            Command::PersistentIn { action, room } => {
                (self.state().reservation.answer(action), room)
            }
            Command::PersistentOut {
                action,
                scope_and_type,
                len,
            } => return Ok(self.persistent_out(action, scope_and_type, len, buffers)),
            Command::SupportedOpcodes(wanted) => {
                let cdrom = self.setup.kind.is_cdrom();
                (supported::opcodes(wanted, cdrom)?, wanted.room)
            }
            Command::SupportedTaskManagement { room } => (supported::task_management(), room),
            command => return self.multimedia(command, buffers),
        };
        Ok(reply(buffers, &bytes, room))
    }

    /// REQUEST SENSE (SPC-4 section 6.39): a pending unit attention, or why the unit is not ready.
    fn request_sense(&self, descriptor: bool) -> Vec<u8> {
        let pending = self.attentions.take();
        let sense = pending
            .or_else(|| self.ready().err())
            .unwrap_or(Sense::NONE);
        let bytes = match descriptor {
            true => sense.descriptor(),
            false => sense.fixed(),
        };
        bytes.as_ref().to_vec()
    }

    fn inquiry(&self, page: Option<u8>) -> Result<Vec<u8>, Sense> {
        match page {
            None => Ok(inquiry::standard(&self.setup)),
            Some(code) => vital::page(&self.setup, self.block_size(), code),
        }
    }

    fn mode_select<G: MemoryGuard>(
        &self,
        long: bool,
        len: u32,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Ending, Sense> {
        let list = match parameters(buffers, len) {
            Ok(list) => list,
            Err(ending) => return Ok(ending),
        };
        let modes = mode_select::parse(&list, long, self.modes(), self.facts())?;
        self.set_modes(modes);
        Ok(Ending::good(len))
    }

    /// START STOP UNIT (SBC-3 section 5.25).
    fn start_stop(&self, motion: Motion) -> Result<Ending, Sense> {
        match motion {
            Motion::Start => self.set_stopped(false),
            Motion::Stop => self.set_stopped(true),
            Motion::Load => self.load(),
            Motion::Eject => self.eject()?,
        }
        Ok(Ending::good(0))
    }

    fn set_stopped(&self, stopped: bool) {
        let before = std::mem::replace(&mut self.state().stopped, stopped);
        if before != stopped {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// READ CAPACITY (10): the last block, or that it takes the long form to say.
    fn capacity(&self) -> Result<Vec<u8>, Sense> {
        let medium = self.ready()?;
        let last = medium.blocks().saturating_sub(1);
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        Ok([last, medium.block.logical].map(u32::to_be_bytes).concat())
    }

    /// READ CAPACITY (16) (SBC-3 section 5.16): thin, and what is unmapped reads as anything.
    fn long_capacity(&self) -> Result<Vec<u8>, Sense> {
        let medium = self.ready()?;
        let BlockSize { logical, physical } = medium.block;
        let last = medium.blocks().saturating_sub(1);
        let mut bytes = last.to_be_bytes().to_vec();
        bytes.extend(logical.to_be_bytes());
        bytes.extend([0, (physical / logical).ilog2() as u8, LBPME]);
        bytes.resize(32, 0);
        Ok(bytes)
    }

    /// GET LBA STATUS (SBC-3 section 5.6): as far as is known here, everything is mapped.
    fn lba_status(&self, lba: u64) -> Result<Vec<u8>, Sense> {
        let medium = self.ready()?;
        medium.range(Extent { lba, blocks: 1 })?;
        let blocks = u32::try_from(medium.blocks() - lba).unwrap_or(u32::MAX);
        let mut bytes = 20_u32.to_be_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(lba.to_be_bytes());
        bytes.extend(blocks.to_be_bytes());
        bytes.extend([0; 4]);
        Ok(bytes)
    }

    fn persistent_out<G: MemoryGuard>(
        &self,
        action: u8,
        scope_and_type: u8,
        len: u32,
        buffers: &mut impl Buffers<G>,
    ) -> Ending {
        match parameters(buffers, len) {
            Err(ending) => ending,
            Ok(list) => {
                let reservation = &mut self.state().reservation;
                reservation.change(action, scope_and_type, &list)
            }
        }
    }

    fn facts(&self) -> mode::Facts {
        let state = self.state();
        let medium = state.ready().ok();
        mode::Facts {
            cdrom: self.setup.kind.is_cdrom(),
            locked: state.tray.locked,
            read_only: medium.as_ref().is_some_and(|medium| medium.read_only),
            dpofua: self.setup.dpofua,
            blocks: medium.map(|medium| (medium.blocks(), medium.block.logical)),
        }
    }

    fn block_size(&self) -> BlockSize {
        let medium = self.state().medium.clone();
        let size = self.setup.logical_block.max(512);
        medium.map_or(
            BlockSize {
                logical: size,
                physical: size,
            },
            |medium| medium.block,
        )
    }
}

/// Bytes of READ CAPACITY (10) data.
const CAPACITY: u32 = 8;
/// Logical block provisioning management is enabled.
const LBPME: u8 = 0x80;
