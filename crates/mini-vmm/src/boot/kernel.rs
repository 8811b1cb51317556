//! A kernel, in whichever form its file has it.

use std::io;

use linux_loader::bootparam::setup_header;
use vm_memory::GuestAddress;

use super::bzimage::{self, BzImage};
use super::elf::{Elf, Unfit};
use super::extent::Extent;
use super::kaslr::{Place, Wish};
use super::payload::Payload;
use super::store::Store;
use crate::layout::Range;
use crate::memory::Memory;

/// A kernel that has been looked at.
#[derive(Debug)]
pub(super) struct Kernel {
    header: setup_header,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// It unpacks itself, and chooses its place.
    Packed(BzImage, Extent),
    /// It is entered where the other would enter it.
    Unpacked(Elf),
}

impl Kernel {
    /// Looks at the kernel in `file`. One that is compressed is unpacked where `store` can keep what
    /// comes out.
    ///
    /// # Errors
    /// What is no kernel for x86-64, in words for the user.
    pub(super) fn open(file: Extent, store: Option<&Store>) -> Result<Self, Unfit> {
        let mut magic = [0; 4];
        if file.read_exact_at(&mut magic, 0).is_ok() && magic == ELF_MAGIC {
            return Ok(Self::unpacked(Elf::parse(file)?, header_of_elf()));
        }
        let image = BzImage::parse(&file)?;
        if let Some(store) = store {
            match unpack(&file, &image, store) {
                Ok(elf) => return Ok(Self::unpacked(elf, image.header())),
                Err(why) if store.is_named() => log::warn!("the kernel unpacks itself: {why}"),
                Err(why) => log::debug!("the kernel unpacks itself: {why}"),
            }
        }
        Ok(Self {
            header: image.header(),
            form: Form::Packed(image, file),
        })
    }

    /// What it says of itself.
    pub(super) fn header(&self) -> setup_header {
        self.header
    }

    /// What it takes of memory until it knows of more, where it is linked for.
    pub(super) fn span(&self) -> Range {
        match &self.form {
            Form::Packed(image, _) => image.span(),
            Form::Unpacked(elf) => {
                let Range { base, size } = elf.span();
                let size = size.max(self.header.init_size.into());
                Range { base, size }
            }
        }
    }

    /// Loads it into some of the `free` memory and returns its entry point.
    ///
    /// # Errors
    /// Those of the file, and of memory that ends too early.
    pub(super) fn load(
        &mut self,
        memory: &Memory,
        free: &[Range],
        command_line: &[u8],
    ) -> io::Result<GuestAddress> {
        let Range { base, size } = self.span();
        match &self.form {
            Form::Packed(image, file) => {
                self.header.code32_start = base as u32;
                image.load(file, memory)
            }
            Form::Unpacked(elf) => {
                let wish = Wish {
                    linked: base,
                    size,
                    alignment: u64::from(self.header.kernel_alignment).max(LEAST_ALIGNMENT),
                };
                let place = match elf.is_relocatable() {
                    true => Place::choose(wish, free, command_line)?,
                    false => Place::linked(base),
                };
                self.header.loadflags &= !KASLR_FLAG;
                if place.random {
                    self.header.loadflags |= KASLR_FLAG;
                }
                elf.load(memory, place.base, place.shift)
            }
        }
    }

    fn unpacked(elf: Elf, header: setup_header) -> Self {
        Self {
            header,
            form: Form::Unpacked(elf),
        }
    }
}

/// The header of a kernel that came without one.
fn header_of_elf() -> setup_header {
    setup_header {
        boot_flag: BOOT_FLAG,
        header: bzimage::HEADER_MAGIC,
        version: bzimage::PROTOCOL_64_BIT,
        kernel_alignment: LEAST_ALIGNMENT as u32,
        initrd_addr_max: INITRD_LAST,
        cmdline_size: ELF_COMMAND_LINE,
        ..Default::default()
    }
}

fn unpack(file: &Extent, image: &BzImage, store: &Store) -> io::Result<Elf> {
    let kept = store.kernel(file.file(), || Payload::find(file, image))?;
    Elf::parse(kept).map_err(io::Error::other)
}

const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// What the kernel's page tables can do, whatever it was built for.
const LEAST_ALIGNMENT: u64 = 2 << 20;
/// Tells the kernel that it was put at random, and to do so with its other addresses.
const KASLR_FLAG: u8 = 1 << 1;
const BOOT_FLAG: u16 = 0xaa55;
const ELF_COMMAND_LINE: u32 = 2047;
const INITRD_LAST: u32 = 0x7fff_ffff;
