//! One virtual machine, in the words of QEMU's command line, which mini-vmm shares.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::Program;
use crate::guest::image::Image;

/// A program that runs virtual machines.
#[derive(Clone, Debug)]
pub struct Vmm {
    program: Program,
    kind: Kind,
    cpu: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mini,
    Qemu,
}

impl Vmm {
    /// Takes a path; a file name that starts with `qemu` is QEMU, any other one is mini-vmm.
    /// `cpu` is the CPU model of its guests, as `-cpu` has it.
    pub fn new(program: &Path, cpu: &str) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let kind = if name.starts_with("qemu") {
            Kind::Qemu
        } else {
            Kind::Mini
        };
        Self {
            program: Program::at(program),
            kind,
            cpu: cpu.to_owned(),
        }
    }

    /// Whether it takes devices on virtio-mmio. QEMU's q35 machine does not.
    pub fn has_mmio(&self) -> bool {
        self.kind == Kind::Mini
    }

    /// A short name for tables.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Mini => "mini-vmm",
            Kind::Qemu => "qemu",
        }
    }

    fn command(&self) -> Command {
        let mut command = self.program.command();
        command.args(["-cpu", &self.cpu]);
        if self.kind == Kind::Qemu {
            command.args([
                "-M",
                "q35",
                "-accel",
                "kvm",
                "-nodefaults",
                "-display",
                "none",
            ]);
        }
        command
    }
}

/// A virtual machine under description. All its files live in one directory.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where disks, sockets and logs are.
    pub directory: PathBuf,
    /// What runs it.
    pub vmm: Vmm,
    /// The number of processors.
    pub processors: u32,
    /// Whether a guest's wish to reboot ends the VMM.
    pub reboots: bool,
    image: Image,
    arguments: Vec<String>,
    parameters: Vec<String>,
    drives: u32,
}

impl Machine {
    /// A machine with a root disk (options as in [`Machine::disk`]) and nothing else, in a fresh `directory`.
    pub fn new(vmm: &Vmm, image: &Image, directory: &Path, root: &str) -> Result<Self> {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)?;
        let mut machine = Self {
            directory: directory.to_owned(),
            vmm: vmm.clone(),
            processors: 2,
            reboots: false,
            image: image.clone(),
            arguments: Vec::new(),
            parameters: Vec::new(),
            drives: 0,
        };
        copy_sparsely(&image.root(), &machine.file("root"))?;
        machine.drive(root, "root", &machine.file("root"), "");
        Ok(machine)
    }

    /// The file that belongs to the disk, socket or log called `name`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Attaches an empty disk of `size` bytes; `device` is a device type with options, and the
    /// guest finds the disk by `serial`, which is also the name of its file.
    pub fn disk(&mut self, device: &str, serial: &str, size: u64) -> Result<()> {
        File::create(self.file(serial))?.set_len(size)?;
        self.drive(device, serial, &self.file(serial), "");
        Ok(())
    }

    /// Adds a `-device`, once: scenarios may share a bus.
    pub fn device(&mut self, device: &str) {
        if !self.arguments.iter().any(|argument| argument == device) {
            self.option("-device", device);
        }
    }

    /// Adds a character device called `name` on a UNIX socket of the same name.
    pub fn socket(&mut self, name: &str) {
        let path = self.file(name).display().to_string();
        self.option(
            "-chardev",
            &format!("socket,id={name},path={path},server=on,wait=off"),
        );
    }

    /// Adds a word to the kernel's command line.
    pub fn parameter(&mut self, word: &str) {
        self.parameters.push(word.to_owned());
    }

    /// Attaches the disk image in `file`; `how` is options of `-drive`, each with a comma after it.
    pub fn drive(&mut self, device: &str, serial: &str, file: &Path, how: &str) {
        self.drives += 1;
        let (id, path) = (format!("drive{}", self.drives), file.display());
        self.option(
            "-drive",
            &format!("id={id},file={path},{how}format=raw,if=none"),
        );
        self.device(&format!("{device},drive={id},serial={serial}"));
    }

    /// Adds any other option.
    pub fn option(&mut self, name: &str, value: &str) {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
    }

    /// The command that starts the machine, the early console on standard output.
    pub fn command(&self) -> Command {
        let mut command = self.vmm.command();
        command
            .arg("-kernel")
            .arg(self.image.kernel())
            .arg("-initrd")
            .arg(self.image.initramfs());
        command.args([
            "-m",
            "512",
            "-smp",
            &self.processors.to_string(),
            "-serial",
            "stdio",
        ]);
        command
            .arg("-append")
            .arg(format!("{COMMAND_LINE} {}", self.parameters.join(" ")));
        if !self.reboots {
            command.arg("-no-reboot");
        }
        command.args(&self.arguments);
        command
    }
}

fn copy_sparsely(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .arg("--sparse=always")
        .arg(from)
        .arg(to)
        .status()
        .context("cannot start cp")?;
    if !status.success() {
        bail!("cannot copy {} to {}", from.display(), to.display());
    }
    Ok(())
}

/// The file of a machine's console log.
pub const LOG: &str = "console.log";
/// Mitigations are off in the guest because they cost minutes one level down, not because of us.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off";
