//! The command line, written as QEMU's users write it.
//!
//! [`parse`] turns arguments into a [`Config`] or into text to print, without touching the host:
//! files are opened later, and their errors name the option in the same way ([`BadOption`]).

mod blockdev;
mod chardev;
mod cpu;
mod datagram;
mod device;
mod drive;
mod error;
mod fsdev;
mod help;
mod keyval;
mod machine;
mod near;
mod netdev;
mod nic;
mod object;
mod table;
pub mod throttling;
mod unused;
mod values;
mod zoning;

use std::path::PathBuf;
use std::time::Duration;

pub use chardev::{ChardevKind, ChardevOptions, SocketOptions};
pub use cpu::{CpuOptions, Signature};
pub use datagram::DatagramOptions;
pub use device::DeviceOptions;
pub use drive::{Backing, Cache, DriveOptions, DriveSource, Place};
pub use error::BadOption;
pub use fsdev::{FsdevKind, FsdevOptions};
pub use keyval::{Key, KeyVals};
pub use machine::{Accel, KernelStore, MachineType};
pub use near::accepted as near_matches;
pub use netdev::{NetdevKind, NetdevOptions, StreamOptions, TapOptions};
pub use nic::NicOptions;
pub use object::ObjectOptions;
pub use throttling::Throttling;
pub use values::{number, switch};
pub use zoning::Zoning;

use crate::files::Endpoint;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Run a machine.
    Run(Box<Config>),
    /// Print this and end with status 0.
    Print(String),
    /// Print help on device types; the text is the type, or empty for the list.
    DeviceHelp(String),
}

/// A machine, as the command line describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `-machine`.
    pub machine: MachineType,
    /// `conf1` of `-machine`, where it was given.
    pub conf1: Option<bool>,
    /// `-accel`.
    pub accel: Accel,
    /// `-qtest`: where the accesses come from.
    pub qtest: Option<ChardevKind>,
    /// `-kernel`: a bzImage or an ELF image.
    pub kernel: PathBuf,
    /// `kernel-store` of `-machine`.
    pub kernel_store: KernelStore,
    /// `-initrd`.
    pub initrd: Option<PathBuf>,
    /// `-append`: the kernel's command line.
    pub append: String,
    /// `-m`: guest memory in bytes.
    pub memory: u64,
    /// `-smp`: number of vCPUs.
    pub cpus: u8,
    /// `-cpu`.
    pub cpu: CpuOptions,
    /// `-qmp` and `-mon`.
    pub monitors: Vec<SerialTarget>,
    /// `-S`: the machine waits for a monitor to let it go.
    pub frozen: bool,
    /// `-serial`, one for each 16550; `None` leaves that port out.
    pub serials: Vec<Option<SerialTarget>>,
    /// `-chardev`.
    pub chardevs: Vec<ChardevOptions>,
    /// `-drive` and `-blockdev`.
    pub drives: Vec<DriveOptions>,
    /// `-fsdev` and `-virtfs`.
    pub fsdevs: Vec<FsdevOptions>,
    /// `-netdev` and `-nic`.
    pub netdevs: Vec<NetdevOptions>,
    /// `-object`.
    pub objects: Vec<ObjectOptions>,
    /// `-device`.
    pub devices: Vec<DeviceOptions>,
    /// `-no-reboot`: a guest's reset ends the VMM.
    pub no_reboot: bool,
    /// `-run-with exit-with-parent=on`: the end of the process that started the VMM ends it.
    pub exit_with_parent: bool,
    /// `-nodefaults`: no serial port unless asked for.
    pub no_defaults: bool,
    /// `-sandbox`: system calls and files restricted while the guest runs. See
    /// [`Config::is_sandboxed`].
    pub sandbox: Option<bool>,
    /// `-sandbox allow=`: directories below which files may be opened even then.
    pub allowed: Vec<PathBuf>,
    /// `-poll-max-ns`: how long a device's thread looks for work at most before it sleeps.
    pub poll: Duration,
    /// `-pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `-name`: shown in the process list.
    pub name: Option<String>,
}

/// The other end of a serial port or a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialTarget {
    /// A character device of its own.
    Own(ChardevKind),
    /// `chardev:ID`.
    Shared(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            machine: MachineType::default(),
            conf1: None,
            accel: Accel::default(),
            qtest: None,
            kernel: PathBuf::new(),
            kernel_store: KernelStore::default(),
            initrd: None,
            append: String::new(),
            memory: DEFAULT_MEMORY,
            cpus: 1,
            cpu: CpuOptions::default(),
            monitors: Vec::new(),
            frozen: false,
            serials: Vec::new(),
            chardevs: Vec::new(),
            drives: Vec::new(),
            fsdevs: Vec::new(),
            netdevs: Vec::new(),
            objects: Vec::new(),
            devices: Vec::new(),
            no_reboot: false,
            exit_with_parent: false,
            no_defaults: false,
            sandbox: None,
            allowed: Vec::new(),
            poll: DEFAULT_POLL,
            pidfile: None,
            name: None,
        }
    }
}

impl Config {
    /// Whether the process goes into a sandbox: unless something else is said, where there is a guest
    /// to be kept in it. QEMU's own tests have files opened by a monitor.
    pub fn is_sandboxed(&self) -> bool {
        self.sandbox.unwrap_or(self.accel == Accel::Kvm)
    }

    /// The places that sockets are to connect to again and again.
    pub fn reconnecting(&self) -> Vec<Endpoint> {
        let own = self
            .serials
            .iter()
            .flatten()
            .chain(&self.monitors)
            .filter_map(own);
        let kinds = own.chain(self.chardevs.iter().map(|chardev| &chardev.kind));
        kinds
            .filter_map(|kind| match kind {
                ChardevKind::Socket(socket) => socket.reconnect.and(Some(&socket.endpoint)),
                _ => None,
            })
            .cloned()
            .collect()
    }
}

/// Parses the arguments that follow the program's name.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, BadOption> {
    let mut config = Config::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let spec = table::find(&arg)?;
        let value = match spec.value {
            "" => String::new(),
            wanted => args
                .next()
                .filter(|value| !value.is_empty() || spec.may_be_empty())
                .ok_or_else(|| BadOption::new(&arg, "no value given", wanted))?,
        };
        match (spec.apply)(&mut config, &value)? {
            Some(command) => return Ok(command),
            None => continue,
        }
    }
    finish(config)
}

/// Checks that need the whole command line, and the defaults that depend on it.
fn finish(mut config: Config) -> Result<Command, BadOption> {
    let disks = config.drives.iter().filter(|drive| drive.disk);
    let disks = disks.map(DeviceOptions::disk).collect::<Vec<_>>();
    config.devices.extend(disks);
    machine::check(&config)?;
    unique(
        "-chardev",
        config.chardevs.iter().map(|chardev| chardev.id.as_str()),
    )?;
    unique(
        "-drive",
        config.drives.iter().map(|drive| drive.id.as_str()),
    )?;
    unique(
        "-fsdev",
        config.fsdevs.iter().map(|share| share.id.as_str()),
    )?;
    unique(
        "-netdev",
        config.netdevs.iter().map(|netdev| netdev.id.as_str()),
    )?;
    unique(
        "-object",
        config.objects.iter().map(|object| object.id.as_str()),
    )?;
    unique(
        "-device",
        config
            .devices
            .iter()
            .filter_map(|device| device.id.as_deref()),
    )?;
    let defaults = !config.no_defaults && config.accel == Accel::Kvm;
    if config.serials.is_empty() && defaults && users_of_stdio(&config).is_empty() {
        let stdio = ChardevKind::Stdio { signal: false };
        config.serials.push(Some(SerialTarget::Own(stdio)));
    }
    if let [_, second, ..] = users_of_stdio(&config)[..] {
        let why = "standard input is taken";
        return Err(BadOption::value(second, "stdio", why, "stdio once"));
    }
    Ok(Command::Run(Box::new(config)))
}

/// The options that have something on standard input and output.
fn users_of_stdio(config: &Config) -> Vec<&'static str> {
    let chardevs = config.chardevs.iter().map(|chardev| &chardev.kind);
    let chardevs = chardevs.chain(&config.qtest).map(|kind| ("-chardev", kind));
    let serials = config.serials.iter().flatten().filter_map(own);
    let monitors = config.monitors.iter().filter_map(own);
    let serials = serials.map(|kind| ("-serial", kind));
    let all = chardevs
        .chain(monitors.map(|kind| ("-qmp", kind)))
        .chain(serials);
    all.filter(|(_, kind)| matches!(kind, ChardevKind::Stdio { .. }))
        .map(|(option, _)| option)
        .collect()
}

fn own(target: &SerialTarget) -> Option<&ChardevKind> {
    match target {
        SerialTarget::Own(kind) => Some(kind),
        SerialTarget::Shared(_) => None,
    }
}

fn unique<'a>(option: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), BadOption> {
    let mut seen = std::collections::BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(BadOption::property(
                option,
                "id",
                id,
                "given twice",
                "another identifier",
            ));
        }
    }
    Ok(())
}

const DEFAULT_MEMORY: u64 = 128 << 20;
const DEFAULT_POLL: Duration = Duration::from_millis(1);
