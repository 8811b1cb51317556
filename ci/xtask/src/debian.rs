//! Programs and kernels from Debian's archive.
//!
//! What the machine has is used as it is. Anything else is downloaded with `apt-get download`,
//! which checks Debian's signatures, and unpacked below `target/debian`: nothing is ever
//! installed, so no root is needed and nobody's boot loader meets a test kernel.
//! Packages are pinned by name, not by version, because a point release removes the old version
//! from the mirrors; the versions in use are printed and kept in `target/debian/versions`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::console::{Paint, Progress, line};
use crate::kernel::Kernel;
use crate::process::output;

/// The unpacked packages.
#[derive(Clone, Debug)]
pub struct Debian {
    prefix: PathBuf,
}

/// A program that may live below an unpacked prefix, with its libraries.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where the executable is.
    pub path: PathBuf,
    prefix: Option<PathBuf>,
}

impl Debian {
    /// Uses `target/debian` for whatever the machine does not have.
    pub fn new(target: &Path) -> Self {
        Self {
            prefix: target.join("debian"),
        }
    }

    /// The program called `name`: the machine's, else an unpacked one, downloaded if need be.
    pub fn program(&self, name: &str) -> Result<Program> {
        if let Some(path) = find(Path::new("/"), name) {
            return Ok(Program { path, prefix: None });
        }
        if find(&self.prefix, name).is_none() {
            self.fetch(package_of(name)?)?;
        }
        let path = find(&self.prefix, name).with_context(|| {
            format!(
                "package {} has no program {name}",
                package_of(name).unwrap_or("")
            )
        })?;
        Ok(Program {
            path,
            prefix: Some(self.prefix.clone()),
        })
    }

    /// Debian's stock kernel with its modules, never the one of the running machine.
    pub fn kernel(&self) -> Result<Kernel> {
        if let Some(kernel) = Kernel::find(&self.prefix)? {
            return Ok(kernel);
        }
        let depends = apt(Command::new("apt-cache").args(["depends", KERNEL]))?;
        let package = depends
            .lines()
            .find_map(|line| {
                line.trim()
                    .strip_prefix("Depends: ")
                    .filter(|name| name.starts_with("linux-image-"))
            })
            .with_context(|| format!("apt-cache names no kernel image for {KERNEL}"))?;
        self.unpack(&[package.to_owned()])?;
        Kernel::find(&self.prefix)?.with_context(|| format!("package {package} holds no kernel"))
    }

    /// Unpacks `package` and every dependency that is not installed on the machine.
    fn fetch(&self, package: &str) -> Result<()> {
        let plan = apt(Command::new("apt-get").args([
            "-s",
            "install",
            "--no-install-recommends",
            package,
        ]))?;
        let packages: Vec<_> = plan
            .lines()
            .filter_map(|line| {
                line.strip_prefix("Inst ")?
                    .split(' ')
                    .next()
                    .map(str::to_owned)
            })
            .collect();
        self.unpack(&packages)
    }

    fn unpack(&self, packages: &[String]) -> Result<()> {
        let archives = self.prefix.join("archives");
        fs::create_dir_all(&archives)?;
        let _progress = Progress::start(format!("downloading {}", packages.join(" ")));
        let mut download = Command::new("apt-get");
        download
            .current_dir(&archives)
            .args(["-q", "-o", "APT::Sandbox::User=root", "download"]);
        apt(download.args(packages))?;
        for entry in fs::read_dir(&archives)? {
            self.unpack_archive(&entry?.path())?;
        }
        Ok(fs::remove_dir_all(&archives)?)
    }

    fn unpack_archive(&self, archive: &Path) -> Result<()> {
        let version = output(Command::new("dpkg-deb").arg("-W").arg(archive))?;
        output(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(archive)
                .arg(&self.prefix),
        )?;
        let mut versions = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.prefix.join("versions"))?;
        versions.write_all(version.as_bytes())?;
        line(Paint::Faint.on(format!("  unpacked {}", version.trim().replace('\t', " "))));
        Ok(())
    }
}

impl Program {
    /// The program at `path`, unpacked or not, with the libraries next to it.
    pub fn at(path: &Path) -> Self {
        let tree = path.ancestors().nth(3);
        let unpacked = tree.filter(|tree| {
            let directories = PROGRAM_DIRECTORIES.iter();
            tree.parent().is_some()
                && directories
                    .map(|directory| tree.join(directory))
                    .any(|directory| path.starts_with(directory))
        });
        Self {
            path: path.to_owned(),
            prefix: unpacked.map(Path::to_owned),
        }
    }

    /// A command that runs the program with the libraries it was unpacked with.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = self.libraries() {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// The shared libraries the program is loaded with, by their full paths.
    pub fn shared_libraries(&self) -> Result<Vec<PathBuf>> {
        let mut ldd = Command::new("ldd");
        if let Some(libraries) = self.libraries() {
            ldd.env("LD_LIBRARY_PATH", libraries);
        }
        let listing = output(ldd.arg(&self.path))?;
        if let Some(missing) = listing.lines().find(|line| line.contains("not found")) {
            bail!("{}: {}", self.path.display(), missing.trim());
        }
        Ok(listing
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from)
            .collect())
    }

    fn libraries(&self) -> Option<String> {
        let prefix = self.prefix.as_ref()?.display();
        Some(
            LIBRARIES
                .map(|directory| format!("{prefix}/{directory}"))
                .join(":"),
        )
    }
}

/// Runs an apt command; as root with no package lists yet (a fresh container), fetches them first.
fn apt(command: &mut Command) -> Result<String> {
    let first = output(command);
    if first.is_ok() || rustix::process::geteuid().as_raw() != 0 {
        return first
            .context("this needs Debian's package tools and up-to-date lists (apt-get update)");
    }
    let _progress = Progress::start("apt-get update");
    output(Command::new("apt-get").args(["-q", "update"]))?;
    output(command)
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
const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("fio", "fio"),
    ("rngtest", "rng-tools5"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
];
/// The kernel with every driver: the cloud flavour lacks 9p.
const KERNEL: &str = "linux-image-amd64";
const PROGRAM_DIRECTORIES: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];
const LIBRARIES: [&str; 4] = [
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/pulseaudio",
    "usr/lib/x86_64-linux-gnu/ceph",
];
