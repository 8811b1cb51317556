//! Transfers between guest memory and a disk whose direct I/O wants other memory: by way of a piece of
//! our own, at once.
//!
//! Drivers of operating systems align their buffers, boot loaders and firmware need not.

use std::io::{self, ErrorKind};

use vm_memory::bitmap::BitmapSlice;

use crate::{Disk, Flags, Iovecs, Storage, read_at, write_at};

/// Memory that is aligned for any disk.
#[derive(Debug, Default)]
pub(crate) struct Bounce {
    /// Allocated at the first use.
    piece: Option<Box<Piece>>,
    storage: Storage,
}

#[derive(Debug)]
#[repr(align(4096))]
struct Piece([u8; PIECE]);

impl Bounce {
    /// Reads from byte `offset` of `disk` into `iovecs`. Returns how many bytes there were.
    #[cold]
    pub(crate) fn read<B: BitmapSlice>(
        &mut self,
        disk: &Disk,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
    ) -> io::Result<usize> {
        let total = iovecs.remaining();
        while !iovecs.is_empty() {
            let done = total - iovecs.remaining();
            let bytes = piece(&mut self.piece, iovecs.remaining());
            let mut target = Iovecs::<()>::new(&mut self.storage);
            target.push_bytes(bytes);
            let at = offset.saturating_add(done as u64);
            let count = read_at(disk, &mut target, at, Flags::NONE)?;
            drop(target);
            let read = bytes.get(..count).unwrap_or(bytes);
            if iovecs.copy_in(read) == 0 {
                return Ok(done);
            }
        }
        Ok(total)
    }

    /// Writes `iovecs` to `disk`, from its byte `offset` on.
    #[cold]
    pub(crate) fn write<B: BitmapSlice>(
        &mut self,
        disk: &Disk,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
    ) -> io::Result<usize> {
        let total = iovecs.remaining();
        let mut at = offset;
        while !iovecs.is_empty() {
            let bytes = piece(&mut self.piece, iovecs.remaining());
            iovecs.copy_out(bytes);
            let mut source = Iovecs::<()>::new(&mut self.storage);
            source.push_bytes(bytes);
            while !source.is_empty() {
                match write_at(disk, &mut source, at, flags)? {
                    0 => return Err(ErrorKind::WriteZero.into()),
                    count => at = at.saturating_add(count as u64),
                }
            }
        }
        Ok(total)
    }
}

/// As much of the piece as there is to be done.
fn piece(piece: &mut Option<Box<Piece>>, len: usize) -> &mut [u8] {
    let Piece(bytes) = &mut **piece.get_or_insert_with(|| Box::new(Piece([0; PIECE])));
    let len = len.min(PIECE);
    &mut bytes[..len]
}

/// Bytes that are moved at a time.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// More than a piece, and not a multiple of one.
    const LEN: usize = PIECE + 4096;

    fn pattern() -> Vec<u8> {
        (0..LEN).map(|at| (at % 251) as u8).collect()
    }

    fn file() -> (File, Disk) {
        let file = tempfile::tempfile().unwrap();
        let disk = Disk::new(file.try_clone().unwrap()).unwrap();
        (file, disk)
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_from_odd_pieces_is_whole() {
        let ((file, disk), mut data) = (file(), pattern());
        let mut storage = Storage::new();
        let mut iovecs = Iovecs::<()>::new(&mut storage);
        let (first, rest) = data.split_at_mut(1001);
        iovecs.push_bytes(first);
        iovecs.push_bytes(rest);
        let mut bounce = Bounce::default();
        let written = bounce.write(&disk, 512, Flags::DSYNC, &mut iovecs);
        assert_eq!(written.unwrap(), LEN);
        drop(iovecs);
        assert_eq!(content(&file), [vec![0; 512], data].concat());
    }

    #[test]
    fn what_is_read_into_odd_pieces_ends_with_the_file() {
        let ((file, disk), data) = (file(), pattern());
        file.write_all_at(&data, 0).unwrap();
        let (mut head, mut tail) = ([0; 333], vec![0; LEN]);
        let mut storage = Storage::new();
        let mut iovecs = Iovecs::<()>::new(&mut storage);
        iovecs.push_bytes(&mut head);
        iovecs.push_bytes(&mut tail);
        let mut bounce = Bounce::default();
        let read = bounce.read(&disk, 512, &mut iovecs);
        assert_eq!(read.unwrap(), LEN - 512);
        drop(iovecs);
        let found = [&head[..], &tail].concat();
        assert_eq!(found[..LEN - 512], data[512..]);
        assert!(found[LEN - 512..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn memory_is_aligned_where_all_of_it_is() {
        let mut piece = Box::new(Piece([0; PIECE]));
        let mut storage = Storage::new();
        let mut aligned = |from: usize, to: usize| {
            let mut iovecs = Iovecs::<()>::new(&mut storage);
            iovecs.push_bytes(&mut piece.0[from..to]);
            iovecs.is_aligned(512)
        };
        assert!(aligned(0, 4096) && aligned(512, 1024) && aligned(0, 0));
        assert!(!aligned(1, 513) && !aligned(0, 1000) && !aligned(256, 768));
    }
}
