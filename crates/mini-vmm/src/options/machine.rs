//! `-machine` and `-accel`: the kind of board, and what runs its processors.

use std::path::PathBuf;

use super::{BadOption, Config, KeyVals, values};

/// The kind of machine, as QEMU names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MachineType {
    /// Memory and nothing else, to ask the VMM what it can do.
    None,
    /// A conventional PCI bus with hot-plug by ACPI.
    Pc,
    /// PCI Express, with root ports.
    #[default]
    Q35,
}

/// What runs the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accel {
    /// KVM.
    #[default]
    Kvm,
    /// Nothing: there are none. A test makes their accesses, see [`crate::qtest`].
    Qtest,
}

/// Where unpacked kernels are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KernelStore {
    /// In the user's cache, if there is one.
    #[default]
    Cache,
    /// In this directory.
    At(PathBuf),
    /// Nowhere.
    Off,
}

impl KernelStore {
    /// Its property of `-machine`.
    pub const NAME: &str = "kernel-store";
    /// What that property takes.
    pub const ACCEPTED: &str = "off, or a directory";

    fn parse(text: String) -> Result<Self, BadOption> {
        match text.as_str() {
            "" | "on" => {
                let why = "not a directory";
                let (name, accepted) = (Self::NAME, Self::ACCEPTED);
                Err(BadOption::property("-machine", name, &text, why, accepted))
            }
            "off" => Ok(Self::Off),
            _ => Ok(Self::At(text.into())),
        }
    }
}

impl MachineType {
    /// All types with their names.
    pub const ALL: [(&str, Self); 3] = [("q35", Self::Q35), ("pc", Self::Pc), ("none", Self::None)];

    /// What `-machine help` prints.
    pub(super) const HELP: &str = "Machines:\n  \
        q35   PCI Express, ACPI, no legacy devices (default)\n  \
        pc    conventional PCI\n  \
        none  memory only, for -accel qtest\n\
        Properties:\n  \
        conf1=on|off  PCI configuration space at I/O ports, too (default: only for pc, which has\n                \
        no other, and for -accel qtest)\n  \
        kernel-store=DIR|off  where unpacked kernels are kept for the next start (default:\n                        \
        $XDG_CACHE_HOME/mini-vmm or ~/.cache/mini-vmm); off: each unpacks itself\n";

    /// Its name.
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(_, kind)| *kind == self);
        row.map_or("", |(name, _)| name)
    }
}

impl Config {
    /// Whether PCI's configuration space is at ports 0xcf8 to 0xcff (configuration mechanism #1). Where
    /// it is in memory as well, Linux takes the ports for all of its first 256 bytes as long as there
    /// are any, at two exits an access instead of one.
    pub fn has_conf1(&self) -> bool {
        let needed = self.machine == MachineType::Pc || self.accel == Accel::Qtest;
        self.conf1.unwrap_or(needed)
    }
}

/// Applies the value of `-machine`.
pub(super) fn machine(config: &mut Config, mut kv: KeyVals) -> Result<(), BadOption> {
    kv.check(&[
        ("type", ""),
        ("accel", ""),
        ("conf1", ""),
        (KernelStore::NAME, ""),
    ])?;
    let name = kv.take_word("type", &MachineType::ALL.map(|(name, _)| name))?;
    let found = MachineType::ALL.iter().find(|(other, _)| *other == name);
    config.machine = found.map(|(_, kind)| *kind).unwrap_or_default();
    let conf1 = kv.take("conf1");
    let conf1 = conf1.map(|text| values::switch("-machine", "conf1", &text));
    config.conf1 = conf1.transpose()?;
    if let Some(text) = kv.take(KernelStore::NAME) {
        config.kernel_store = KernelStore::parse(text)?;
    }
    match kv.take("accel") {
        Some(name) => accel(config, &name),
        None => Ok(()),
    }
}

/// Applies the value of `-accel`.
pub(super) fn accel(config: &mut Config, name: &str) -> Result<(), BadOption> {
    let mut kv = KeyVals::parse("-accel", name, Some("accel"));
    kv.check(&[("accel", "")])?;
    config.accel = match kv.take_word("accel", &["kvm", "qtest"])? {
        "qtest" => Accel::Qtest,
        _ => Accel::Kvm,
    };
    Ok(())
}

/// Checks what depends on both, when all options are known.
pub(super) fn check(config: &Config) -> Result<(), BadOption> {
    let with_qtest = "with -accel qtest";
    if config.machine == MachineType::Pc && config.conf1 == Some(false) {
        let why = "nothing else leads to this machine's devices";
        return Err(BadOption::property("-machine", "conf1", "off", why, "on"));
    }
    match (config.accel, config.machine) {
        (Accel::Qtest, _) => Ok(()),
        (Accel::Kvm, MachineType::None) => Err(BadOption::value(
            "-machine",
            "none",
            "has no processors",
            with_qtest,
        )),
        (Accel::Kvm, _) if config.qtest.is_some() => Err(BadOption::new(
            "-qtest",
            "the guest makes its accesses itself",
            with_qtest,
        )),
        (Accel::Kvm, _) if config.kernel.as_os_str().is_empty() => Err(BadOption::new(
            "-kernel",
            "missing",
            "a bzImage or an x86-64 ELF kernel; see --help",
        )),
        (Accel::Kvm, _) => Ok(()),
    }
}
