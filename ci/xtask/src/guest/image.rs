//! What a guest boots: Debian's kernel as it is, an initramfs that finds the root file system, and
//! that file system, ext4, composed of busybox, a few tools with their libraries, and our scripts.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::console::{Progress, line};
use crate::cpio::Archive;
use crate::debian::{Debian, Program};
use crate::kernel::{Kernel, Module};
use crate::process::output;

/// The files a guest is started from, in one directory.
#[derive(Clone, Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// Builds the files for `kernel` in a directory below `guests` whose name begins with `name`, or
    /// takes those of an earlier run with the same contents.
    pub fn build(debian: &Debian, kernel: Kernel, guests: &Path, name: &str) -> Result<Self> {
        let parts = Parts::collect(debian, kernel)?;
        let directory = guests.join(format!("{name}-{:016x}", parts.key()));
        if !directory.is_dir() {
            let _progress = Progress::start("making the guest's root file system");
            remove_others(guests, name)?;
            let unfinished = directory.with_extension("unfinished");
            parts.write(debian, &unfinished)?;
            fs::rename(&unfinished, &directory)?;
        }
        line(format_args!(
            "a guest is Debian's kernel {}",
            parts.kernel.release
        ));
        Ok(Self { directory })
    }

    /// An image that an earlier [`Image::build`] made.
    pub fn open(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The bzImage.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The ELF image that is in the bzImage.
    pub fn uncompressed_kernel(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The initramfs.
    pub fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs.cpio")
    }

    /// The root file system; to be copied, never to be used itself.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root.ext4")
    }
}

/// Everything that goes in.
struct Parts {
    kernel: Kernel,
    busybox: Program,
    tools: Vec<Program>,
    early: Vec<Module>,
    late: Vec<Module>,
    /// Those that file systems over 9P take.
    share: Vec<Module>,
    /// Those that a scenario loads for itself.
    btrfs: Vec<Module>,
}

impl Parts {
    fn collect(debian: &Debian, kernel: Kernel) -> Result<Self> {
        let mut first = EARLY.to_vec();
        first.retain(|name| *name != CRC32C || kernel.has(name));
        let (early, all) = (
            kernel.load_order(&first)?,
            kernel.load_order(&[&first, LATE].concat())?,
        );
        let btrfs = kernel.load_order(&[&first, LATE, &["btrfs"]].concat())?;
        let btrfs = btrfs.into_iter().skip(all.len()).collect();
        let late = all.into_iter().skip(early.len()).collect();
        let share = kernel.load_order(SHARE)?;
        let tools = TOOLS
            .iter()
            .map(|name| debian.program(name))
            .collect::<Result<_>>()?;
        Ok(Self {
            busybox: debian.program("busybox")?,
            kernel,
            tools,
            early,
            late,
            share,
            btrfs,
        })
    }

    /// A number that changes with any content.
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.kernel.release, SCRIPTS, INITRAMFS_INIT, LAYOUT).hash(&mut hasher);
        for program in self.tools.iter().chain([&self.busybox]) {
            let metadata = fs::metadata(&program.path);
            (
                &program.path,
                metadata.and_then(|data| data.modified()).ok(),
            )
                .hash(&mut hasher);
        }
        hasher.finish()
    }

    fn write(&self, debian: &Debian, directory: &Path) -> Result<()> {
        let tree = directory.join("tree");
        fs::create_dir_all(&tree)?;
        fs::copy(&self.kernel.image, directory.join("vmlinuz"))?;
        let uncompressed = self.kernel.uncompressed(debian)?;
        fs::write(directory.join("vmlinux"), uncompressed)?;
        fs::write(directory.join("initramfs.cpio"), self.initramfs()?)?;
        self.populate(&tree)?;
        let image = directory.join("root.ext4");
        let mut mke2fs = debian.program("mke2fs")?.command();
        mke2fs.args([
            "-q",
            "-t",
            "ext4",
            "-L",
            "root",
            "-E",
            "root_owner=0:0",
            "-d",
        ]);
        output(mke2fs.arg(&tree).arg(&image).arg(ROOT_SIZE))?;
        Ok(fs::remove_dir_all(&tree)?)
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new();
        for directory in ["bin", "dev", "etc", "modules", "proc", "root", "sys"] {
            archive.directory(directory);
        }
        archive
            .link("bin/sh", "busybox")
            .file("etc/fstab", FSTAB.as_bytes());
        archive
            .file("bin/busybox", &fs::read(&self.busybox.path)?)
            .file("init", INITRAMFS_INIT.as_bytes());
        for module in self.early.iter().chain(&self.share) {
            archive.file(&format!("modules/{}.ko", module.name), &module.object);
        }
        archive.file("modules/order", names(&self.early).as_bytes());
        archive.file("modules/order.9p", names(&self.share).as_bytes());
        Ok(archive.finish())
    }

    fn populate(&self, tree: &Path) -> Result<()> {
        for directory in DIRECTORIES {
            fs::create_dir_all(tree.join(directory))?;
        }
        self.populate_busybox(&tree.join("bin"))?;
        for tool in &self.tools {
            copy_program(tool, tree)?;
        }
        for (path, text) in SCRIPTS {
            write_executable(&tree.join(path), text.as_bytes())?;
        }
        let modules = tree.join("modules");
        for module in self.late.iter().chain(&self.share).chain(&self.btrfs) {
            fs::write(modules.join(format!("{}.ko", module.name)), &module.object)?;
        }
        for (name, order) in [
            ("order.9p", &self.share),
            ("order.btrfs", &self.btrfs),
            ("order", &self.late),
        ] {
            fs::write(modules.join(name), names(order))?;
        }
        Ok(())
    }

    fn populate_busybox(&self, bin: &Path) -> Result<()> {
        write_executable(&bin.join("busybox"), &fs::read(&self.busybox.path)?)?;
        let applets = output(Command::new(&self.busybox.path).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", bin.join(applet))?;
        }
        Ok(())
    }
}

/// Images of earlier versions, finished or not.
fn remove_others(guests: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(guests)?;
    for entry in fs::read_dir(guests)? {
        let entry = entry?;
        let found = entry.file_name();
        if found.to_string_lossy().starts_with(&format!("{name}-")) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The program to `/bin`, its libraries to the loader's default directory.
pub(super) fn copy_program(program: &Program, tree: &Path) -> Result<()> {
    let name = |path: &Path| {
        path.file_name()
            .map(PathBuf::from)
            .context("a file without a name")
    };
    let destination = tree.join("bin").join(name(&program.path)?);
    let _ = fs::remove_file(&destination);
    fs::copy(&program.path, destination)?;
    for library in program.shared_libraries()? {
        let file = name(&library)?;
        let loader = file.to_string_lossy().starts_with("ld-linux");
        fs::copy(
            &library,
            tree.join(if loader { "lib64" } else { LIBRARIES })
                .join(file),
        )?;
    }
    Ok(())
}

fn write_executable(path: &Path, contents: &[u8]) -> Result<()> {
    fs::write(path, contents)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

fn names(modules: &[Module]) -> String {
    modules
        .iter()
        .map(|module| format!("{}\n", module.name))
        .collect()
}

/// To be raised when this file changes what it makes from equal parts.
const LAYOUT: u32 = 7;
/// Enough for the tests; sparse, so it costs nothing.
const ROOT_SIZE: &str = "192M";
const TOOLS: &[&str] = &[
    "blkdiscard",
    "blkzone",
    "ethtool",
    "fallocate",
    "fio",
    "iperf3",
    "mke2fs",
    "mkfs.btrfs",
    "rngtest",
    "sg_inq",
    "sg_luns",
    "sg_modes",
    "sg_opcodes",
    "sg_persist",
    "sg_readcap",
    "sg_reset",
    "sg_start",
    "sg_turs",
    "sg_unmap",
    "sg_verify",
    "sg_vpd",
];
/// Loaded before the root file system is there, in this order.
const EARLY: &[&str] = &["virtio_pci", "virtio_mmio", "virtio_blk", CRC32C, "ext4"];
/// What ext4 asks for by name alone. Kernels from 6.15 on have it elsewhere.
const CRC32C: &str = "crc32c_generic";
/// Loaded where the root file system is one over 9P.
const SHARE: &[&str] = &["9pnet_virtio", "9p"];
/// Loaded after it.
const LATE: &[&str] = &[
    "virtio_balloon",
    "virtio_console",
    "virtio_rng",
    "virtio_net",
    "8021q",
    "button",
    "evdev",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "sg",
];
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    LIBRARIES,
    "lib64",
    "mnt",
    "modules",
    "proc",
    "run",
    "sbin",
    "scenarios",
    "sys",
    "tmp",
    "root",
];
/// What the initramfs mounts.
const FSTAB: &str = "proc /proc proc defaults 0 0\n\
    sysfs /sys sysfs defaults 0 0\n\
    devtmpfs /dev devtmpfs defaults 0 0\n";
const INITRAMFS_INIT: &str = include_str!("../../guest/initramfs-init.sh");
/// One script for both ways of it.
const HOTPLUG: &str = include_str!("../../guest/hotplug.sh");
pub(super) const SCRIPTS: &[(&str, &str)] = &[
    ("sbin/init", include_str!("../../guest/init.sh")),
    ("scenarios/lib.sh", include_str!("../../guest/lib.sh")),
    ("scenarios/pulse.sh", include_str!("../../guest/pulse.sh")),
    ("scenarios/demo.sh", include_str!("../../guest/demo.sh")),
    ("scenarios/bench.sh", include_str!("../../guest/bench.sh")),
    ("scenarios/root.sh", include_str!("../../guest/root.sh")),
    ("scenarios/fio.sh", include_str!("../../guest/fio.sh")),
    ("scenarios/blk.sh", include_str!("../../guest/blk.sh")),
    ("scenarios/rng.sh", include_str!("../../guest/rng.sh")),
    ("scenarios/host.sh", include_str!("../../guest/host.sh")),
    ("scenarios/hub.sh", include_str!("../../guest/hub.sh")),
    ("scenarios/kaslr.sh", include_str!("../../guest/kaslr.sh")),
    ("scenarios/scsi.sh", include_str!("../../guest/scsi.sh")),
    (
        "scenarios/scsi-units.sh",
        include_str!("../../guest/scsi-units.sh"),
    ),
    (
        "scenarios/console.sh",
        include_str!("../../guest/console.sh"),
    ),
    ("scenarios/port.sh", include_str!("../../guest/port.sh")),
    ("scenarios/rebind.sh", include_str!("../../guest/rebind.sh")),
    ("scenarios/reboot.sh", include_str!("../../guest/reboot.sh")),
    ("scenarios/kill.sh", include_str!("../../guest/kill.sh")),
    ("scenarios/net.sh", include_str!("../../guest/net.sh")),
    (
        "scenarios/balloon.sh",
        include_str!("../../guest/balloon.sh"),
    ),
    (
        "scenarios/balloon-reporting.sh",
        include_str!("../../guest/balloon.sh"),
    ),
    ("scenarios/erase.sh", include_str!("../../guest/erase.sh")),
    ("scenarios/ends.sh", include_str!("../../guest/ends.sh")),
    ("scenarios/hotplug-acpi.sh", HOTPLUG),
    ("scenarios/hotplug-native.sh", HOTPLUG),
    (
        "scenarios/monitor.sh",
        include_str!("../../guest/monitor.sh"),
    ),
    ("scenarios/mount.sh", include_str!("../../guest/mount.sh")),
    (
        "scenarios/interrupts.sh",
        include_str!("../../guest/interrupts.sh"),
    ),
    ("scenarios/online.sh", include_str!("../../guest/online.sh")),
    ("scenarios/plug.sh", include_str!("../../guest/plug.sh")),
    (
        "scenarios/restart.sh",
        include_str!("../../guest/restart.sh"),
    ),
    ("scenarios/share.sh", include_str!("../../guest/share.sh")),
    ("scenarios/view.sh", include_str!("../../guest/view.sh")),
    ("scenarios/zoned.sh", include_str!("../../guest/zoned.sh")),
    ("scenarios/zones.sh", include_str!("../../guest/zones.sh")),
];
