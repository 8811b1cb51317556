//! Loads kernel, initial file system and command line, and says where the guest starts.
//!
//! The kernel is a bzImage or an ELF image, entered by Linux's 64-bit boot protocol
//! (Documentation/arch/x86/boot.rst). A bzImage is an ELF image, compressed, behind code that unpacks it; most of
//! the time until init is that code's. So the kernel is unpacked here, once (`store`), and entered where that
//! code would enter it, with what else that code does done here (`kaslr`, `relocations`). Files stay open, so
//! that a reboot loads them again.
//!
//! What that code does and is not done: it turns on five levels of page tables where the processor has them,
//! for guests of more than 64 TiB; it looks for memory encryption and for EFI, which are not there. It lays the
//! kernel out in itself, so that nothing is left of a kernel before it; here zeros are written.

mod bzimage;
mod elf;
mod extent;
mod kaslr;
mod kernel;
mod parameters;
mod payload;
mod relocations;
mod store;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use linux_loader::bootparam::setup_header;
use rustix::rand::{GetRandomFlags, getrandom};
use vm_memory::{Bytes, GuestAddress};

use crate::layout::{self, Range};
use crate::memory::Memory;
use crate::options::{BadOption, Config};
use extent::Extent;
use kernel::Kernel;
use parameters::parameters;
use store::Store;

/// What is loaded into guest memory before each start.
#[derive(Debug)]
pub struct Images {
    kernel: Kernel,
    path: PathBuf,
    initrd: Option<(PathBuf, Extent)>,
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
        let kernel = open("-kernel", &config.kernel)?;
        let initrd = config.initrd.as_deref().map(|path| {
            let file = open("-initrd", path)?;
            Ok((path.to_owned(), file))
        });
        let initrd = initrd.transpose()?;
        let store = Store::open(&config.kernel_store)?;
        let kernel = Kernel::open(kernel, store.as_ref());
        let images = Self {
            kernel: kernel.map_err(|why| bad("-kernel", &config.kernel, why))?,
            path: config.kernel.clone(),
            initrd,
            command_line,
            memory: config.memory,
        };
        images.check_fits(images.kernel.span().end())?;
        Ok(images)
    }

    /// Loads everything and returns the address of the guest's first instruction. `reserved` is
    /// marked in the guest's memory map.
    ///
    /// # Errors
    /// Files that have become shorter, or memory that is too small, under the option's name.
    pub fn load(&mut self, memory: &Memory, reserved: Range) -> Result<GuestAddress, BadOption> {
        self.check_command_line(&self.kernel.header())?;
        let initrd = self.load_initrd(memory)?;
        let line = self.command_line.strip_suffix(b"\0").unwrap_or_default();
        let free = free(self.room(), initrd);
        let entry = self.kernel.load(memory, &free, line);
        let entry = entry.map_err(|why| bad("-kernel", &self.path, why))?;
        let mut header = self.kernel.header();
        header.type_of_loader = LOADER_UNDEFINED;
        header.cmd_line_ptr = layout::COMMAND_LINE.base as u32;
        if let Some(range) = initrd {
            header.ramdisk_image = range.base as u32;
            header.ramdisk_size = range.size as u32;
        }
        let parameters = parameters(header, self.memory, reserved);
        let written = memory
            .write_slice(&self.command_line, GuestAddress(layout::COMMAND_LINE.base))
            .and_then(|()| memory.write_obj(parameters, GuestAddress(layout::BOOT_PARAMS)));
        written.map_err(|why| bad("-kernel", &self.path, why))?;
        Ok(entry)
    }

    /// End of the memory that is mapped at the entry.
    fn room(&self) -> u64 {
        self.memory.min(layout::LOW_RAM.size)
    }

    fn check_fits(&self, end: u64) -> Result<(), BadOption> {
        if end <= self.room() {
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

    /// As high as the kernel allows, so that it is out of the kernel's way.
    fn load_initrd(&self, memory: &Memory) -> Result<Option<Range>, BadOption> {
        let Some((path, file)) = &self.initrd else {
            return Ok(None);
        };
        let (size, kernel) = (file.size(), self.kernel.span());
        let last = self.kernel.header().initrd_addr_max;
        let top = self.room().min(u64::from(last) + 1);
        let base = top.checked_sub(size).map_or(0, |base| base & !(PAGE - 1));
        if base < kernel.end() {
            self.check_fits(kernel.end().saturating_add(size.next_multiple_of(PAGE)))?;
            return Err(BadOption::new(
                "-initrd",
                "too large for the kernel",
                "a smaller file",
            ));
        }
        let loaded = file.load((0, size), memory, base);
        loaded.map_err(|why| bad("-initrd", path, why))?;
        Ok(Some(Range { base, size }))
    }
}

/// Where a kernel may be: below `room`, and not where the initial file system is.
fn free(room: u64, initrd: Option<Range>) -> [Range; 2] {
    let between = |base: u64, end: u64| Range {
        base,
        size: end.saturating_sub(base),
    };
    let taken = initrd.unwrap_or(between(room, room));
    [
        between(layout::KERNEL_BASE, taken.base),
        between(taken.end(), room),
    ]
}

/// Opens the file that `option` names.
fn open(option: &str, path: &Path) -> Result<Extent, BadOption> {
    // What is no file is not waited for.
    let mut how = File::options();
    let opened = how.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let opened = opened.and_then(|mut file| {
        let kind = file.metadata()?.file_type();
        if !(kind.is_file() || kind.is_block_device() || kind.is_dir()) {
            return Err(io::Error::other(
                "neither a regular file nor a block device",
            ));
        }
        // A directory opens but does not read.
        let _ = file.read(&mut [0])?;
        Extent::whole(file)
    });
    opened.map_err(|why| {
        BadOption::value(option, &path.display().to_string(), why, "a readable file")
    })
}

fn bad(option: &str, path: &Path, why: impl Display) -> BadOption {
    let accepted = match option {
        "-kernel" => "a 64-bit bzImage or an x86-64 ELF kernel",
        _ => "a readable file",
    };
    BadOption::value(option, &path.display().to_string(), why, accepted)
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const LOADER_UNDEFINED: u8 = 0xff;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
