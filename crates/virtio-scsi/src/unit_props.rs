//! The properties of QEMU's `scsi-hd` and `scsi-cd` devices.

use scsi_target::{Identity, Kind, Lun, Setup};
use virtio_device::props::{OnErrorAuto, OnOffAuto, PropError, Size, ensure, refuse};

use crate::Wish;

virtio_device::props! {
    /// Properties of any unit.
    pub struct UnitProps {
        /// Back-end, by the id that the VMM knows it under.
        "drive" => drive: Option<String> = None,
        /// Bus of the adapter: there is bus 0.
        "channel" => channel: u32 = 0,
        /// Target, 0 to 255; 4294967295: the first that is free.
        "scsi-id" => scsi_id: u32 = u32::MAX,
        /// Logical unit, 0 to 16383; 4294967295: the first that is free.
        "lun" => lun: u32 = u32::MAX,
        /// Serial number, at most 36 bytes.
        "serial" => serial: Option<String> = None,
        /// Name in the device identification page; the serial number if not given.
        "device_id" => device_id: Option<String> = None,
        /// World wide name of the unit; 0: none.
        "wwn" => wwn: u64 = 0,
        /// World wide name of the port; 0: none.
        "port_wwn" => port_wwn: u64 = 0,
        /// Number of the port; 0: none.
        "port_index" => port_index: u16 = 0,
        /// Vendor, at most 8 characters; QEMU if not given.
        "vendor" => vendor: Option<String> = None,
        /// Product, at most 16 characters.
        "product" => product: Option<String> = None,
        /// Revision, at most 4 characters; 2.5+ if not given.
        "ver" => ver: Option<String> = None,
        /// Version of the SCSI standard in INQUIRY data.
        "scsi_version" => scsi_version: i32 = 5,
        /// Logical block size: a power of two from 512 to 2M; 0: what the back-end needs. A CD's is 2048.
        "logical_block_size" => logical_block_size: Size = Size(0),
        /// Physical block size: a power of two from 512 to 2M; 0: what the back-end says.
        "physical_block_size" => physical_block_size: Size = Size(0),
        /// Smallest size of efficient I/O; 0: unknown.
        "min_io_size" => min_io_size: Size = Size(0),
        /// Best size of I/O; 0: unknown.
        "opt_io_size" => opt_io_size: Size = Size(0),
        /// Granularity of UNMAP; 4294967295: one logical block.
        "discard_granularity" => discard_granularity: Size = Size(u32::MAX),
        /// Bytes that one command may transfer.
        "max_io_size" => max_io_size: u64 = 2147483647,
        /// Write-back cache at the start; auto: as the back-end is set up.
        "write-cache" => write_cache: OnOffAuto = OnOffAuto::Auto,
        /// What is done about failed reads; auto: as the back-end says. For the VMM, as drive is.
        "rerror" => rerror: OnErrorAuto = OnErrorAuto(None),
        /// What is done about failed commands of other kinds, likewise.
        "werror" => werror: OnErrorAuto = OnErrorAuto(None),
        /// Share the image with others that write it and say so too.
        "share-rw" => share_rw: bool = false,
    }
}

virtio_device::props! {
    /// Properties of a disk.
    pub struct HdProps {
        ..unit: UnitProps,
        /// Bytes that one UNMAP may concern.
        "max_unmap_size" => max_unmap_size: u64 = 1 << 30,
        /// Whether the medium can be removed.
        "removable" => removable: bool = false,
        /// Rotations per minute; 0: unknown, 1: none, it is solid.
        "rotation_rate" => rotation_rate: u16 = 0,
        /// Tell of FUA and DPO.
        "dpofua" => dpofua: bool = true,
    }
}

virtio_device::props! {
    /// Properties of a CD-ROM drive.
    pub struct CdProps {
        ..unit: UnitProps,
    }
}

impl HdProps {
    /// How the disk is set up.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn setup(&self) -> Result<Setup, PropError> {
        let kind = Kind::Disk {
            removable: self.removable,
        };
        Ok(Setup {
            kind,
            max_unmap: self.max_unmap_size,
            rotation_rate: self.rotation_rate,
            dpofua: self.dpofua,
            ..self.unit.setup("QEMU HARDDISK")?
        })
    }
}

impl CdProps {
    /// How the drive is set up: its blocks and its cache are those of any CD.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn setup(&self) -> Result<Setup, PropError> {
        let Setup {
            identity,
            max_io,
            shared,
            ..
        } = self.unit.setup("QEMU CD-ROM")?;
        Ok(Setup {
            kind: Kind::Cdrom,
            identity,
            max_io,
            shared,
            ..Setup::default()
        })
    }
}

impl UnitProps {
    /// Where it would like to be.
    ///
    /// # Errors
    /// [`PropError::Value`] where that is nowhere.
    pub fn wish(&self) -> Result<Wish, PropError> {
        ensure(self.channel == 0, "channel", self.channel, "0")?;
        let any = u32::MAX;
        let target = (self.scsi_id != any).then(|| u8::try_from(self.scsi_id));
        let bad = |_| refuse("scsi-id", self.scsi_id, "0 to 255, or 4294967295");
        let lun = (self.lun != any).then(|| {
            let lun = u16::try_from(self.lun).ok().and_then(Lun::new);
            lun.ok_or_else(|| refuse("lun", self.lun, "0 to 16383, or 4294967295"))
        });
        Ok(Wish {
            target: target.transpose().map_err(bad)?,
            lun: lun.transpose()?,
        })
    }

    /// What of it any unit has.
    fn setup(&self, product: &str) -> Result<Setup, PropError> {
        self.check()?;
        Ok(Setup {
            identity: self.identity(product),
            logical_block: self.logical_block_size.0,
            physical_block: self.physical_block_size.0,
            min_io: self.min_io_size.0,
            opt_io: self.opt_io_size.0,
            discard_granularity: granularity(self.discard_granularity),
            max_io: self.max_io_size,
            write_cache: cache(self.write_cache),
            shared: self.share_rw,
            ..Setup::default()
        })
    }

    fn check(&self) -> Result<(), PropError> {
        let texts = [
            ("serial", &self.serial, 36, "at most 36 bytes"),
            ("vendor", &self.vendor, 8, "at most 8 characters"),
            ("product", &self.product, 16, "at most 16 characters"),
            ("ver", &self.ver, 4, "at most 4 characters"),
        ];
        for (name, text, longest, accepts) in texts {
            let text = text.as_deref().unwrap_or_default();
            ensure(text.len() <= longest, name, text, accepts)?;
        }
        let version = self.scsi_version;
        ensure(
            (0..=255).contains(&version),
            "scsi_version",
            version,
            "0 to 255",
        )?;
        let size = |Size(n)| n == 0 || (n.is_power_of_two() && (512..=2 << 20).contains(&n));
        let (logical, physical) = (self.logical_block_size, self.physical_block_size);
        ensure(size(logical), "logical_block_size", logical.0, BLOCKS)?;
        ensure(size(physical), "physical_block_size", physical.0, BLOCKS)?;
        let larger = physical.0 == 0 || physical.0 >= logical.0;
        ensure(
            larger,
            "physical_block_size",
            physical.0,
            "at least logical_block_size",
        )
    }

    fn identity(&self, product: &str) -> Identity {
        let text = |given: &Option<String>, default: &str| given.clone().unwrap_or(default.into());
        Identity {
            vendor: text(&self.vendor, "QEMU"),
            product: text(&self.product, product),
            revision: text(&self.ver, "2.5+"),
            serial: self.serial.clone(),
            device_id: self.device_id.clone(),
            wwn: self.wwn,
            port_wwn: self.port_wwn,
            port_index: self.port_index,
            version: self.scsi_version as u8,
        }
    }
}

fn granularity(Size(size): Size) -> u32 {
    if size == u32::MAX { 0 } else { size }
}

fn cache(given: OnOffAuto) -> Option<bool> {
    (given != OnOffAuto::Auto).then_some(given == OnOffAuto::On)
}

const BLOCKS: &str = "a power of two from 512 to 2M";
