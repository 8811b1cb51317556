//! What an s390x guest boots: Debian's kernel as it is, and an initramfs that is all of its file
//! system, with busybox, a few tools and their libraries, modules and scenarios.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

use crate::console::{Progress, line};
use crate::cpio::Archive;
use crate::debian::{Debian, Program};
use crate::guest::image::{Image, SCRIPTS};
use crate::kernel::Kernel;

/// Gets what is in all images from Debian, unless it is there.
pub(super) fn get_programs(debian: &Debian) -> Result<()> {
    let mut programs = TOOLS.iter().chain(&[BUSYBOX]);
    programs.try_for_each(|name| debian.program(name).map(drop))
}

/// Makes the image of `kernel` below `guests`, or takes the one of an earlier run with the same
/// contents.
pub(super) fn build(debian: &Debian, kernel: &Kernel, guests: &Path) -> Result<Image> {
    line(format_args!(
        "an s390x guest is Debian's kernel {}",
        kernel.release
    ));
    let directory = guests.join(format!("s390x-{:016x}", key(debian, kernel)));
    if !directory.is_dir() {
        let _progress = Progress::start("making the s390x guest's file system");
        let unfinished = directory.with_extension("unfinished");
        fs::create_dir_all(&unfinished)?;
        fs::copy(&kernel.image, unfinished.join("vmlinuz"))?;
        fs::write(
            unfinished.join("initramfs.cpio"),
            initramfs(debian, kernel)?,
        )?;
        fs::rename(&unfinished, &directory)?;
    }
    Ok(Image::open(&directory))
}

/// Changes with any content.
fn key(debian: &Debian, kernel: &Kernel) -> u64 {
    let mut hasher = DefaultHasher::new();
    (
        &kernel.release,
        debian.lock(),
        SCRIPTS,
        INIT,
        TOOLS,
        MODULES,
    )
        .hash(&mut hasher);
    hasher.finish()
}

fn initramfs(debian: &Debian, kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.file("init", INIT.as_bytes());
    let busybox = debian.program(BUSYBOX)?;
    archive.file("bin/busybox", &fs::read(&busybox.path)?);
    archive.link("bin/sh", "busybox");
    add_tools(&mut archive, debian)?;
    for (path, text) in SCRIPTS {
        archive.file(path, text.as_bytes());
    }
    let mut order = String::new();
    for module in kernel.load_order(MODULES)? {
        order.push_str(&format!("{}\n", module.name));
        archive.file(&format!("modules/{}.ko", module.name), &module.object);
    }
    archive.file("modules/order", order.as_bytes());
    Ok(archive.finish())
}

/// Tools to `bin`, their libraries, each once, to where the loader looks by itself.
fn add_tools(archive: &mut Archive, debian: &Debian) -> Result<()> {
    let tools = TOOLS.iter().map(|name| debian.program(name));
    let tools: Vec<Program> = tools.collect::<Result<_>>()?;
    let mut libraries = Vec::new();
    for tool in &tools {
        let name = name(&tool.path)?;
        archive.file(&format!("bin/{name}"), &fs::read(&tool.path)?);
        libraries.extend(tool.foreign_libraries()?);
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        let name = name(&library)?;
        let directory = if name == LOADER { "lib" } else { LIBRARIES };
        archive.file(&format!("{directory}/{name}"), &fs::read(&library)?);
    }
    Ok(())
}

fn name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.with_context(|| format!("{}: no name", path.display()))
}

const INIT: &str = include_str!("../../../guest/s390x-init.sh");
const BUSYBOX: &str = "busybox";
const TOOLS: &[&str] = &["fio", "getfattr", "rngtest", "setfattr"];
const MODULES: &[&str] = &[
    "9p",
    "9pnet_virtio",
    "sd_mod",
    "virtio_balloon",
    "virtio_blk",
    "virtio_console",
    "virtio_net",
    "virtio_rng",
    "virtio_scsi",
];
const LOADER: &str = "ld64.so.1";
const LIBRARIES: &str = "lib/s390x-linux-gnu";
const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "lib",
    LIBRARIES,
    "mnt",
    "modules",
    "proc",
    "root",
    "run",
    "sbin",
    "scenarios",
    "sys",
    "tmp",
];
