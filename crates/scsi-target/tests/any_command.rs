//! Whatever the descriptor block, whatever the buffers: a command ends, and says what it moved.

use std::sync::Arc;

use guest_io::block::{Channel, NullDisk};
use guest_io::{Deferred, Flags, Iovecs, Storage, SubmitError, Submitted};
use proptest::prelude::*;
use scsi_target::{
    BadBuffer, Begun, Buffers, Cdb, Ending, Key, Kind, LogicalUnit, Lun, Setup, Status, Task,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

type Memory = Arc<GuestMemoryMmap<()>>;

/// A buffer of each kind in memory of its own.
struct Plain {
    memory: Memory,
    out: u32,
    room: u32,
}

impl Plain {
    fn new(out: u32, room: u32) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), LEN as usize)]);
        Self {
            memory: Arc::new(memory.unwrap()),
            out: out.min(LEN),
            room: room.min(LEN),
        }
    }
}

impl Buffers<Memory> for Plain {
    fn in_len(&self) -> u32 {
        self.room
    }

    fn out_len(&self) -> u32 {
        self.out
    }

    fn fetch(&mut self, offset: u32, to: &mut [u8]) -> Result<(), BadBuffer> {
        assert!(offset as usize + to.len() <= self.out as usize);
        let at = GuestAddress(offset.into());
        self.memory.read_slice(to, at).map_err(|_| BadBuffer)
    }

    fn store(&mut self, from: &[u8]) -> Result<(), BadBuffer> {
        assert!(from.len() <= self.room as usize);
        let written = self.memory.write_slice(from, GuestAddress(0));
        written.map_err(|_| BadBuffer)
    }

    fn read<C: Channel<Memory>>(
        &mut self,
        channel: &mut C,
        token: u64,
        at: u64,
        len: u32,
    ) -> Result<Submitted, SubmitError> {
        assert!(len <= self.room);
        let mut storage = Storage::new();
        let mut iovecs = Iovecs::new(&mut storage);
        iovecs.push(self.memory.get_slice(GuestAddress(0), len as usize)?);
        let deferred = deferred(token, &self.memory, len);
        channel.read(at, &mut iovecs, deferred)
    }

    fn write<C: Channel<Memory>>(
        &mut self,
        channel: &mut C,
        token: u64,
        (at, flags): (u64, Flags),
        offset: u32,
        len: u32,
    ) -> Result<Submitted, SubmitError> {
        assert!(offset + len <= self.out);
        let mut storage = Storage::new();
        let mut iovecs = Iovecs::new(&mut storage);
        let from = GuestAddress(offset.into());
        iovecs.push(self.memory.get_slice(from, len as usize)?);
        channel.write(at, flags, &mut iovecs, deferred(token, &self.memory, len))
    }
}

fn deferred(
    token: u64,
    memory: &Memory,
    len: u32,
) -> Deferred<'_, Memory, [(GuestAddress, usize); 1]> {
    Deferred {
        token,
        memory,
        segments: [(GuestAddress(0), len as usize)],
    }
}

fn unit(kind: Kind) -> Arc<LogicalUnit<NullDisk>> {
    let setup = Setup {
        kind,
        ..Setup::default()
    };
    Arc::new(LogicalUnit::new(setup, NullDisk::new(SIZE).unwrap()).unwrap())
}

fn run(unit: &Arc<LogicalUnit<NullDisk>>, bytes: &[u8], buffers: &mut Plain) -> Ending {
    let cdb = match Cdb::new(bytes) {
        Ok(cdb) => cdb,
        Err(sense) => return refusal(sense),
    };
    let mut luns = || vec![Lun::default()];
    match unit.start(&cdb, buffers, &mut luns) {
        Begun::Ended(ending) => ending,
        Begun::Medium(access) => {
            let mut path = match unit.path(4) {
                Ok(path) => path,
                Err(sense) => return refusal(sense),
            };
            let mut task = Task::default();
            let ending = path.start(access, &mut task, 7, buffers);
            ending.expect("a disk of zeroes does everything at once")
        }
    }
}

fn refusal(sense: scsi_target::Sense) -> Ending {
    Ending::Status {
        status: Status::CheckCondition,
        sense: Some(sense),
        transferred: 0,
    }
}

fn descriptor_block() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        0x00_u8, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2b, 0x2e,
        0x2f, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x55, 0x5a, 0x5e, 0x5f, 0x88, 0x89, 0x8a,
        0x8e, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa, 0xae, 0xaf, 0xbd,
    ]);
    // Small numbers are more often accepted.
    let small = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), 0_u8..16, any::<u8>()], 31);
    (prop_oneof![9 => known, 1 => any::<u8>()], small).prop_map(|(code, rest)| {
        let mut bytes = vec![code];
        bytes.extend(rest);
        bytes
    })
}

proptest! {
    #[test]
    fn a_command_ends_and_moves_no_more_than_its_buffers_hold(
        bytes in descriptor_block(),
        length in 1_usize..=32,
        cdrom: bool,
        list in prop::collection::vec(any::<u8>(), 0..64),
        out in 0_u32..LEN,
        room in 0_u32..LEN,
    ) {
        let kind = if cdrom { Kind::Cdrom } else { Kind::Disk { removable: true } };
        let unit = unit(kind);
        let mut buffers = Plain::new(out, room);
        buffers.memory.write_slice(&list, GuestAddress(0)).unwrap();
        for _ in 0..3 {
            let ending = run(&unit, bytes.get(..length).unwrap(), &mut buffers);
            let Ending::Status { status, sense, transferred } = ending else { continue };
            prop_assert!(transferred <= out.max(room));
            prop_assert_eq!(status == Status::CheckCondition, sense.is_some());
        }
        prop_assert!(unit.restore(&unit.save()), "it saves what it can restore");
    }

    #[test]
    fn saved_states_are_taken_or_refused_as_a_whole(bytes: [u8; 16]) {
        let unit = unit(Kind::Disk { removable: false });
        let before = unit.save();
        match unit.restore(&bytes) {
            true => prop_assert!(unit.restore(&before)),
            false => prop_assert_eq!(unit.save(), before),
        }
    }

    #[test]
    fn luns_are_what_they_were(number in 0_u16..0x4000) {
        let lun = Lun::new(number).unwrap();
        prop_assert_eq!(Lun::decode(lun.encode()), Some(lun));
    }
}

/// One that is cut off is not filled up with what was there before.
#[test]
fn bug_60_a_descriptor_block_is_whole_or_refused() {
    for (code, promised) in [(0x00, 6), (0x28, 10), (0x42, 10), (0x88, 16), (0xa8, 12)] {
        for len in 1..promised {
            let mut bytes = vec![code];
            bytes.resize(len, 0);
            assert_eq!(Cdb::new(&bytes).unwrap_err().key, Key::IllegalRequest);
        }
        let mut bytes = vec![code];
        bytes.resize(promised, 0);
        assert!(Cdb::new(&bytes).is_ok());
    }
}

const LEN: u32 = 64 << 10;
const SIZE: u64 = 1 << 20;
