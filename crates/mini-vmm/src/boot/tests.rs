use std::path::PathBuf;

use linux_loader::bootparam::boot_params;
use vmm_sys_util::tempdir::TempDir;

use super::fixture::{BASE, ENTRY, address, elf, xz};
use super::parameters::{E820_RAM, E820_RESERVED, memory_map};
use super::*;
use crate::memory;
use crate::options::KernelStore;

/// A bzImage without a payload, wanting `size` bytes from 16 MiB on.
fn bzimage(size: u32) -> Vec<u8> {
    fixture::bzimage(&[], size.into())
}

struct Files {
    dir: TempDir,
    config: Config,
}

impl Files {
    fn new(kernel: &[u8]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut files = Self {
            dir,
            config: Config {
                memory: 64 * MIB,
                kernel_store: KernelStore::Off,
                ..Config::default()
            },
        };
        files.config.kernel = files.file("kernel", kernel);
        files
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.as_path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn load(&self) -> Result<(Memory, GuestAddress), String> {
        let memory = memory::allocate(self.config.memory).unwrap();
        let mut images = Images::open(&self.config).map_err(|error| error.to_string())?;
        let reserved = Range {
            base: layout::ECAM_BASE,
            size: MIB,
        };
        images
            .load(&memory, reserved)
            .map_err(|error| error.to_string())?;
        // A second load is what a reboot does.
        let entry = images.load(&memory, reserved);
        Ok((memory, entry.map_err(|error| error.to_string())?))
    }
}

#[test]
fn bzimage_is_loaded_where_it_wants_to_be() {
    let mut files = Files::new(&bzimage(MIB as u32));
    files.config.append = "console=ttyS0".into();
    files.config.initrd = Some(files.file("initrd", &[7; 5000]));
    let (memory, entry) = files.load().unwrap();
    assert_eq!(entry.0, 16 * MIB + 0x200);
    assert_eq!(memory.read_obj::<u8>(GuestAddress(16 * MIB)).unwrap(), 0xf4);
    let parameters: boot_params = memory.read_obj(GuestAddress(layout::BOOT_PARAMS)).unwrap();
    let header = parameters.hdr;
    let mut line = [0; 14];
    memory
        .read_slice(&mut line, GuestAddress({ header.cmd_line_ptr }.into()))
        .unwrap();
    assert_eq!(&line, b"console=ttyS0\0");
    let initrd = u64::from(header.ramdisk_image);
    assert_eq!((initrd % PAGE, { header.ramdisk_size }), (0, 5000));
    assert!(initrd + 5000 <= 64 * MIB && initrd > 60 * MIB);
    assert_eq!(
        memory.read_obj::<u8>(GuestAddress(initrd + 4999)).unwrap(),
        7
    );
    assert_eq!({ parameters.acpi_rsdp_addr }, layout::ACPI.base);
}

#[test]
fn memory_map_covers_ram_and_reserves_the_rest() {
    let ecam = Range {
        base: layout::ECAM_BASE,
        size: MIB,
    };
    let map = memory_map(5 << 30, ecam);
    let map: Vec<_> = map
        .iter()
        .map(|e| ({ e.addr }, { e.size }, { e.r#type }))
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_fc00, E820_RAM),
            (0xe_0000, 0x2_0000, E820_RESERVED),
            (MIB, (3 << 30) - MIB, E820_RAM),
            (4 << 30, 2 << 30, E820_RAM),
            (layout::ECAM_BASE, MIB, E820_RESERVED),
        ]
    );
}

#[test]
fn what_is_no_kernel_is_refused() {
    let mut no_entry = bzimage(0);
    no_entry[0x236] = 0;
    let mut far = bzimage(0);
    far[0x258..0x260].fill(0xff);
    for (bytes, why) in [
        (Vec::new(), "not a kernel"),
        (vec![0; 100], "not a kernel"),
        (vec![0xff; 4096], "not a kernel"),
        (no_entry, "no 64-bit entry point"),
        (far, "an address that is not mapped"),
        (b"\x7fELF".to_vec(), ""),
        ([b"\x7fELF\x02\x01\x01".as_slice(), &[0; 4096]].concat(), ""),
    ] {
        let files = Files::new(&bytes);
        let error = files.load().err().unwrap();
        let start = format!("-kernel {}: ", files.config.kernel.display());
        assert!(error.starts_with(&start) && error.contains(why), "{error}");
        assert!(
            error.ends_with("; accepted: a 64-bit bzImage or an x86-64 ELF kernel"),
            "{error}"
        );
    }
}

#[test]
fn memory_that_is_too_small_names_what_would_do() {
    let files = Files::new(&bzimage(100 * MIB as u32));
    let error = files.load().err().unwrap();
    assert_eq!(
        error,
        "-m 64M: too small for the kernel and initrd; accepted: 116M or more"
    );
    let mut files = Files::new(&bzimage(40 * MIB as u32));
    files.config.initrd = Some(files.file("initrd", &vec![0; 9 * MIB as usize]));
    let error = files.load().err().unwrap();
    assert_eq!(
        error,
        "-m 64M: too small for the kernel and initrd; accepted: 65M or more"
    );
}

#[test]
fn missing_files_and_long_command_lines_are_refused() {
    let mut files = Files::new(&bzimage(0));
    files.config.append = "x".repeat(101);
    let error = files.load().err().unwrap();
    assert_eq!(
        error,
        "-append: longer than the kernel takes; accepted: at most 100 bytes"
    );
    files.config.append = "x".repeat(100);
    assert!(files.load().is_ok());
    files.config.initrd = Some("/nonexistent".into());
    let error = files.load().err().unwrap();
    assert!(
        error.starts_with("-initrd /nonexistent: No such file"),
        "{error}"
    );
    files.config.kernel = files.dir.as_path().into();
    let error = files.load().err().unwrap();
    assert!(error.contains("Is a directory"), "{error}");
}

fn parameters_in(memory: &Memory) -> boot_params {
    memory.read_obj(GuestAddress(layout::BOOT_PARAMS)).unwrap()
}

#[test]
fn bzimages_are_unpacked_where_that_is_kept() {
    let kernel = elf(&[0, address(0x100), 0]);
    let mut files = Files::new(&fixture::bzimage(&xz(&kernel), MIB));
    files.config.initrd = Some(files.file("initrd", &[7; 5000]));
    for store in [
        KernelStore::Off,
        KernelStore::At(files.dir.as_path().into()),
    ] {
        files.config.kernel_store = store.clone();
        files.config.append = "nokaslr".into();
        let (memory, entry) = files.load().unwrap();
        let unpacked = store != KernelStore::Off;
        let offset = if unpacked { ENTRY } else { 0x200 };
        assert_eq!(entry.0, BASE + offset);
        assert_eq!({ parameters_in(&memory).hdr.loadflags }, 1);
        files.config.append = "quiet".into();
        let (memory, entry) = files.load().unwrap();
        let header = parameters_in(&memory).hdr;
        assert_eq!((entry.0 - offset) % (2 * MIB), 0);
        assert!(unpacked || entry.0 == BASE + offset);
        assert_eq!({ header.loadflags }, if unpacked { 3 } else { 1 });
        assert_eq!({ header.init_size }, MIB as u32);
        let initrd = u64::from(header.ramdisk_image);
        assert!(entry.0 + MIB <= initrd || entry.0 > initrd);
        let first: u8 = memory.read_obj(GuestAddress(initrd)).unwrap();
        assert_eq!(first, 7);
    }
}

#[test]
fn kernels_that_cannot_be_unpacked_unpack_themselves() {
    let cut = |mut kernel: Vec<u8>| {
        kernel[0] = 0;
        xz(&kernel)
    };
    for payload in [
        vec![],
        b"not packed".to_vec(),
        cut(elf(&[])),
        xz(b"no ELF image"),
    ] {
        let mut files = Files::new(&fixture::bzimage(&payload, MIB));
        files.config.kernel_store = KernelStore::At(files.dir.as_path().into());
        let (_, entry) = files.load().unwrap();
        assert_eq!(entry.0, BASE + 0x200);
    }
}

#[test]
fn elf_kernels_move_with_relocations_alone() {
    for (table, moves) in [(&[0, 0][..], true), (&[][..], false)] {
        let files = Files::new(&elf(table));
        let mut entries = (0..64).map(|_| files.load().unwrap().1.0 - ENTRY);
        // 64 times the same one of 24 is no chance.
        assert_eq!(entries.any(|base| base != BASE), moves);
    }
    let mut files = Files::new(&elf(&[]));
    files.config.memory = 16 * MIB;
    let error = files.load().err().unwrap();
    assert!(error.starts_with("-m 16M: too small"), "{error}");
}
