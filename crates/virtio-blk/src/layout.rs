//! The configuration space (section 5.2.4) as a table.

/// A little-endian field of the configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) offset: usize,
    /// In bytes.
    pub(crate) width: usize,
}

impl Field {
    /// Stores `value`, cut to the width of the field; nothing where the field is past the end.
    pub(crate) fn put(self, bytes: &mut [u8], value: impl Into<u64>) {
        let value = value.into().to_le_bytes();
        let end = self.offset + self.width;
        if let Some(field) = bytes.get_mut(self.offset..end) {
            field
                .iter_mut()
                .zip(value)
                .for_each(|(to, from)| *to = from);
        }
    }

    /// The byte after it.
    pub(crate) const fn end(self) -> usize {
        self.offset + self.width
    }

    const fn at(offset: usize, width: usize) -> Self {
        Self { offset, width }
    }
}

pub(crate) const CAPACITY: Field = Field::at(0, 8);
pub(crate) const SIZE_MAX: Field = Field::at(8, 4);
pub(crate) const SEG_MAX: Field = Field::at(12, 4);
pub(crate) const CYLINDERS: Field = Field::at(16, 2);
pub(crate) const HEADS: Field = Field::at(18, 1);
pub(crate) const SECTORS: Field = Field::at(19, 1);
pub(crate) const BLK_SIZE: Field = Field::at(20, 4);
pub(crate) const PHYSICAL_BLOCK_EXP: Field = Field::at(24, 1);
pub(crate) const MIN_IO_SIZE: Field = Field::at(26, 2);
pub(crate) const OPT_IO_SIZE: Field = Field::at(28, 4);
pub(crate) const WRITEBACK: Field = Field::at(32, 1);
pub(crate) const NUM_QUEUES: Field = Field::at(34, 2);
pub(crate) const MAX_DISCARD_SECTORS: Field = Field::at(36, 4);
pub(crate) const MAX_DISCARD_SEG: Field = Field::at(40, 4);
pub(crate) const DISCARD_SECTOR_ALIGNMENT: Field = Field::at(44, 4);
pub(crate) const MAX_WRITE_ZEROES_SECTORS: Field = Field::at(48, 4);
pub(crate) const MAX_WRITE_ZEROES_SEG: Field = Field::at(52, 4);
pub(crate) const WRITE_ZEROES_MAY_UNMAP: Field = Field::at(56, 1);
pub(crate) const MAX_SECURE_ERASE_SECTORS: Field = Field::at(60, 4);
pub(crate) const MAX_SECURE_ERASE_SEG: Field = Field::at(64, 4);
pub(crate) const SECURE_ERASE_SECTOR_ALIGNMENT: Field = Field::at(68, 4);
pub(crate) const ZONE_SECTORS: Field = Field::at(72, 4);
pub(crate) const MAX_OPEN_ZONES: Field = Field::at(76, 4);
pub(crate) const MAX_ACTIVE_ZONES: Field = Field::at(80, 4);
pub(crate) const MAX_APPEND_SECTORS: Field = Field::at(84, 4);
pub(crate) const WRITE_GRANULARITY: Field = Field::at(88, 4);
pub(crate) const ZONED_MODEL: Field = Field::at(92, 1);
pub(crate) const ZONED_UNUSED2: Field = Field::at(93, 3);

/// Bytes of each field in turn, reserved ones included.
#[rustfmt::skip]
pub(crate) const WIDTHS: &[u8] = &[
    // capacity, size_max, seg_max
    8, 4, 4,
    // geometry, blk_size, topology
    2, 1, 1, 4, 1, 1, 2, 4,
    // writeback, unused0, num_queues
    1, 1, 2,
    // discard, write zeroes, unused1
    4, 4, 4, 4, 4, 1, 1, 1, 1,
    // secure erase, zoned, unused2
    4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1,
];
