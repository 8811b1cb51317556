//! One virtual machine, in the words of QEMU's command line, which mini-vmm shares.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::Program;
use crate::guest::image::Image;
use crate::guest::scenario::in_l1;

/// A program that runs virtual machines.
#[derive(Clone, Debug)]
pub struct Vmm {
    program: Program,
    kind: Kind,
    /// Of x86 guests.
    cpu: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Mini,
    Qemu,
    /// Our devices for an s390x guest; the bridge that brings its instructions to them.
    CcwHost {
        host: PathBuf,
        bridge: PathBuf,
    },
    /// QEMU's own devices for an s390x guest.
    QemuS390x,
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

    /// Devices of this workspace for s390x guests that `qemu` emulates: ccw-host and the bridge.
    pub fn ccw_host(qemu: Program, host: &Path, bridge: &Path) -> Self {
        Self {
            program: qemu,
            kind: Kind::CcwHost {
                host: host.to_owned(),
                bridge: bridge.to_owned(),
            },
            cpu: String::new(),
        }
    }

    /// QEMU for s390x guests, with its own devices.
    pub fn qemu_s390x(qemu: Program) -> Self {
        Self {
            program: qemu,
            kind: Kind::QemuS390x,
            cpu: String::new(),
        }
    }

    /// QEMU with its own devices, to compare with, where it is known.
    pub fn beside(&self) -> Option<Self> {
        let known = matches!(self.kind, Kind::CcwHost { .. });
        known.then(|| Self::qemu_s390x(self.program.clone()))
    }

    /// Whether it takes devices on virtio-mmio. QEMU's q35 machine does not.
    pub fn has_mmio(&self) -> bool {
        self.kind == Kind::Mini
    }

    /// Whether the devices are those of this workspace.
    pub fn is_ours(&self) -> bool {
        !matches!(self.kind, Kind::Qemu | Kind::QemuS390x)
    }

    /// How names of devices end on the machine's main bus.
    pub fn bus(&self) -> &'static str {
        match self.kind {
            Kind::Mini | Kind::Qemu => "pci",
            Kind::CcwHost { .. } | Kind::QemuS390x => "ccw",
        }
    }

    /// A short name for tables.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Mini => "mini-vmm",
            Kind::CcwHost { .. } => "ccw-host",
            Kind::Qemu | Kind::QemuS390x => "qemu",
        }
    }

    fn command(&self) -> Command {
        let mut command = self.program.command();
        match &self.kind {
            Kind::Mini => {
                command.args(["-cpu", &self.cpu]);
            }
            Kind::Qemu => {
                command.args(["-cpu", &self.cpu, "-M", "q35", "-accel", "kvm"]);
                command.args(["-nodefaults", "-display", "none"]);
            }
            Kind::QemuS390x => {
                command.args(["-M", "s390-ccw-virtio", "-nodefaults", "-display", "none"]);
            }
            Kind::CcwHost { host, bridge } => {
                command = self.program.command_for(host);
                command.arg("-qemu").arg(&self.program.path);
                command.arg("-bridge").arg(bridge);
            }
        }
        command
    }

    fn command_line(&self) -> &'static str {
        match self.bus() {
            "ccw" => COMMAND_LINE_S390X,
            _ => COMMAND_LINE,
        }
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
    /// Whether scenarios are to do all that they can: one level down they leave out what takes minutes
    /// there, unless the user asks for it.
    pub full: bool,
    kernel: PathBuf,
    image: Image,
    arguments: Vec<String>,
    parameters: Vec<String>,
}

impl Machine {
    /// A machine with a root disk (options as in [`Machine::disk`]), where the image has one, and
    /// nothing else, in a fresh `directory`.
    pub fn new(vmm: &Vmm, image: &Image, directory: &Path, root: &str) -> Result<Self> {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)?;
        let mut machine = Self {
            directory: directory.to_owned(),
            vmm: vmm.clone(),
            processors: 2,
            reboots: false,
            full: !in_l1(),
            kernel: image.kernel(),
            image: image.clone(),
            arguments: Vec::new(),
            parameters: Vec::new(),
        };
        if image.root().exists() {
            copy_sparsely(&image.root(), &machine.file("root"))?;
            machine.drive(root, "root", &machine.file("root"), "");
        }
        machine.parameter(&format!("bus={}", vmm.bus()));
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

    /// The name of the virtio device of some kind, `rng` say, on the machine's main bus.
    pub fn virtio(&self, kind: &str) -> String {
        format!("virtio-{kind}-{}", self.vmm.bus())
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

    /// Has the VMM listen for commands of QEMU's monitor, on the socket called `name`.
    pub fn monitor(&mut self, name: &str) {
        let path = self.file(name).display().to_string();
        let listens = if self.vmm.is_ours() {
            ""
        } else {
            ",server=on,wait=off"
        };
        self.option("-monitor", &format!("unix:{path}{listens}"));
    }

    /// Has the VMM listen for a QMP client, on the socket called `name`.
    pub fn monitor_qmp(&mut self, name: &str) {
        let path = self.file(name).display().to_string();
        self.option("-qmp", &format!("unix:{path},server=on,wait=off"));
    }

    /// Has the VMM load the kernel without its decompressor, where the image has it so: it takes seconds
    /// where processors are emulated.
    pub fn load_uncompressed(&mut self) {
        let kernel = self.image.uncompressed_kernel();
        if kernel.exists() {
            self.kernel = kernel;
        }
    }

    /// Has the VMM load the bzImage as it is, as it does unless something else is said.
    pub fn load_bzimage(&mut self) {
        self.kernel = self.image.kernel();
    }

    /// Has the kernel unpack itself, whatever the VMM can do.
    pub fn leave_packed(&mut self) {
        if self.vmm.kind == Kind::Mini {
            self.option("-machine", "q35,kernel-store=off");
        }
    }

    /// Has one processor one level down, for what does not depend on their number: more are slower there,
    /// and now and then the emulated SVM stops one of them for good, or ends the guest in a triple fault.
    pub fn spare_processors(&mut self) {
        if in_l1() {
            self.processors = 1;
        }
    }

    /// Adds a word to the kernel's command line.
    pub fn parameter(&mut self, word: &str) {
        self.parameters.push(word.to_owned());
    }

    /// Attaches the disk image in `file`; `how` is options of `-drive`, each with a comma after it.
    pub fn drive(&mut self, device: &str, serial: &str, file: &Path, how: &str) {
        self.drive_only(serial, file, how);
        self.device(&format!("{device},drive={serial},serial={serial}"));
    }

    /// The same without a device, which may come later, under the name `id`.
    pub fn drive_only(&mut self, id: &str, file: &Path, how: &str) {
        let path = file.display();
        self.option(
            "-drive",
            &format!("id={id},file={path},{how}format=raw,if=none"),
        );
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
            .arg(&self.kernel)
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
        command.arg("-append").arg(format!(
            "{} {}",
            self.vmm.command_line(),
            self.parameters.join(" ")
        ));
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
/// What costs seconds under emulation, and no device takes part in, is off here as well.
const COMMAND_LINE_S390X: &str =
    "console=ttysclp0 quiet loglevel=3 panic=-1 cryptomgr.notests lsm= audit=0";
