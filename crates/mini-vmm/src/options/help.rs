//! `--help` and its kin.

use super::Key;
use super::table::OPTIONS;

/// What `--help` prints.
pub(super) fn usage() -> String {
    let mut text = String::from(HEAD);
    for spec in OPTIONS.iter().filter(|spec| !spec.help.is_empty()) {
        let option = format!("-{} {}", spec.name, spec.value);
        text.push_str(&format!("  {}\n        {}\n", option.trim_end(), spec.help));
    }
    text.push_str(EXAMPLES);
    text.push_str(STATUS);
    text
}

/// What `-version` prints.
pub(super) fn version() -> String {
    format!("mini-vmm {}\n", env!("CARGO_PKG_VERSION"))
}

/// What `-cpu help` prints.
pub(super) fn cpu() -> String {
    let names = crate::cpu::feature_names().collect::<Vec<_>>().join(" ");
    format!("CPU models: host, max (the same)\nFeatures to take away or ask for:\n  {names}\n")
}

/// A list of kinds with their keys, of all or of the one that is asked for.
pub(super) fn kinds<'a>(
    head: &str,
    all: impl Iterator<Item = (&'a str, &'a [Key])> + Clone,
    kind: &str,
) -> String {
    let known = all.clone().any(|(name, _)| name == kind);
    let mut text = format!("{head}\n");
    for (name, all) in all.filter(|(name, _)| !known || *name == kind) {
        text.push_str(&format!("  {name}\n"));
        text.push_str(&keys(all, 6));
    }
    text
}

/// Lines of keys that have something to teach.
pub(super) fn keys(keys: &[Key], indent: usize) -> String {
    let taught = keys.iter().filter(|(_, help)| !help.is_empty());
    let width = taught.clone().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, help): &Key| format!("{:indent$}{key:width$} {help}\n", "");
    taught.map(line).collect()
}

const HEAD: &str = "mini-vmm: boots a Linux kernel on KVM, with virtio devices

Usage: mini-vmm -kernel FILE [OPTION...]

Options are QEMU's; one dash or two. In a value, two commas stand for one. A value of -device,
-blockdev, -netdev or -object that begins with { is JSON, as the arguments of a monitor's command.

";

const EXAMPLES: &str = "
Examples:
  A kernel with an initial file system, its console on this terminal (Ctrl-A x ends it):
    mini-vmm -m 512 -smp 2 -kernel vmlinuz -initrd initrd.img -append console=ttyS0

  Its output in a file, and end when the guest reboots:
    mini-vmm -m 1G -kernel vmlinuz -append 'console=ttyS0 panic=-1' -serial file:boot.log -no-reboot

  A disk and a source of entropy:
    mini-vmm -m 512 -kernel vmlinuz -initrd initrd.img -append 'console=ttyS0 root=/dev/vda' \\
        -drive id=d0,file=disk.raw -device virtio-blk-pci,drive=d0,serial=abc -device virtio-rng-pci

  What devices there are, and what one of them can do:
    mini-vmm -device help
    mini-vmm -device virtio-blk-pci,help
";

const STATUS: &str = "
Exit status:
  0  the guest powered off, or the VMM was told to end (SIGTERM, SIGINT, Ctrl-A x)
  1  the VMM failed
  2  an option is wrong
  3  the guest reset itself (with -no-reboot)
  4  the guest reported a panic (device pvpanic)
  n  odd: a value written to isa-debug-exit, times two, plus one
";
