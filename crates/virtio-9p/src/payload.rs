//! The data of a request where the driver has it.

use std::io;
use std::os::fd::BorrowedFd;

use guest_io::{Flags, Iovecs, Storage};
use p9_server::{Errno, Payload, Result, WRITE_DATA};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, GuestView};

/// The data of the request in a chain, moved between files and guest memory without a copy.
pub(crate) struct ChainPayload<'c, 'm, M: GuestMemory> {
    pub(crate) chain: &'c Chain,
    pub(crate) view: &'c mut GuestView<'m, M>,
    pub(crate) storage: &'c mut Storage,
}

impl<M: GuestMemory> Payload for ChainPayload<'_, '_, M> {
    fn room(&self) -> u32 {
        self.chain.writable_len().saturating_sub(READ_DATA)
    }

    fn read_from(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u32,
        wait: bool,
    ) -> Result<u32> {
        let mut iovecs = Iovecs::new(self.storage);
        self.chain
            .writable_slices(self.view, READ_DATA, len, |slice| iovecs.push(slice))
            .map_err(|_| Errno::FAULT)?;
        transfer(len, offset, |at| {
            guest_io::read_at(file, &mut iovecs, at, flags(wait))
        })
    }

    fn write_to(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u32,
        sync: bool,
        wait: bool,
    ) -> Result<u32> {
        let mut iovecs = Iovecs::new(self.storage);
        self.chain
            .readable_slices(self.view, WRITE_DATA as u32, len, |slice| {
                iovecs.push(slice);
            })
            .map_err(|_| Errno::FAULT)?;
        let flags = match sync {
            true => flags(wait) | Flags::DSYNC,
            false => flags(wait),
        };
        transfer(len, offset, |at| {
            guest_io::write_at(file, &mut iovecs, at, flags)
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.chain.write_at(self.view, READ_DATA, bytes);
        written.map_err(|_| Errno::FAULT)
    }

    fn get(&mut self, bytes: &mut [u8]) -> Result<()> {
        let read = self.chain.read_at(self.view, WRITE_DATA as u32, bytes);
        read.map_err(|_| Errno::FAULT)
    }
}

/// Calls `step` with the offset it has got to, until `len` bytes have moved or there are no more.
/// What has moved by an error counts.
fn transfer(len: u32, offset: u64, mut step: impl FnMut(u64) -> io::Result<usize>) -> Result<u32> {
    let mut moved = 0;
    while moved < len {
        match step(offset.saturating_add(moved.into())) {
            Ok(0) => break,
            Ok(count) => moved += count as u32,
            Err(_) if moved > 0 => break,
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)),
        }
    }
    Ok(moved)
}

fn flags(wait: bool) -> Flags {
    match wait {
        true => Flags::NONE,
        false => Flags::NOWAIT,
    }
}

/// Where the data of a reply begins.
const READ_DATA: u32 = 11;
