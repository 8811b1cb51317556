//! The properties of QEMU's `virtio-blk` devices.

use virtio_device::QueueSize;
use virtio_device::props::{OnErrorAuto, OnOffAuto, PropError, ensure, refuse};

use crate::Size;

virtio_device::props! {
    /// Properties of a block device. Where it says "QEMU has 1" and the like, the property is ours.
    pub struct BlkProps {
        /// Back-end, by the id that the VMM knows it under.
        "drive" => drive: Option<String> = None,
        /// Serial number, at most 20 bytes.
        "serial" => serial: Option<String> = None,
        /// Number of queues, 1 to 1024; 65535: as many as the machine has vCPUs.
        "num-queues" => num_queues: u16 = Self::AUTO_QUEUES,
        /// Descriptors of each queue: a power of two from 4 to 1024.
        "queue-size" => queue_size: u16 = 256,
        /// Let requests have as many segments as fit a queue, instead of 126.
        "seg-max-adjust" => seg_max_adjust: bool = true,
        /// Offer discard requests.
        "discard" => discard: bool = true,
        /// Offer write zeroes requests.
        "write-zeroes" => write_zeroes: bool = true,
        /// Sectors in each range of a discard request, 1 to 4194303.
        "max-discard-sectors" => max_discard_sectors: u32 = MAX_SECTORS,
        /// Sectors in each range of a write zeroes request, 1 to 4194303.
        "max-write-zeroes-sectors" => max_write_zeroes_sectors: u32 = MAX_SECTORS,
        /// Ranges of a discard request, 1 to 256 (QEMU has 1).
        "max-discard-segments" => max_discard_segments: u32 = 1,
        /// Ranges of a write zeroes request, 1 to 256 (QEMU has 1).
        "max-write-zeroes-segments" => max_write_zeroes_segments: u32 = 1,
        /// Offer secure erase: zeroes are written over what is erased (QEMU does not have it).
        "x-secure-erase" => secure_erase: bool = false,
        /// Logical block size: a power of two from 512 to 2M; 0: what the back-end needs.
        "logical_block_size" => logical_block_size: Size = Size(0),
        /// Physical block size: a power of two from 512 to 2M; 0: what the back-end says.
        "physical_block_size" => physical_block_size: Size = Size(0),
        /// Smallest size of efficient I/O, in whole logical blocks; 0: unknown.
        "min_io_size" => min_io_size: Size = Size(0),
        /// Best size of I/O, in whole logical blocks; 0: unknown.
        "opt_io_size" => opt_io_size: Size = Size(0),
        /// Alignment of discards, in whole logical blocks; 4294967295: one logical block.
        "discard_granularity" => discard_granularity: Size = NO_GRANULARITY,
        /// Tell the driver of discard_granularity.
        "report-discard-granularity" => report_discard_granularity: bool = true,
        /// Write-back cache at the start; auto: as the back-end is set up.
        "write-cache" => write_cache: OnOffAuto = OnOffAuto::Auto,
        /// Let the driver switch the write-back cache on and off.
        "config-wce" => config_wce: bool = true,
        /// Share the image with others that write it and say so too.
        "share-rw" => share_rw: bool = false,
        /// What is done about failed reads; auto: as the back-end says. For the VMM, as drive is.
        "rerror" => rerror: OnErrorAuto = OnErrorAuto(None),
        /// What is done about failed writes, flushes and discards, likewise.
        "werror" => werror: OnErrorAuto = OnErrorAuto(None),
        /// Accepted for QEMU's command lines; adjacent requests are never merged.
        "request-merging" => request_merging: bool = true,
        /// Bytes of the longest segment of a request, at least 4096; 0: any (QEMU has no limit).
        "x-size-max" => size_max: Size = Size(0),
        /// Use of reserved blocks, 1 (normal) to 3 (urgent), for GET_LIFETIME; 0: unknown.
        "x-pre-eol-info" => pre_eol_info: u16 = 0,
        /// Wear of SLC cells in tenths, 1 to 11 (exceeded); 0: unknown.
        "x-lifetime-est-typ-a" => lifetime_est_typ_a: u16 = 0,
        /// Wear of MLC cells, likewise.
        "x-lifetime-est-typ-b" => lifetime_est_typ_b: u16 = 0,
        /// Cylinders, 1 to 65535; 0, with heads and secs: from the capacity.
        "cyls" => cyls: u32 = 0,
        /// Heads, 1 to 255; 0, with cyls and secs: from the capacity.
        "heads" => heads: u32 = 0,
        /// Sectors per track, 1 to 255; 0, with cyls and heads: from the capacity.
        "secs" => secs: u32 = 0,
    }
}

impl BlkProps {
    /// The value of `num-queues` that stands for one queue for each vCPU. The VMM replaces it; a
    /// device that is made with it has one queue.
    pub const AUTO_QUEUES: u16 = u16::MAX;

    /// Checks what the types of the properties do not.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn check(&self) -> Result<(), PropError> {
        self.check_serial()?;
        self.check_queues()?;
        self.check_ranges()?;
        self.check_block_sizes()?;
        self.check_segments()?;
        self.check_lifetime()?;
        self.check_geometry()
    }

    /// Number of queues of the device.
    pub(crate) fn queues(&self) -> u16 {
        match self.num_queues {
            Self::AUTO_QUEUES => 1,
            queues => queues,
        }
    }

    /// Size of each queue.
    pub(crate) fn size(&self) -> Result<QueueSize, PropError> {
        let size = QueueSize::new(self.queue_size).ok();
        size.ok_or_else(|| refuse("queue-size", self.queue_size, QUEUE_SIZES))
    }

    /// The fields of `virtio_blk_lifetime`, where any is known.
    pub(crate) fn lifetime(&self) -> Option<[u16; 3]> {
        let fields = [
            self.pre_eol_info,
            self.lifetime_est_typ_a,
            self.lifetime_est_typ_b,
        ];
        (fields != [0; 3]).then_some(fields)
    }

    /// Bytes of `discard_granularity`, if it is given and to be reported.
    pub(crate) fn granularity(&self) -> Option<u32> {
        let given = self.discard_granularity != NO_GRANULARITY;
        (given && self.report_discard_granularity).then_some(self.discard_granularity.0)
    }

    fn check_serial(&self) -> Result<(), PropError> {
        let serial = self.serial.as_deref().unwrap_or_default();
        ensure(serial.len() <= 20, "serial", serial, "at most 20 bytes")
    }

    fn check_queues(&self) -> Result<(), PropError> {
        let (queues, size) = (self.num_queues, self.queue_size);
        let some = queues == Self::AUTO_QUEUES || (1..=1024).contains(&queues);
        ensure(some, "num-queues", queues, "1 to 1024, or 65535")?;
        let fits = size.is_power_of_two() && (4..=1024).contains(&size);
        ensure(fits, "queue-size", size, QUEUE_SIZES)
    }

    fn check_ranges(&self) -> Result<(), PropError> {
        let (discard, zeroes) = (self.max_discard_sectors, self.max_write_zeroes_sectors);
        let sectors = |n| (1..=MAX_SECTORS).contains(&n);
        let accepts = "1 to 4194303";
        ensure(sectors(discard), "max-discard-sectors", discard, accepts)?;
        ensure(sectors(zeroes), "max-write-zeroes-sectors", zeroes, accepts)?;
        let (discard, zeroes) = (self.max_discard_segments, self.max_write_zeroes_segments);
        let ranges = |n| (1..=256).contains(&n);
        let accepts = "1 to 256";
        ensure(ranges(discard), "max-discard-segments", discard, accepts)?;
        ensure(ranges(zeroes), "max-write-zeroes-segments", zeroes, accepts)
    }

    fn check_block_sizes(&self) -> Result<(), PropError> {
        let size = |Size(n)| n == 0 || (n.is_power_of_two() && (512..=2 << 20).contains(&n));
        let accepts = "a power of two from 512 to 2M";
        let (logical, physical) = (self.logical_block_size, self.physical_block_size);
        ensure(size(logical), "logical_block_size", logical.0, accepts)?;
        ensure(size(physical), "physical_block_size", physical.0, accepts)
    }

    fn check_segments(&self) -> Result<(), PropError> {
        let Size(most) = self.size_max;
        ensure(
            most == 0 || most >= 4096,
            "x-size-max",
            most,
            "0, or at least 4096",
        )
    }

    /// Section 5.2.6.2: no reserved values.
    fn check_lifetime(&self) -> Result<(), PropError> {
        let [eol, a, b] = self.lifetime().unwrap_or_default();
        ensure(eol <= 3, "x-pre-eol-info", eol, "0 to 3")?;
        ensure(a <= 11, "x-lifetime-est-typ-a", a, "0 to 11")?;
        ensure(b <= 11, "x-lifetime-est-typ-b", b, "0 to 11")
    }

    fn check_geometry(&self) -> Result<(), PropError> {
        let &Self {
            cyls, heads, secs, ..
        } = self;
        if (cyls, heads, secs) == (0, 0, 0) {
            return Ok(());
        }
        ensure((1..=65535).contains(&cyls), "cyls", cyls, "1 to 65535")?;
        ensure((1..=255).contains(&heads), "heads", heads, "1 to 255")?;
        ensure((1..=255).contains(&secs), "secs", secs, "1 to 255")
    }
}

/// As many as a request of 2 GiB has, less one: QEMU's limit.
const MAX_SECTORS: u32 = 4194303;
const NO_GRANULARITY: Size = Size(u32::MAX);
const QUEUE_SIZES: &str = "a power of two from 4 to 1024";
