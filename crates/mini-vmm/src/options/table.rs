//! The options, one row each: name, value, help text and effect.

use std::time::Duration;

use super::{
    BadOption, ChardevKind, ChardevOptions, Command, Config, CpuOptions, DeviceOptions,
    DriveOptions, FsdevOptions, KeyVals, MachineType, NetdevOptions, NicOptions, ObjectOptions,
    SerialTarget, cpu, help, keyval, machine, near, values,
};

/// One option.
pub(super) struct Spec {
    /// Its name, without dashes.
    pub(super) name: &'static str,
    /// What its value is; empty where it has none.
    pub(super) value: &'static str,
    /// What it does; empty for what is accepted for QEMU's sake and needs no teaching.
    pub(super) help: &'static str,
    pub(super) apply: Apply,
}

impl Spec {
    /// A kernel may have no command line. In the place of any other value, nothing is most likely a
    /// variable of a shell that is not set.
    pub(super) fn may_be_empty(&self) -> bool {
        self.name == "append"
    }
}

/// Applies a value; a command returned ends the parsing.
type Apply = fn(&mut Config, &str) -> Result<Option<Command>, BadOption>;

/// Finds the row of `arg`, which has one dash or two.
pub(super) fn find(arg: &str) -> Result<&'static Spec, BadOption> {
    let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'));
    let Some(name) = name else {
        return Err(BadOption::new(
            arg,
            "not an option",
            "options, each starting with '-'; see --help",
        ));
    };
    OPTIONS
        .iter()
        .find(|spec| spec.name == name)
        .ok_or_else(|| {
            let names = near::accepted(name, OPTIONS.iter().map(|spec| spec.name));
            BadOption::new(arg, "unknown option", names)
        })
}

pub(super) const OPTIONS: &[Spec] = &[
    Spec {
        name: "kernel",
        value: "FILE",
        help: "boot this bzImage or x86-64 ELF kernel",
        apply: |config, value| set(&mut config.kernel, value.into()),
    },
    Spec {
        name: "initrd",
        value: "FILE",
        help: "initial file system of the guest",
        apply: |config, value| set(&mut config.initrd, Some(value.into())),
    },
    Spec {
        name: "append",
        value: "TEXT",
        help: "command line of the kernel",
        apply: |config, value| set(&mut config.append, value.to_owned()),
    },
    Spec {
        name: "m",
        value: "SIZE",
        help: "guest memory; a plain number counts MiB (default 128)",
        apply: |config, value| set(&mut config.memory, memory(value)?),
    },
    Spec {
        name: "smp",
        value: "N",
        help: "number of vCPUs (default 1)",
        apply: |config, value| set(&mut config.cpus, cpu::smp(value)?),
    },
    Spec {
        name: "cpu",
        value: "host[,-FEATURE|,+FEATURE|,family=N|,model=N|,stepping=N]",
        help: "CPU model; -cpu help lists the features known by name",
        apply: |config, value| match value {
            "help" | "?" => print(help::cpu()),
            _ => set(&mut config.cpu, CpuOptions::parse(value)?),
        },
    },
    Spec {
        name: "machine",
        value: "q35|pc|none[,accel=kvm|qtest]",
        help: "machine type; -machine help lists them (default q35)",
        apply: machine_type,
    },
    Spec {
        name: "M",
        value: "TYPE",
        help: "",
        apply: machine_type,
    },
    Spec {
        name: "accel",
        value: "kvm|qtest",
        help: "what runs the processors; qtest: there are none (default kvm)",
        apply: |config, value| match value {
            "help" | "?" => print("Accelerators: kvm qtest\n".to_owned()),
            _ => machine::accel(config, value).map(|()| None),
        },
    },
    Spec {
        name: "enable-kvm",
        value: "",
        help: "",
        apply: |_, _| Ok(None),
    },
    Spec {
        name: "serial",
        value: "stdio|file:PATH|pty|unix:PATH|null|none|chardev:ID",
        help: "other end of the 16550 (default stdio)",
        apply: |config, value| {
            config.serials.push(serial(value)?);
            Ok(None)
        },
    },
    Spec {
        name: "chardev",
        value: "BACKEND,id=ID[,...]",
        help: "character device on the host; -chardev help lists the back-ends",
        apply: |config, value| match help_on(value, "backend") {
            Some(kind) => print(ChardevOptions::help(&kind)),
            None => push(&mut config.chardevs, ChardevOptions::parse(value)?),
        },
    },
    Spec {
        name: "drive",
        value: "file=PATH,id=ID|if=virtio[,...]",
        help: "disk image; -drive help lists the properties",
        apply: |config, value| match help_on(value, "file") {
            Some(_) => print(DriveOptions::help()),
            None => {
                let drive = DriveOptions::parse(value, config.drives.len())?;
                push(&mut config.drives, drive)
            }
        },
    },
    Spec {
        name: "blockdev",
        value: "DRIVER,node-name=ID[,...]",
        help: "disk: file,filename=PATH or null-co,size=SIZE, on its own or below raw or qcow2 \
               (file.*, or file=ID); under qcow2 may be another disk (backing.*, or backing=ID)",
        apply: |config, value| match help_on(value, "driver") {
            Some(_) => print(DriveOptions::blockdev_help()),
            None => {
                let kv = KeyVals::parse_any("-blockdev", value, "driver")?;
                push(&mut config.drives, DriveOptions::blockdev(kv)?)
            }
        },
    },
    Spec {
        name: "fsdev",
        value: "local,id=ID,path=DIR,security_model=MODEL[,...]|synth,id=ID",
        help: "shared directory; -fsdev help lists the properties",
        apply: |config, value| match help_on(value, "fsdriver") {
            Some(_) => print(FsdevOptions::help()),
            None => push(&mut config.fsdevs, FsdevOptions::parse(value)?),
        },
    },
    Spec {
        name: "virtfs",
        value: "local,path=DIR,mount_tag=TAG,security_model=MODEL[,...]",
        help: "shared directory and a virtio-9p-pci for it",
        apply: |config, value| match help_on(value, "fsdriver") {
            Some(_) => print(FsdevOptions::virtfs_help()),
            None => {
                let (share, device) = FsdevOptions::virtfs(value)?;
                config.devices.push(device);
                push(&mut config.fsdevs, share)
            }
        },
    },
    Spec {
        name: "netdev",
        value: "TYPE,id=ID[,...]",
        help: "network on the host; -netdev help lists the types",
        apply: |config, value| match help_on(value, "type") {
            Some(kind) => print(NetdevOptions::help(&kind)),
            None => push(&mut config.netdevs, NetdevOptions::parse(value)?),
        },
    },
    Spec {
        name: "nic",
        value: "TYPE[,model=virtio-net-pci][,mac=ADDRESS][,...]|none",
        help: "network on the host and a device on it; -nic help lists the types",
        apply: |config, value| match help_on(value, "type") {
            Some(kind) => print(NicOptions::help(&kind)),
            None => {
                if let Some(nic) = NicOptions::parse(value, config.netdevs.len())? {
                    config.netdevs.push(nic.netdev);
                    config.devices.push(nic.device);
                }
                Ok(None)
            }
        },
    },
    Spec {
        name: "object",
        value: "TYPE,id=ID[,PROPERTY=VALUE...]",
        help: "source of entropy or the like; -object help lists types",
        apply: object,
    },
    Spec {
        name: "device",
        value: "TYPE[,PROPERTY=VALUE...]",
        help: "add a device; -device help lists types, -device TYPE,help its properties",
        apply: device,
    },
    Spec {
        name: "no-reboot",
        value: "",
        help: "end, with status 3, when the guest reboots",
        apply: |config, _| set(&mut config.no_reboot, true),
    },
    Spec {
        name: "nodefaults",
        value: "",
        help: "no serial port unless asked for",
        apply: |config, _| set(&mut config.no_defaults, true),
    },
    Spec {
        name: "sandbox",
        value: "on|off[,allow=DIR]",
        help: "seccomp and landlock around the running machine (default on, off for -accel qtest); \
               a monitor may have files below DIR opened",
        apply: sandbox,
    },
    Spec {
        name: "poll-max-ns",
        value: "N",
        help: "nanoseconds a device looks for work at most, in proportion to the work it had, before it sleeps; 0 to 1000000 (default)",
        apply: |config, value| set(&mut config.poll, poll(value)?),
    },
    Spec {
        name: "name",
        value: "NAME",
        help: "name in the process list",
        apply: name,
    },
    Spec {
        name: "pidfile",
        value: "FILE",
        help: "write the process id here; removed at the end",
        apply: |config, value| set(&mut config.pidfile, Some(value.into())),
    },
    Spec {
        name: "run-with",
        value: "exit-with-parent=on|off",
        help: "end in order when the process that started it ends",
        apply: run_with,
    },
    Spec {
        name: "qmp",
        value: "unix:PATH[,server=on][,wait=off]",
        help: "monitor, which speaks QEMU's machine protocol",
        apply: |config, value| {
            let kind = ChardevKind::parse_short("-qmp", value)?;
            push(&mut config.monitors, SerialTarget::Own(kind))
        },
    },
    Spec {
        name: "mon",
        value: "chardev=ID,mode=control",
        help: "monitor on a chardev",
        apply: monitor,
    },
    Spec {
        name: "S",
        value: "",
        help: "wait for the monitor's command cont",
        apply: |config, _| set(&mut config.frozen, true),
    },
    Spec {
        name: "qtest",
        value: "unix:PATH",
        help: "with -accel qtest: a test at this socket makes the accesses of a processor",
        apply: |config, value| {
            let kind = ChardevKind::parse_short("-qtest", value)?;
            set(&mut config.qtest, Some(kind))
        },
    },
    Spec {
        name: "qtest-log",
        value: "FILE",
        help: "",
        apply: |_, _| Ok(None),
    },
    Spec {
        name: "trace",
        value: "EVENTS",
        help: "",
        apply: |_, _| Ok(None),
    },
    Spec {
        name: "audio",
        value: "none",
        help: "",
        apply: |_, value| only("-audio", value, &["none"]),
    },
    Spec {
        name: "nographic",
        value: "",
        help: "",
        apply: |_, _| Ok(None),
    },
    Spec {
        name: "no-user-config",
        value: "",
        help: "",
        apply: |_, _| Ok(None),
    },
    Spec {
        name: "display",
        value: "none",
        help: "",
        apply: |_, value| only("-display", value, &["none"]),
    },
    Spec {
        name: "vga",
        value: "none",
        help: "",
        apply: |_, value| only("-vga", value, &["none"]),
    },
    Spec {
        name: "monitor",
        value: "none",
        help: "",
        apply: |_, value| only("-monitor", value, &["none"]),
    },
    Spec {
        name: "version",
        value: "",
        help: "print the version",
        apply: |_, _| print(help::version()),
    },
    Spec {
        name: "help",
        value: "",
        help: "print this help",
        apply: |_, _| print(help::usage()),
    },
    Spec {
        name: "h",
        value: "",
        help: "",
        apply: |_, _| print(help::usage()),
    },
];

fn set<T>(slot: &mut T, value: T) -> Result<Option<Command>, BadOption> {
    *slot = value;
    Ok(None)
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<Option<Command>, BadOption> {
    list.push(value);
    Ok(None)
}

fn print(text: String) -> Result<Option<Command>, BadOption> {
    Ok(Some(Command::Print(text)))
}

fn only(option: &str, value: &str, words: &[&str]) -> Result<Option<Command>, BadOption> {
    if words.contains(&value) {
        return Ok(None);
    }
    Err(BadOption::value(
        option,
        value,
        "not accepted",
        words.join(", "),
    ))
}

fn on_off(option: &str, value: &str) -> Result<bool, BadOption> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(BadOption::value(option, value, "not a switch", "on, off")),
    }
}

/// Of QEMU's other keys, each names calls that are refused here in any case.
fn sandbox(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    let mut kv = KeyVals::parse("-sandbox", value, Some("enable"));
    let refused = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];
    let keys = refused.iter().chain(&["enable", "allow"]);
    kv.check(&keys.map(|name| (*name, "")).collect::<Vec<_>>())?;
    let on = on_off("-sandbox", &kv.require("enable", "on, off")?)?;
    config.sandbox = Some(on);
    let allowed = kv
        .into_pairs()
        .into_iter()
        .filter(|(key, _)| key == "allow");
    for (key, path) in allowed {
        if !on {
            let why = "nothing is refused";
            return Err(BadOption::property("-sandbox", &key, &path, why, "with on"));
        }
        config.allowed.push(path.into());
    }
    Ok(None)
}

fn run_with(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    let mut kv = KeyVals::parse("-run-with", value, None);
    kv.check(&[("exit-with-parent", "")])?;
    let on = kv.take_switch("exit-with-parent", config.exit_with_parent)?;
    set(&mut config.exit_with_parent, on)
}

/// QEMU's other keys name the process and its threads, which have names of their own here.
fn name(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    let mut kv = KeyVals::parse("-name", value, Some("guest"));
    kv.check(&["guest", "process", "debug-threads"].map(|key| (key, "")))?;
    set(&mut config.name, kv.take("guest"))
}

fn memory(value: &str) -> Result<u64, BadOption> {
    let mut kv = KeyVals::parse("-m", value, Some("size"));
    kv.check(&[("size", "")])?;
    let bytes = values::size("-m", None, &kv.require("size", "a size such as 512M")?, MIB)?;
    if !(LEAST_MEMORY..=MOST_MEMORY).contains(&bytes) {
        return Err(BadOption::value("-m", value, "out of range", "16M to 1T"));
    }
    Ok(bytes.next_multiple_of(MIB))
}

fn poll(value: &str) -> Result<Duration, BadOption> {
    let time = values::number(value).filter(|time| *time <= MOST_POLL);
    time.map(Duration::from_nanos).ok_or_else(|| {
        let accepted = format!("a number from 0 to {MOST_POLL}");
        BadOption::value("-poll-max-ns", value, "not accepted", accepted)
    })
}

fn machine_type(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    let kv = KeyVals::parse("-machine", value, Some("type"));
    if kv.asks_help() {
        return print(MachineType::HELP.to_owned());
    }
    machine::machine(config, kv).map(|()| None)
}

fn serial(value: &str) -> Result<Option<SerialTarget>, BadOption> {
    match value.split_once(':') {
        None if value == "none" => Ok(None),
        Some(("chardev", id)) => Ok(Some(SerialTarget::Shared(id.to_owned()))),
        _ => ChardevKind::parse_short("-serial", value)
            .map(SerialTarget::Own)
            .map(Some),
    }
}

fn monitor(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    let mut kv = KeyVals::parse("-mon", value, Some("chardev"));
    kv.check(&[("chardev", ""), ("mode", ""), ("pretty", "")])?;
    kv.take_word("mode", &["control"])?;
    kv.take_switch("pretty", false)?;
    let id = kv.require("chardev", "the id of a -chardev")?;
    push(&mut config.monitors, SerialTarget::Shared(id))
}

fn device(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    match help_on(value, "driver") {
        Some(driver) => Ok(Some(Command::DeviceHelp(driver))),
        None => push(&mut config.devices, DeviceOptions::parse(value)?),
    }
}

fn object(config: &mut Config, value: &str) -> Result<Option<Command>, BadOption> {
    if let Some(kind) = help_on(value, "qom-type") {
        return print(crate::objects::help(&kind)?);
    }
    push(&mut config.objects, ObjectOptions::parse(value)?)
}

/// What a value asks help on: the kind that it names by `key`, or all, which is empty. `None` where
/// it does not.
fn help_on(value: &str, key: &str) -> Option<String> {
    let mut kv = KeyVals::parse("", value, Some(key));
    let asked = kv.asks_help() && !keyval::is_json(value);
    asked.then(|| {
        kv.take(key)
            .filter(|kind| !keyval::is_help(kind))
            .unwrap_or_default()
    })
}

const MIB: u64 = 1 << 20;
/// A millisecond: longer than that, sleeping always pays.
const MOST_POLL: u64 = 1_000_000;
const LEAST_MEMORY: u64 = 16 * MIB;
const MOST_MEMORY: u64 = 1 << 40;
