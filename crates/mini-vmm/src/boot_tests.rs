use std::path::PathBuf;

use vmm_sys_util::tempdir::TempDir;

use super::*;

/// A bzImage with a header alone, wanting `size` bytes from 16 MiB on.
fn bzimage(size: u32) -> Vec<u8> {
    let header = setup_header {
        setup_sects: 1,
        header: HEADER_MAGIC,
        version: PROTOCOL_64_BIT,
        loadflags: 1,
        xloadflags: XLF_KERNEL_64,
        pref_address: 16 * MIB,
        init_size: size,
        cmdline_size: 100,
        initrd_addr_max: INITRD_LAST,
        ..Default::default()
    };
    let mut image = vec![0; 0x1f1];
    image.extend_from_slice(header.as_slice());
    image.resize(1024, 0);
    image.extend_from_slice(&[0xf4; 512]);
    image
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
        // A second load is what a reboot does.
        let first = images.load(&memory, reserved);
        let entry = images
            .load(&memory, reserved)
            .map_err(|error| error.to_string())?;
        assert_eq!(first, Ok(entry));
        Ok((memory, entry))
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
    let mut files = Files::new(&bzimage(MIB as u32));
    files.config.memory = 5 << 30;
    let images = Images::open(&files.config).unwrap();
    let map = images.memory_map(Range {
        base: layout::ECAM_BASE,
        size: MIB,
    });
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
    for (bytes, why) in [
        (Vec::new(), "not a kernel"),
        (vec![0; 100], "not a kernel"),
        (vec![0xff; 4096], "not a kernel"),
        (no_entry, "no 64-bit entry point"),
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
