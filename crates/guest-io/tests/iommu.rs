//! Memory behind an IOMMU: segments are I/O virtual addresses, translated when submitted.

mod common;

use std::io::Write;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use common::{PAGE, file_of, pattern};
use guest_io::{SubmitError, Uring};
use vm_memory::bitmap::{AtomicBitmap, Bitmap, NewBitmap};
use vm_memory::iommu::{Error, Iommu, IotlbIterator, IovaRange};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, IommuMemory, Iotlb, Permissions};

#[derive(Debug, Default)]
struct Table(RwLock<Iotlb>);

impl Iommu for Table {
    type IotlbGuard<'a> = RwLockReadGuard<'a, Iotlb>;

    fn translate(
        &self,
        base: GuestAddress,
        length: usize,
        access: Permissions,
    ) -> Result<IotlbIterator<Self::IotlbGuard<'_>>, Error> {
        Iotlb::lookup(self.0.read().unwrap(), base, length, access).map_err(|_| {
            let iova_range = IovaRange { base, length };
            Error::CannotResolve {
                iova_range,
                reason: "not mapped".into(),
            }
        })
    }
}

type Translated = IommuMemory<GuestMemoryMmap<AtomicBitmap>, Table>;

/// Two pages at IOVA 0x5000, backwards in memory; the page before them may only be read.
fn translated() -> Arc<Translated> {
    let table = Table::default();
    let rights = [
        (0x4000, 0x3000, Permissions::Read),
        (0x5000, 0x2000, Permissions::ReadWrite),
        (0x6000, 0x1000, Permissions::ReadWrite),
    ];
    for (iova, address, rights) in rights {
        let mut entries = table.0.write().unwrap();
        entries
            .set_mapping(GuestAddress(iova), GuestAddress(address), PAGE, rights)
            .unwrap();
    }
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 16 * PAGE)]).unwrap();
    let bitmap = AtomicBitmap::with_len(16 * PAGE);
    Arc::new(IommuMemory::new(memory, table, true, bitmap))
}

fn finish(ring: &mut Uring<Arc<Translated>>) -> usize {
    loop {
        ring.wait().unwrap();
        if let Some(completion) = ring.poll() {
            return completion.result.unwrap();
        }
    }
}

#[test]
fn a_segment_may_be_scattered() {
    let memory = translated();
    let bytes = pattern(2 * PAGE);
    let mut ring = Uring::new(file_of(&bytes), 1).unwrap();
    ring.read(0, 0, &memory, [(GuestAddress(0x5000), 2 * PAGE)])
        .unwrap();
    assert_eq!(finish(&mut ring), 2 * PAGE);
    let mut page = vec![0; PAGE];
    memory
        .get_backend()
        .read_slice(&mut page, GuestAddress(0x2000))
        .unwrap();
    assert_eq!(page, bytes[..PAGE]);
    memory
        .get_backend()
        .read_slice(&mut page, GuestAddress(0x1000))
        .unwrap();
    assert_eq!(page, bytes[PAGE..]);
    let dirty = (0..16).filter(|page| memory.bitmap().dirty_at(page * PAGE));
    assert_eq!(Vec::from_iter(dirty), [5, 6]);
}

#[test]
fn what_is_not_mapped_is_refused_and_nothing_panics() {
    let memory = translated();
    let mut ring = Uring::new(file_of(&pattern(PAGE)), 1).unwrap();
    for segment in [
        (GuestAddress(0x4000), 1),
        (GuestAddress(0x6000), PAGE + 1),
        (GuestAddress(0x7000), 1),
        (GuestAddress(u64::MAX), 1),
        (GuestAddress(u64::MAX - 1), PAGE),
    ] {
        let error = ring.read(0, 0, &memory, [segment]).unwrap_err();
        assert!(
            matches!(error, SubmitError::Memory(_)),
            "{segment:?}: {error}"
        );
    }
    for empty in [0, 0x5000, u64::MAX] {
        ring.read(0, 0, &memory, [(GuestAddress(empty), 0)])
            .unwrap();
        assert_eq!(finish(&mut ring), 0);
    }
}

#[test]
fn unmapping_does_not_disturb_what_is_in_flight() {
    let memory = translated();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut ring = Uring::new(&reader, 1).unwrap();
    ring.read(0, 0, &memory, [(GuestAddress(0x5000), 4)])
        .unwrap();
    ring.flush().unwrap();
    memory.iommu().0.write().unwrap().invalidate_all();
    writer.write_all(b"abcd").unwrap();
    assert_eq!(finish(&mut ring), 4);
    let bytes: [u8; 4] = memory.get_backend().read_obj(GuestAddress(0x2000)).unwrap();
    assert_eq!(&bytes, b"abcd");
}
