//! Kernels in Linux's own format (Documentation/arch/x86/boot.rst).

use std::io;

use linux_loader::bootparam::setup_header;
use linux_loader::loader::KernelLoader;
use linux_loader::loader::bzimage::BzImage as Loader;
use vm_memory::{ByteValued, GuestAddress};

use super::elf::Unfit;
use super::extent::Extent;
use crate::layout::{self, Range};
use crate::memory::Memory;

/// A bzImage that has been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct BzImage {
    header: setup_header,
    /// Of the file.
    size: u64,
}

impl BzImage {
    /// Looks at the header in `file`.
    ///
    /// # Errors
    /// What is no kernel for x86-64, in words for the user.
    pub(super) fn parse(file: &Extent) -> Result<Self, Unfit> {
        let mut header = setup_header::default();
        let read = file.read_exact_at(header.as_mut_slice(), SETUP_HEADER);
        if read.is_err() || { header.header } != HEADER_MAGIC {
            return Err(Unfit("not a kernel"));
        }
        if header.version < PROTOCOL_64_BIT || header.xloadflags & XLF_KERNEL_64 == 0 {
            return Err(Unfit("has no 64-bit entry point"));
        }
        if header.pref_address >= layout::LOW_RAM.size {
            return Err(Unfit("is linked for an address that is not mapped"));
        }
        Ok(Self {
            header,
            size: file.size(),
        })
    }

    /// Its setup header.
    pub(super) fn header(&self) -> setup_header {
        self.header
    }

    /// Memory that the kernel takes until it knows of more, in bytes.
    pub(super) fn init_size(&self) -> u64 {
        self.header.init_size.into()
    }

    /// What it takes in memory to unpack itself.
    pub(super) fn span(&self) -> Range {
        Range {
            base: self.header.pref_address.max(layout::KERNEL_BASE),
            size: self.init_size().max(self.size),
        }
    }

    /// Where the compressed kernel is in the file.
    pub(super) fn payload(&self) -> Option<Range> {
        let sectors = match self.header.setup_sects {
            0 => DEFAULT_SECTORS,
            sectors => sectors,
        };
        let protected = (u64::from(sectors) + 1) * SECTOR;
        let range = Range {
            base: protected + u64::from(self.header.payload_offset),
            size: self.header.payload_length.into(),
        };
        (range.size > 4 && range.end() <= self.size).then_some(range)
    }

    /// Loads it as it is, and returns the entry point of the code that unpacks it.
    ///
    /// # Errors
    /// Those of the file, and of memory that ends too early.
    pub(super) fn load(&self, file: &Extent, memory: &Memory) -> io::Result<GuestAddress> {
        let base = self.span().base;
        let loaded = Loader::load(memory, Some(GuestAddress(base)), &mut file.file(), None);
        loaded.map_err(io::Error::other)?;
        Ok(GuestAddress(base + ENTRY_64_BIT))
    }
}

/// What setup headers begin with.
pub(super) const HEADER_MAGIC: u32 = 0x5372_6448;
/// First version of the boot protocol with `xloadflags`.
pub(super) const PROTOCOL_64_BIT: u16 = 0x020c;
/// Offset of the setup header in a bzImage.
const SETUP_HEADER: u64 = 0x1f1;
const XLF_KERNEL_64: u16 = 1;
/// The 64-bit entry point, from the start of the protected-mode code.
const ENTRY_64_BIT: u64 = 0x200;
const SECTOR: u64 = 512;
/// Of the setup code, where the header has none.
const DEFAULT_SECTORS: u8 = 4;
