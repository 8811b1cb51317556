//! Programs and kernels from Debian's archive.
//!
//! What the machine has is used as it is. Anything else is downloaded with `apt-get download`,
//! which checks Debian's signatures, and unpacked below `target/debian`: nothing is ever
//! installed, so no root is needed and nobody's boot loader meets a test kernel.
//! Packages are pinned by name, not by version, because a point release removes the old version
//! from the mirrors. The versions in use are printed, and `target/debian/lock` pins each archive
//! that was kept by its SHA-256: what does not match any more is fetched anew.

mod apt;
mod program;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::console::{Paint, line};
use crate::kernel::Kernel;
use crate::process::output;
use apt::Apt;
pub use program::Program;

/// Packages of one architecture, unpacked when they are needed.
#[derive(Clone, Debug)]
pub struct Debian {
    prefix: PathBuf,
    apt: Apt,
    machine: Machine,
}

/// Whose packages these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    /// This machine's, which has some of them installed.
    Own,
    /// An s390x guest's.
    S390x,
}

impl Debian {
    /// Uses `target/debian` for whatever the machine does not have.
    pub fn new(target: &Path) -> Self {
        Self {
            prefix: target.join("debian"),
            apt: Apt::own(),
            machine: Machine::Own,
        }
    }

    /// Packages for s390x guests, in `target/debian-s390x`.
    pub fn s390x(target: &Path) -> Result<Self> {
        Self::with_lists(target.join("debian-s390x"), "s390x", Machine::S390x)
    }

    /// Debian's newest packages for this machine, in `target/debian-newest`.
    pub fn newest(target: &Path) -> Result<Self> {
        Self::with_lists(target.join("debian-newest"), "amd64", Machine::Own)
    }

    fn with_lists(prefix: PathBuf, architecture: &str, machine: Machine) -> Result<Self> {
        check_lock(&prefix)?;
        Ok(Self {
            apt: Apt::foreign(architecture, &prefix.join("apt"))?,
            prefix,
            machine,
        })
    }

    /// The program called `name`: the machine's, else an unpacked one, downloaded if need be.
    pub fn program(&self, name: &str) -> Result<Program> {
        let installed = find(Path::new("/"), name).filter(|_| self.machine == Machine::Own);
        if let Some(path) = installed {
            return Ok(Program::installed(path));
        }
        let package = package_of(name)?;
        if find(&self.prefix, name).is_none() {
            self.fetch(package)?;
        }
        let path = find(&self.prefix, name)
            .with_context(|| format!("package {package} has no program {name}"))?;
        Ok(Program::unpacked(path, &self.prefix))
    }

    /// Debian's stock kernel with its modules, never the one of the running machine.
    pub fn kernel(&self) -> Result<Kernel> {
        self.kernel_where(|_| true, || self.image("linux-image-amd64"))
    }

    /// The long-term kernel for s390x.
    pub fn long_term_kernel(&self) -> Result<Kernel> {
        self.kernel_where(is_long_term, || {
            let names = self.apt.names(&format!("{IMAGE}{LONG_TERM}"))?;
            let images = names.into_iter().filter(|name| name.ends_with("-s390x"));
            images
                .max()
                .with_context(|| format!("no suite has a kernel {LONG_TERM}"))
        })
    }

    /// The newest kernel for s390x.
    pub fn newest_kernel(&self) -> Result<Kernel> {
        self.kernel_where(
            |release| !is_long_term(release),
            || self.image("linux-image-s390x"),
        )
    }

    /// What pins the packages in use.
    pub fn lock(&self) -> String {
        fs::read_to_string(self.prefix.join(LOCK)).unwrap_or_default()
    }

    /// The unpacked kernel whose release is `wanted`, else the one in the package called `image`.
    fn kernel_where(
        &self,
        wanted: impl Fn(&str) -> bool,
        image: impl FnOnce() -> Result<String>,
    ) -> Result<Kernel> {
        if let Some(kernel) = Kernel::find(&self.prefix, &wanted)? {
            return Ok(kernel);
        }
        let package = image()?;
        self.unpack(&self.parts(&package)?)?;
        Kernel::find(&self.prefix, &wanted)?
            .with_context(|| format!("package {package} holds no kernel"))
    }

    /// The image that the package `meta` stands for.
    fn image(&self, meta: &str) -> Result<String> {
        let mut depends = self.apt.dependencies(meta)?.into_iter();
        depends
            .find(|name| name.starts_with(IMAGE))
            .with_context(|| format!("apt-cache names no kernel image for {meta}"))
    }

    /// The image and what newer releases of Debian have put beside it: binary and modules.
    fn parts(&self, image: &str) -> Result<Vec<String>> {
        let release = image.strip_prefix(IMAGE).unwrap_or(image);
        let mut parts = self.apt.dependencies(image)?;
        parts.retain(|name| name.starts_with("linux-") && name.ends_with(release));
        parts.push(image.to_owned());
        Ok(parts)
    }

    /// Unpacks `package` and every dependency that is not installed on the machine. Where the
    /// closure would be a whole system, libraries are enough.
    fn fetch(&self, package: &str) -> Result<()> {
        let mut packages = self.apt.closure(package)?;
        if self.machine != Machine::Own {
            packages.retain(|name| name == package || name.contains("lib"));
        }
        self.unpack(&packages)
    }

    fn unpack(&self, packages: &[String]) -> Result<()> {
        let (fresh, kept) = (self.prefix.join("unfinished"), self.prefix.join(ARCHIVES));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh)?;
        fs::create_dir_all(&kept)?;
        self.apt.download(packages, &fresh)?;
        for entry in fs::read_dir(&fresh)? {
            let archive = entry?.path();
            self.unpack_archive(&archive)?;
            fs::rename(&archive, kept.join(archive.file_name().unwrap_or_default()))?;
        }
        fs::remove_dir_all(&fresh)?;
        write_lock(&self.prefix)
    }

    fn unpack_archive(&self, archive: &Path) -> Result<()> {
        let version = output(Command::new("dpkg-deb").arg("-W").arg(archive))?;
        let mut unpack = Command::new("dpkg-deb");
        output(unpack.arg("-x").arg(archive).arg(&self.prefix))?;
        line(Paint::Faint.on(format!("  unpacked {}", version.trim().replace('\t', " "))));
        Ok(())
    }
}

/// Throws away what was unpacked from archives that are not the ones of the lock.
fn check_lock(prefix: &Path) -> Result<()> {
    if !prefix.join(LOCK).exists() {
        return Ok(());
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--quiet", LOCK]).current_dir(prefix);
    if let Err(error) = output(&mut check) {
        line(format_args!(
            "{}: {error:#}; fetching anew",
            prefix.display()
        ));
        fs::remove_dir_all(prefix)?;
    }
    Ok(())
}

/// The archives kept, in the form of `sha256sum`.
fn write_lock(prefix: &Path) -> Result<()> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(prefix.join(ARCHIVES))? {
        archives.push(Path::new(ARCHIVES).join(entry?.file_name()));
    }
    archives.sort();
    let sums = output(
        Command::new("sha256sum")
            .args(&archives)
            .current_dir(prefix),
    )?;
    let mut lock = fs::File::create(prefix.join(LOCK))?;
    Ok(lock.write_all(sums.as_bytes())?)
}

fn is_long_term(release: &str) -> bool {
    release.starts_with(LONG_TERM)
}

fn find(root: &Path, program: &str) -> Option<PathBuf> {
    PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| root.join(directory).join(program))
        .find(|path| path.is_file())
}

fn package_of(program: &str) -> Result<&'static str> {
    PROGRAMS
        .iter()
        .find_map(|(name, package)| (*name == program).then_some(*package))
        .with_context(|| format!("no package is known for the program {program}"))
}

/// Which package brings which program.
const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-system-s390x", "qemu-system-s390x"),
    ("busybox", "busybox-static"),
    ("blkdiscard", "util-linux"),
    ("blkzone", "util-linux"),
    ("fallocate", "util-linux"),
    ("fio", "fio"),
    ("rngtest", "rng-tools5"),
    ("ethtool", "ethtool"),
    ("iperf3", "iperf3"),
    ("ip", "iproute2"),
    ("passt", "passt"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("qemu-img", "qemu-utils"),
    ("sg_inq", "sg3-utils"),
    ("sg_luns", "sg3-utils"),
    ("sg_modes", "sg3-utils"),
    ("sg_opcodes", "sg3-utils"),
    ("sg_persist", "sg3-utils"),
    ("sg_readcap", "sg3-utils"),
    ("sg_reset", "sg3-utils"),
    ("sg_start", "sg3-utils"),
    ("sg_turs", "sg3-utils"),
    ("sg_unmap", "sg3-utils"),
    ("sg_verify", "sg3-utils"),
    ("sg_vpd", "sg3-utils"),
    ("git", "git"),
    ("rsync", "rsync"),
    ("flock", "util-linux"),
    ("stress-ng", "stress-ng"),
    ("setfattr", "attr"),
    ("getfattr", "attr"),
];
const IMAGE: &str = "linux-image-";
/// The series that s390x guests run besides the newest one.
const LONG_TERM: &str = "6.12.";
const PROGRAM_DIRECTORIES: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];
const ARCHIVES: &str = "archives";
const LOCK: &str = "lock";
