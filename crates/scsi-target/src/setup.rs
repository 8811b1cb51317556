//! How a logical unit is set up.

/// What a logical unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A direct access block device.
    Disk {
        /// Whether it has a tray.
        removable: bool,
    },
    /// A CD-ROM or DVD-ROM drive, which may be empty.
    Cdrom,
}

/// What a logical unit says of itself. Text that is too long for its field is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// T10 VENDOR IDENTIFICATION, 8 characters.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION, 16 characters.
    pub product: String,
    /// PRODUCT REVISION LEVEL, 4 characters.
    pub revision: String,
    /// PRODUCT SERIAL NUMBER; without it, there is no such page.
    pub serial: Option<String>,
    /// A vendor specific designator in the device identification page.
    pub device_id: Option<String>,
    /// NAA designator of the unit; 0: none.
    pub wwn: u64,
    /// NAA designator of the port; 0: none.
    pub port_wwn: u64,
    /// Relative target port; 0: none.
    pub port_index: u16,
    /// VERSION: the version of the standard.
    pub version: u8,
}

/// How a logical unit is set up. The default is a fixed disk as its back-end says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What it is.
    pub kind: Kind,
    /// What it says of itself.
    pub identity: Identity,
    /// Bytes of a logical block, a power of two from 512; 0: what the back-end needs. A CD's is
    /// always 2048.
    pub logical_block: u32,
    /// Bytes of a physical block, a power of two; 0: what the back-end says.
    pub physical_block: u32,
    /// Smallest size of efficient I/O in bytes; 0: unknown.
    pub min_io: u32,
    /// Best size of I/O in bytes; 0: unknown.
    pub opt_io: u32,
    /// Granularity of UNMAP in bytes; 0: a logical block.
    pub discard_granularity: u32,
    /// Bytes that one UNMAP may concern.
    pub max_unmap: u64,
    /// Bytes that one command may transfer.
    pub max_io: u64,
    /// MEDIUM ROTATION RATE: 0 unknown, 1 solid, else per minute.
    pub rotation_rate: u16,
    /// Whether FUA and DPO are said to be known.
    pub dpofua: bool,
    /// Whether there is a write cache at the start; `None`: as the back-end is set up.
    pub write_cache: Option<bool>,
    /// Whether the image is shared with all others that say so too.
    pub shared: bool,
}

impl Setup {
    /// Bytes that one WRITE SAME may concern: where the host has no short way, they are written.
    pub(crate) fn max_write_same(&self) -> u64 {
        self.max_io.min(64 << 20)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            kind: Kind::Disk { removable: false },
            identity: Identity::default(),
            logical_block: 0,
            physical_block: 0,
            min_io: 0,
            opt_io: 0,
            discard_granularity: 0,
            max_unmap: 1 << 30,
            max_io: i32::MAX as u64,
            rotation_rate: 0,
            dpofua: true,
            write_cache: None,
            shared: false,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            vendor: "QEMU".into(),
            product: "QEMU HARDDISK".into(),
            revision: "2.5+".into(),
            serial: None,
            device_id: None,
            wwn: 0,
            port_wwn: 0,
            port_index: 0,
            version: 5,
        }
    }
}

impl Kind {
    pub(crate) fn is_cdrom(self) -> bool {
        self == Self::Cdrom
    }

    pub(crate) fn is_removable(self) -> bool {
        self != Self::Disk { removable: false }
    }
}
