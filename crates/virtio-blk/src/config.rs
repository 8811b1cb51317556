//! What the configuration space says at the start.

use guest_io::BlockSize;
use guest_io::block::{ZoneLayout, Zones};
use virtio_device::props::{PropError, ensure};
use virtio_device::virtio_bindings::virtio_blk as abi;

use crate::limits::{RangeLimit, SECTOR};
use crate::{BlkError, BlkProps, Facts, Size, layout};

/// Properties and facts of the back-end, brought together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) size: u64,
    pub(crate) block_size: BlockSize,
    pub(crate) write_back: bool,
    pub(crate) discard: bool,
    pub(crate) write_zeroes: bool,
    pub(crate) secure_erase: bool,
    pub(crate) zones: Option<ZoneLayout>,
}

impl Setup {
    /// Decides what the properties leave open, and checks that they fit the back-end.
    pub(crate) fn new(
        props: &BlkProps,
        facts: &Facts,
        write_back: bool,
        zones: Option<&Zones>,
    ) -> Result<Self, BlkError> {
        let block_size = block_size(props, facts.block_size);
        check(props, block_size)?;
        let logical = block_size.logical;
        let fit = logical >= facts.alignment;
        ensure(fit, "logical_block_size", logical, DIRECT)?;
        if !facts.size.is_multiple_of(block_size.logical.into()) {
            return Err(BlkError::Length {
                size: facts.size,
                multiple: block_size.logical,
            });
        }
        if zones.is_some_and(|zones| !fits(zones, facts.size, block_size)) {
            return Err(BlkError::Zones);
        }
        let erases = facts.overwrites || !props.secure_erase;
        ensure(
            erases,
            "x-secure-erase",
            "on",
            "off: the back-end keeps data",
        )?;
        // Zones are reset instead (section 5.2.5).
        let anywhere = !facts.read_only && zones.is_none();
        Ok(Self {
            size: facts.size,
            block_size,
            write_back,
            discard: props.discard && anywhere,
            write_zeroes: props.write_zeroes && anywhere,
            secure_erase: props.secure_erase && anywhere,
            zones: zones.map(Zones::layout),
        })
    }

    /// The bytes of the configuration space. Like QEMU's, it ends with the last field that a
    /// feature makes valid.
    pub(crate) fn bytes(&self, props: &BlkProps) -> Vec<u8> {
        let BlockSize { logical, physical } = self.block_size;
        let mut bytes = vec![0; self.len()];
        let to = &mut bytes;
        layout::CAPACITY.put(to, self.size / SECTOR);
        layout::SIZE_MAX.put(to, props.size_max.0);
        layout::SEG_MAX.put(to, seg_max(props));
        self.put_geometry(props, to);
        layout::BLK_SIZE.put(to, logical);
        layout::PHYSICAL_BLOCK_EXP.put(to, (physical / logical).ilog2());
        layout::MIN_IO_SIZE.put(to, props.min_io_size.0 / logical);
        layout::OPT_IO_SIZE.put(to, props.opt_io_size.0 / logical);
        layout::WRITEBACK.put(to, self.write_back);
        layout::NUM_QUEUES.put(to, props.queues());
        self.put_ranges(props, to);
        if let Some(zones) = &self.zones {
            self.put_zones(zones, props, to);
        }
        bytes
    }

    /// Sectors that one VIRTIO_BLK_T_ZONE_APPEND may have: as many as a driver can always describe,
    /// whose segments are pages at least.
    pub(crate) fn max_append_sectors(&self, props: &BlkProps) -> u32 {
        let capacity = self.zones.map_or(0, |zones| zones.capacity / SECTOR);
        // No limit to the size of segments is less than a page.
        let described = seg_max(props) * PAGE_SECTORS;
        described.min(u32::try_from(capacity).unwrap_or(u32::MAX))
    }

    fn len(&self) -> usize {
        let last = match (self.write_zeroes, self.discard) {
            _ if self.zones.is_some() => layout::ZONED_UNUSED2,
            _ if self.secure_erase => layout::SECURE_ERASE_SECTOR_ALIGNMENT,
            (true, _) => layout::WRITE_ZEROES_MAY_UNMAP,
            (false, true) => layout::DISCARD_SECTOR_ALIGNMENT,
            (false, false) => layout::NUM_QUEUES,
        };
        last.end()
    }

    fn put_ranges(&self, props: &BlkProps, to: &mut [u8]) {
        let granularity = props.granularity().unwrap_or(self.block_size.logical);
        if self.discard {
            layout::MAX_DISCARD_SECTORS.put(to, props.max_discard_sectors);
            layout::MAX_DISCARD_SEG.put(to, props.max_discard_segments);
            layout::DISCARD_SECTOR_ALIGNMENT.put(to, u64::from(granularity) / SECTOR);
        }
        if self.write_zeroes {
            layout::MAX_WRITE_ZEROES_SECTORS.put(to, props.max_write_zeroes_sectors);
            layout::MAX_WRITE_ZEROES_SEG.put(to, props.max_write_zeroes_segments);
            layout::WRITE_ZEROES_MAY_UNMAP.put(to, true);
        }
        if self.secure_erase {
            layout::MAX_SECURE_ERASE_SECTORS.put(to, SECURE_ERASE.sectors);
            layout::MAX_SECURE_ERASE_SEG.put(to, SECURE_ERASE.ranges);
            let alignment = u64::from(self.block_size.logical) / SECTOR;
            layout::SECURE_ERASE_SECTOR_ALIGNMENT.put(to, alignment);
        }
    }

    fn put_zones(&self, zones: &ZoneLayout, props: &BlkProps, to: &mut [u8]) {
        layout::ZONE_SECTORS.put(to, zones.size / SECTOR);
        layout::MAX_OPEN_ZONES.put(to, zones.max_open);
        layout::MAX_ACTIVE_ZONES.put(to, zones.max_active);
        layout::MAX_APPEND_SECTORS.put(to, self.max_append_sectors(props));
        // No zone is to be read before it is written.
        layout::WRITE_GRANULARITY.put(to, self.block_size.physical);
        layout::ZONED_MODEL.put(to, abi::VIRTIO_BLK_Z_HM);
    }

    /// Where none is given, that of a disk that BIOSes have no trouble with.
    fn put_geometry(&self, props: &BlkProps, to: &mut [u8]) {
        let &BlkProps {
            cyls, heads, secs, ..
        } = props;
        let given = cyls != 0;
        let (heads, secs) = if given { (heads, secs) } else { (16, 63) };
        let cylinder = u64::from(heads.max(1)) * u64::from(secs.max(1));
        let guessed = (self.size / SECTOR / cylinder).clamp(2, 16383);
        layout::CYLINDERS.put(to, if given { cyls.into() } else { guessed });
        layout::HEADS.put(to, heads);
        // A track consists of whole blocks, unless all cylinders do anyway.
        let block = u64::from(self.block_size.logical);
        let whole = (self.size / cylinder).is_multiple_of(block);
        let mask = if whole { 0 } else { block / SECTOR - 1 };
        layout::SECTORS.put(to, u64::from(secs) & !mask);
    }
}

/// Segments of data of a request: the queue less header and status.
fn seg_max(props: &BlkProps) -> u32 {
    let size = match props.seg_max_adjust {
        true => props.queue_size,
        false => props.queue_size.min(128),
    };
    u32::from(size).saturating_sub(2)
}

fn block_size(props: &BlkProps, backend: BlockSize) -> BlockSize {
    let given = |Size(size): Size| (size != 0).then_some(size);
    let logical = given(props.logical_block_size).unwrap_or(backend.logical.max(512));
    let physical = given(props.physical_block_size);
    BlockSize {
        logical,
        physical: physical.unwrap_or(backend.physical.max(logical)),
    }
}

/// Whether these are zones of such a disk, and the configuration space can say so.
fn fits(zones: &Zones, size: u64, block_size: BlockSize) -> bool {
    let ZoneLayout {
        size: each,
        capacity,
        ..
    } = zones.layout();
    let whole = |bytes: u64| bytes.is_multiple_of(block_size.logical.into());
    size.div_ceil(each) == u64::from(zones.count())
        && (whole(each) && whole(capacity) && whole(size))
        && u32::try_from(each / SECTOR).is_ok()
}

/// Checks what depends on the block sizes.
fn check(props: &BlkProps, BlockSize { logical, physical }: BlockSize) -> Result<(), PropError> {
    let whole = |size: u32| size.is_multiple_of(logical);
    let blocks = "a multiple of logical_block_size";
    let larger = "at least logical_block_size";
    ensure(physical >= logical, "physical_block_size", physical, larger)?;
    let Size(min) = props.min_io_size;
    ensure(whole(min), "min_io_size", min, blocks)?;
    let few = "at most 65535 logical blocks";
    ensure(min / logical <= 65535, "min_io_size", min, few)?;
    let Size(opt) = props.opt_io_size;
    ensure(whole(opt), "opt_io_size", opt, blocks)?;
    let granularity = props.granularity().unwrap_or(0);
    ensure(
        whole(granularity),
        "discard_granularity",
        granularity,
        blocks,
    )
}

/// What one secure erase request may ask for: 32 MiB, because all of it is written.
pub(crate) const SECURE_ERASE: RangeLimit = RangeLimit {
    ranges: 1,
    sectors: 65536,
};
const DIRECT: &str = "blocks as large as those of the host's direct I/O, or its page cache";
/// Sectors of the smallest page that a segment of a driver's buffer fills.
const PAGE_SECTORS: u32 = 8;
