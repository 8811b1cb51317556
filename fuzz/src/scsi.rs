//! The SCSI host device, with a disk on it.

use std::fs::File;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use scsi_target::{Kind, LogicalUnit, Setup};
use testkit::TestBus;
use virtio_blk::guest_io::Mode;
use virtio_blk::{RawImage, Throttled};
use virtio_scsi::{Address, Scsi, ScsiHandle, ScsiProps, Wish};

use crate::backend::{Fault, Reins, Slow};
use crate::device::{Subject, play};

/// The SCSI host device: a disk or a CD-ROM drive that may take its time, may fail, and may be
/// taken away.
pub fn scsi(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if let Ok(look) = u.arbitrary() {
        play(Host::new(look), &mut u);
    }
}

/// What kind of unit there is.
#[derive(Arbitrary, Debug, Default)]
pub(crate) struct Look {
    queues: u8,
    order: u8,
    cdrom: bool,
    removable: bool,
}

struct Host {
    look: Look,
    file: File,
    reins: Reins,
    unit: Option<Arc<LogicalUnit<Throttled<Slow>>>>,
    handle: Option<ScsiHandle<Throttled<Slow>>>,
}

/// A request: a command or a task management function.
#[derive(Arbitrary, Debug)]
pub(crate) enum Words {
    Command {
        lun: Lun,
        id: u8,
        code: Code,
        rest: [Byte; 15],
        list: [u8; 24],
        cut: Option<u8>,
    },
    Function(u8, Lun, u8),
    Any([u8; 24]),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Lun {
    Disk,
    Beside(u8),
    Any([u8; 8]),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Code {
    Known(u8),
    Any(u8),
}

/// Small more often than not.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Byte {
    Zero,
    One,
    Any(u8),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Event {
    Hold,
    Release,
    Fault(Fault),
    Remove,
    Add,
    Resize(u8),
    Tray(bool, bool),
}

impl Host {
    fn new(look: Look) -> Self {
        let file = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::CLOEXEC);
        let file = File::from(file.expect("a file in memory"));
        file.set_len(SIZE).expect("some blocks");
        let reins = Reins::new(look.order & 0x10 != 0);
        Self {
            look,
            file,
            reins,
            unit: None,
            handle: None,
        }
    }

    fn add(&self) {
        if let (Some(handle), Some(unit)) = (&self.handle, &self.unit) {
            let wish = Wish {
                target: Some(PLACE.target),
                lun: Some(PLACE.lun),
            };
            // It may be there already.
            let _ = handle.add(wish, Arc::clone(unit));
        }
    }
}

impl Subject for Host {
    type Device = Scsi<Throttled<Slow>>;
    type Words = Words;
    type Host = Event;

    fn device(&mut self) -> Scsi<Throttled<Slow>> {
        let image = RawImage::new(self.file.try_clone().expect("a descriptor"));
        let image = image.expect("an image").mode(Mode::Sync).discard(true);
        let backend = self.reins.disk(image.read_only(self.look.cdrom));
        let kind = match self.look.cdrom {
            true => Kind::Cdrom,
            false => Kind::Disk {
                removable: self.look.removable,
            },
        };
        let setup = Setup {
            kind,
            ..Setup::default()
        };
        let unit = LogicalUnit::new(setup, backend).expect("a unit");
        let props = ScsiProps::default()
            .num_queues(1 + u32::from(self.look.queues & 3))
            .virtqueue_size(4 << (self.look.order & 3));
        let device = Scsi::new(&props).expect("a device");
        (self.unit, self.handle) = (Some(Arc::new(unit)), Some(device.handle()));
        self.add();
        device
    }

    fn words(&self, words: Words) -> Vec<u8> {
        words.bytes()
    }

    fn host(&mut self, event: Event) {
        let (Some(unit), Some(handle)) = (&self.unit, &self.handle) else {
            return;
        };
        match event {
            Event::Hold => self.reins.hold(),
            Event::Release => self.reins.let_go(),
            Event::Fault(fault) => self.reins.fail(fault),
            Event::Remove => drop(handle.remove(PLACE)),
            Event::Add => self.add(),
            Event::Resize(blocks) => {
                let _ = handle.resize(PLACE, u64::from(blocks) * 2048);
            }
            Event::Tray(open, force) => {
                let _ = match open {
                    true => unit.open_tray(force),
                    false => unit.close_tray(),
                };
                handle.media_changed();
            }
        }
    }

    fn release(&mut self) {
        self.reins.release();
    }

    fn repair(&mut self) {
        self.reins.repair();
    }

    fn probe(&mut self, bus: &mut TestBus) {
        self.repair();
        self.add();
        let mut header = PLACE.encode().to_vec();
        header.extend([0; 11]);
        header.extend([0x12, 0, 0, 0, 36, 0]);
        header.resize(19 + 32, 0);
        let last = bus.core().queue_count() - 1;
        for queue in [2, last] {
            let response = bus.request(queue, &[&header], &[108, 36]);
            assert_eq!((response.len, response.bytes[11]), (108 + 36, 0));
        }
        let size = self.file.metadata().expect("a file").len();
        assert_eq!(size, SIZE, "the image has another size");
    }
}

impl Words {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Any(bytes) => bytes.to_vec(),
            Self::Function(function, lun, id) => {
                let mut bytes = vec![0, 0, 0, 0, *function, 0, 0, 0];
                bytes.extend(lun.bytes());
                bytes.extend([*id, 0, 0, 0, 0, 0, 0, 0]);
                bytes
            }
            Self::Command {
                lun,
                id,
                code,
                rest,
                list,
                cut,
            } => {
                let mut bytes = lun.bytes().to_vec();
                bytes.extend([*id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                bytes.push(code.byte());
                bytes.extend(rest.map(Byte::value));
                bytes.resize(19 + 32, 0);
                bytes.extend(list);
                if let Some(cut) = cut {
                    bytes.truncate((*cut).into());
                }
                bytes
            }
        }
    }
}

impl Lun {
    fn bytes(&self) -> [u8; 8] {
        match self {
            Self::Disk => PLACE.encode(),
            Self::Beside(lun) => [1, PLACE.target, 0, *lun, 0, 0, 0, 0],
            Self::Any(bytes) => *bytes,
        }
    }
}

impl Code {
    fn byte(&self) -> u8 {
        match *self {
            Self::Known(index) => CODES[usize::from(index) % CODES.len()],
            Self::Any(code) => code,
        }
    }
}

impl Byte {
    fn value(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Any(byte) => byte,
        }
    }
}

const PLACE: Address = Address {
    target: 1,
    lun: scsi_target::Lun::MAX,
};
const SIZE: u64 = 256 * 2048;
const CODES: [u8; 40] = [
    0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41,
    0x42, 0x43, 0x46, 0x4a, 0x51, 0x55, 0x5a, 0x5e, 0x5f, 0x88, 0x89, 0x8a, 0x8e, 0x8f, 0x91, 0x93,
    0x9e, 0xa0, 0xa3, 0xa8, 0xaa, 0xae, 0xaf, 0xbd,
];
