//! What a disk says of itself: `cargo run -p scsi-target --example inquiry`.

use std::error::Error;

use guest_io::block::{Channel, NullDisk};
use guest_io::{Flags, MemoryGuard, SubmitError, Submitted};
use scsi_target::{BadBuffer, Begun, Buffers, Cdb, Ending, LogicalUnit, Setup};

/// A data-in buffer in our own memory, for commands that move no data of a medium.
struct Answer(Vec<u8>);

impl<G: MemoryGuard> Buffers<G> for Answer {
    fn in_len(&self) -> u32 {
        255
    }

    fn out_len(&self) -> u32 {
        0
    }

    fn fetch(&mut self, _: u32, _: &mut [u8]) -> Result<(), BadBuffer> {
        Err(BadBuffer)
    }

    fn store(&mut self, from: &[u8]) -> Result<(), BadBuffer> {
        self.0 = from.to_vec();
        Ok(())
    }

    fn read<C: Channel<G>>(
        &mut self,
        _: &mut C,
        _: u64,
        _: u64,
        _: u32,
    ) -> Result<Submitted, SubmitError> {
        Err(SubmitError::Full)
    }

    fn write<C: Channel<G>>(
        &mut self,
        _: &mut C,
        _: u64,
        _: (u64, Flags),
        _: u32,
        _: u32,
    ) -> Result<Submitted, SubmitError> {
        Err(SubmitError::Full)
    }
}

type Memory = std::sync::Arc<vm_memory::GuestMemoryMmap>;

fn main() -> Result<(), Box<dyn Error>> {
    let unit = LogicalUnit::new(Setup::default(), NullDisk::new(1 << 30)?)?;
    let cdb = Cdb::new(&[0x12, 0, 0, 0, 255, 0]).map_err(|sense| format!("{sense:?}"))?;
    let mut answer = Answer(Vec::new());
    match unit.start::<Memory>(&cdb, &mut answer, &mut Vec::new) {
        Begun::Ended(Ending::Status { .. }) => {
            let text = answer.0.get(8..).unwrap_or_default();
            println!("{}", String::from_utf8_lossy(text));
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}
