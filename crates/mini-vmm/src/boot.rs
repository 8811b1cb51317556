//! Loads kernel, initial file system and command line, and says where the guest starts.
//!
//! The kernel is a bzImage or an ELF image, entered by Linux's 64-bit boot protocol
//! (Documentation/arch/x86/boot.rst). Files stay open, so that a reboot loads them again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use linux_loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::elf::Elf;
use linux_loader::loader::{BzImage, KernelLoader};
use vm_memory::{ByteValued, Bytes, GuestAddress};

use crate::layout::{self, Range};
use crate::memory::{self, Memory};
use crate::options::{BadOption, Config};

/// What is loaded into guest memory before each start.
#[derive(Debug)]
pub struct Images {
    kernel: Image,
    initrd: Option<Image>,
    command_line: Vec<u8>,
    memory: u64,
}

impl Images {
    /// Opens the files that `config` names and looks at the kernel.
    ///
    /// # Errors
    /// A file that cannot be read, a kernel that is none or needs more memory, or a command line
    /// that is too long, under its option's name.
    pub fn open(config: &Config) -> Result<Self, BadOption> {
        let mut command_line = config.append.clone().into_bytes();
        command_line.push(0);
        if command_line.len() as u64 > layout::COMMAND_LINE.size || config.append.contains('\0') {
            let most = format!(
                "at most {} bytes, none of them zero",
                layout::COMMAND_LINE.size - 1
            );
            return Err(BadOption::new("-append", "not a command line", most));
        }
        let images = Self {
            kernel: Image::open("-kernel", &config.kernel)?,
            initrd: config
                .initrd
                .as_deref()
                .map(|path| Image::open("-initrd", path))
                .transpose()?,
            command_line,
            memory: config.memory,
        };
        if !images.kernel.is_elf() {
            images.bzimage()?;
        }
        Ok(images)
    }

    /// Loads everything and returns the address of the guest's first instruction. `reserved` is
    /// marked in the guest's memory map.
    ///
    /// # Errors
    /// A kernel that is none, or memory that is too small, under the option's name.
    pub fn load(&mut self, memory: &Memory, reserved: Range) -> Result<GuestAddress, BadOption> {
        let kernel = match self.kernel.is_elf() {
            true => self.load_elf(memory),
            false => self.load_bzimage(memory),
        }?;
        let mut header = kernel.header;
        self.check_command_line(&header)?;
        header.type_of_loader = LOADER_UNDEFINED;
        header.cmd_line_ptr = layout::COMMAND_LINE.base as u32;
        if let Some(range) = self.load_initrd(memory, &kernel)? {
            header.ramdisk_image = range.base as u32;
            header.ramdisk_size = range.size as u32;
        }
        let parameters = self.parameters(header, reserved);
        let written = memory
            .write_slice(&self.command_line, GuestAddress(layout::COMMAND_LINE.base))
            .and_then(|()| memory.write_obj(parameters, GuestAddress(layout::BOOT_PARAMS)));
        written.map_err(|error| self.kernel.bad(error))?;
        Ok(kernel.entry)
    }

    /// Header, load address and end of a bzImage that fits into memory.
    fn bzimage(&self) -> Result<(setup_header, u64, u64), BadOption> {
        let mut header = setup_header::default();
        let read = self
            .kernel
            .file
            .read_exact_at(header.as_mut_slice(), SETUP_HEADER);
        if read.is_err() || { header.header } != HEADER_MAGIC {
            return Err(self.kernel.bad("not a kernel"));
        }
        if header.version < PROTOCOL_64_BIT || header.xloadflags & XLF_KERNEL_64 == 0 {
            return Err(self.kernel.bad("has no 64-bit entry point"));
        }
        let base = header.pref_address.max(layout::KERNEL_BASE);
        let end = base.saturating_add(u64::from(header.init_size).max(self.kernel.size));
        self.check_fits(end)?;
        Ok((header, base, end))
    }

    fn load_bzimage(&mut self, memory: &Memory) -> Result<Kernel, BadOption> {
        let (mut header, base, end) = self.bzimage()?;
        let loaded = BzImage::load(
            memory,
            Some(GuestAddress(base)),
            &mut self.kernel.file,
            None,
        );
        loaded.map_err(|error| self.kernel.bad(error))?;
        header.code32_start = base as u32;
        Ok(Kernel {
            entry: GuestAddress(base + ENTRY_64_BIT),
            end,
            header,
        })
    }

    fn load_elf(&mut self, memory: &Memory) -> Result<Kernel, BadOption> {
        let base = Some(GuestAddress(layout::KERNEL_BASE));
        let loaded = Elf::load(memory, None, &mut self.kernel.file, base);
        let loaded = loaded.map_err(|error| {
            self.kernel.bad(format_args!(
                "{error} (of {} MiB of memory)",
                self.memory >> 20
            ))
        })?;
        let header = setup_header {
            boot_flag: BOOT_FLAG,
            header: HEADER_MAGIC,
            version: PROTOCOL_64_BIT,
            kernel_alignment: ELF_ALIGNMENT,
            initrd_addr_max: INITRD_LAST,
            cmdline_size: ELF_COMMAND_LINE,
            ..Default::default()
        };
        // What the image has of zeroed memory after its last segment is not known: leave room.
        let end = loaded.kernel_end.saturating_add(ELF_ROOM);
        Ok(Kernel {
            entry: loaded.kernel_load,
            end,
            header,
        })
    }

    fn check_fits(&self, end: u64) -> Result<(), BadOption> {
        let room = self.memory.min(layout::LOW_RAM.size);
        if end <= room {
            return Ok(());
        }
        let accepted = format!("{}M or more", end.div_ceil(MIB));
        let given = format!("{}M", self.memory / MIB);
        Err(BadOption::value(
            "-m",
            &given,
            "too small for the kernel and initrd",
            accepted,
        ))
    }

    fn check_command_line(&self, header: &setup_header) -> Result<(), BadOption> {
        let most = header.cmdline_size as usize;
        if self.command_line.len() <= most.saturating_add(1) {
            return Ok(());
        }
        let why = "longer than the kernel takes";
        Err(BadOption::new(
            "-append",
            why,
            format!("at most {most} bytes"),
        ))
    }

    /// As high as the kernel allows, so that it is out of the way of decompression.
    fn load_initrd(
        &mut self,
        memory: &Memory,
        kernel: &Kernel,
    ) -> Result<Option<Range>, BadOption> {
        let Some(initrd) = &mut self.initrd else {
            return Ok(None);
        };
        let room = self.memory.min(layout::LOW_RAM.size);
        let top = room.min(u64::from(kernel.header.initrd_addr_max) + 1);
        let base = top
            .checked_sub(initrd.size)
            .map_or(0, |base| base & !(PAGE - 1));
        if base < kernel.end {
            let end = kernel
                .end
                .saturating_add(initrd.size.next_multiple_of(PAGE));
            self.check_fits(end)?;
            return Err(BadOption::new(
                "-initrd",
                "too large for the kernel",
                "a smaller file",
            ));
        }
        let size = initrd.size as usize;
        let loaded = initrd.rewind().and_then(|file| {
            memory
                .read_exact_volatile_from(GuestAddress(base), file, size)
                .map_err(io::Error::other)
        });
        loaded.map_err(|error| initrd.bad(error))?;
        Ok(Some(Range {
            base,
            size: initrd.size,
        }))
    }

    fn parameters(&self, header: setup_header, reserved: Range) -> boot_params {
        let mut parameters = boot_params {
            hdr: header,
            acpi_rsdp_addr: layout::ACPI.base,
            ..Default::default()
        };
        let map = self.memory_map(reserved);
        let mut table = parameters.e820_table;
        table
            .iter_mut()
            .zip(&map)
            .for_each(|(slot, entry)| *slot = *entry);
        parameters.e820_table = table;
        parameters.e820_entries = map.len() as u8;
        parameters
    }

    fn memory_map(&self, reserved: Range) -> Vec<boot_e820_entry> {
        let entry = |base, end: u64, kind| boot_e820_entry {
            addr: base,
            size: end - base,
            r#type: kind,
        };
        let mut map = vec![
            entry(0, layout::LOW_USABLE_END, E820_RAM),
            entry(layout::FIRMWARE.base, layout::FIRMWARE.end(), E820_RESERVED),
        ];
        for range in memory::ranges(self.memory) {
            map.push(entry(
                range.base.max(layout::KERNEL_BASE),
                range.end(),
                E820_RAM,
            ));
        }
        if reserved.size > 0 {
            map.push(entry(reserved.base, reserved.end(), E820_RESERVED));
        }
        map
    }
}

/// An open file, named by its option.
#[derive(Debug)]
struct Image {
    option: &'static str,
    path: PathBuf,
    file: File,
    size: u64,
}

impl Image {
    fn open(option: &'static str, path: &Path) -> Result<Self, BadOption> {
        let bad = |why: io::Error| {
            BadOption::value(option, &path.display().to_string(), why, "a readable file")
        };
        let mut file = File::open(path).map_err(bad)?;
        // A directory opens but does not read.
        let _ = file.read(&mut [0]).map_err(bad)?;
        let size = file.seek(SeekFrom::End(0)).map_err(bad)?;
        Ok(Self {
            option,
            path: path.to_owned(),
            file,
            size,
        })
    }

    fn is_elf(&self) -> bool {
        let mut magic = [0; 4];
        self.file.read_exact_at(&mut magic, 0).is_ok() && magic == ELF_MAGIC
    }

    fn rewind(&mut self) -> io::Result<&mut File> {
        self.file.rewind()?;
        Ok(&mut self.file)
    }

    fn bad(&self, why: impl std::fmt::Display) -> BadOption {
        let accepted = match self.option {
            "-kernel" => "a 64-bit bzImage or an x86-64 ELF kernel",
            _ => "a readable file",
        };
        BadOption::value(self.option, &self.path.display().to_string(), why, accepted)
    }
}

/// A loaded kernel.
struct Kernel {
    entry: GuestAddress,
    /// First address that neither the image nor its decompression needs.
    end: u64,
    header: setup_header,
}

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// Offset of the setup header in a bzImage.
const SETUP_HEADER: u64 = 0x1f1;
const HEADER_MAGIC: u32 = 0x5372_6448;
const BOOT_FLAG: u16 = 0xaa55;
/// First version of the boot protocol with `xloadflags`.
const PROTOCOL_64_BIT: u16 = 0x020c;
const XLF_KERNEL_64: u16 = 1;
/// The 64-bit entry point, from the start of the protected-mode code.
const ENTRY_64_BIT: u64 = 0x200;
const LOADER_UNDEFINED: u8 = 0xff;
const ELF_ALIGNMENT: u32 = 0x100_0000;
const ELF_COMMAND_LINE: u32 = 2047;
const ELF_ROOM: u64 = 16 * MIB;
const INITRD_LAST: u32 = 0x7fff_ffff;
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

#[cfg(test)]
#[path = "boot_tests.rs"]
mod tests;
