//! PCI functions of every device beside QEMU's, byte for byte. What differs is left out in
//! [`Golden::parse`], and docs/differences.md says why.

use std::fs::File;

use tempfile::TempDir;
use testkit::qtest::{PciDevice, VirtioPci, Vmm};

#[test]
fn functions_that_choose_their_interface_are_as_qemus() {
    compare("auto", "", 1, false);
}

#[test]
fn modern_functions_are_as_qemus() {
    compare("modern", "-non-transitional", 1, false);
}

#[test]
fn transitional_functions_are_as_qemus() {
    compare("transitional", "-transitional", 4, false);
}

#[test]
fn functions_behind_root_ports_are_as_qemus() {
    compare("ports", "", 1, true);
}

/// Starts a machine like that of a run of [`GOLDEN`], and looks at its functions as the run does.
fn compare(run: &str, suffix: &str, processors: u32, ports: bool) {
    let directory = tempfile::tempdir().unwrap();
    let arguments = arguments(&directory, suffix, ports);
    let machine = format!("-M q35 -m 256 -smp {processors} {arguments}");
    let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), &machine);
    for golden in Golden::of(run) {
        let (slot, window) = (golden.slot, FIRST_WINDOW + WINDOW * u32::from(golden.slot));
        let found = PciDevice::find(&mut vmm, slot).expect("a device");
        let pci = match ports {
            false => Some(found),
            true => found.open(&mut vmm, slot, window, WINDOW).first(&mut vmm),
        };
        let function = Function {
            pci: pci.expect("a device behind the port"),
            window,
        };
        assert_eq!(
            function.describe(&mut vmm, &golden),
            golden.lines,
            "{run}: {}",
            golden.name
        );
    }
}

/// Devices as the golden runs have them, in slots 2 to 8.
fn arguments(directory: &TempDir, suffix: &str, ports: bool) -> String {
    let path = |name: &str| directory.path().join(name).display().to_string();
    for name in ["disk", "hd", "cd"] {
        File::create(path(name)).unwrap().set_len(16 << 20).unwrap();
    }
    let mut words = String::new();
    if ports {
        for slot in 2..9 {
            words +=
                &format!("-device pcie-root-port,id=rp{slot},chassis={slot},addr={slot:02x}.0 ");
        }
    }
    for (name, drive) in [
        ("disk", "id=b0"),
        ("hd", "id=s0"),
        ("cd", "id=c0,readonly=on"),
    ] {
        words += &format!("-drive if=none,format=raw,file={},{drive} ", path(name));
    }
    words += &format!(
        "-netdev hubport,hubid=0,id=n0 -chardev null,id=c1 -chardev null,id=c2 \
         -object rng-builtin,id=r0 -fsdev local,id=fs0,path={},security_model=none ",
        directory.path().display()
    );
    for (slot, device) in (2..).zip([
        "blk-pci*,drive=b0,serial=BLK0001",
        "net-pci*,netdev=n0,mac=52:54:00:12:34:56",
        "scsi-pci*,id=scsi0",
        "balloon-pci*",
        "rng-pci*,rng=r0",
        "serial-pci*,id=ser0",
        "9p-pci*,fsdev=fs0,mount_tag=hostshare",
    ]) {
        let device = device.replace('*', suffix);
        let place = match ports {
            true => format!("bus=rp{slot},addr=00.0"),
            false => format!("addr={slot:02x}.0"),
        };
        words += &format!("-device virtio-{device},{place} ");
    }
    words
        + "-device scsi-hd,bus=scsi0.0,drive=s0,scsi-id=0,lun=0,serial=SCSI0001 \
           -device scsi-cd,bus=scsi0.0,drive=c0,scsi-id=1,lun=0 \
           -device virtconsole,chardev=c1,bus=ser0.0 \
           -device virtserialport,chardev=c2,bus=ser0.0,name=org.h2.port"
}

/// A device of QEMU's.
struct Golden {
    name: &'static str,
    slot: u8,
    lines: Vec<String>,
}

impl Golden {
    /// Those of a run.
    fn of(run: &str) -> Vec<Self> {
        let runs = GOLDEN.split("\nrun ").skip(1);
        let devices = runs.filter_map(|text| text.strip_prefix(run)?.strip_prefix('\n'));
        let devices = devices.flat_map(|text| {
            text.trim()
                .split("device ")
                .filter(|text| text.contains('\n'))
        });
        devices.map(Self::parse).collect()
    }

    fn parse(text: &'static str) -> Self {
        let (head, lines) = text.split_once('\n').unwrap();
        let (name, slot) = head.split_once(' ').unwrap();
        let lines = lines.lines().map(|line| match line.split_once(' ') {
            Some(("config", digits)) => format!("config {}", masked(bytes(digits))),
            Some(("legacy-features", digits)) => {
                let offered = u64::from_str_radix(digits, 16).unwrap();
                format!("legacy-features {:x}", offered & !not_offered(name))
            }
            Some(("bar", rom)) if rom.starts_with("6 ") => "bar 6 rom 0".to_owned(),
            _ => line.to_owned(),
        });
        Self {
            name,
            slot: slot.parse().unwrap(),
            lines: lines.collect(),
        }
    }

    /// The keyword and the first argument of each line, which say what to look at.
    fn questions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| {
            let mut words = line.split(' ');
            (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            )
        })
    }
}

/// Features that QEMU offers to legacy drivers and we do not: NOTIFY_ON_EMPTY, BAD_FEATURE, and GSO of
/// a network device.
fn not_offered(device: &str) -> u64 {
    let gso = if device == "net" { 1 << 6 } else { 0 };
    1 << 24 | 1 << 30 | gso
}

/// Configuration space without what a driver or firmware puts there: commands, addresses, interrupt
/// line. Status stays, and so do the types of BARs.
fn masked(mut bytes: Vec<u8>) -> String {
    bytes[4..6].fill(0);
    for bar in (0x10..0x28).step_by(4).chain([0x30]) {
        bytes[bar] &= 0xf;
        bytes[bar + 1..bar + 4].fill(0);
    }
    bytes[0x3c] = 0;
    digits(&bytes)
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A function of ours, with room for its BARs from `window` on.
struct Function {
    pci: PciDevice,
    window: u32,
}

impl Function {
    /// Lines like those of `golden`.
    fn describe(&self, vmm: &mut Vmm, golden: &Golden) -> Vec<String> {
        let length = golden.lines[0].len() / 2 - "config".len() / 2;
        let config: Vec<_> = (0..length as u8)
            .map(|at| self.pci.read(vmm, at, 1) as u8)
            .collect();
        let modern = VirtioPci::at(vmm, self.pci, self.window + 0x10_0000);
        let mut lines = Vec::new();
        for (keyword, argument) in golden.questions() {
            lines.push(match keyword {
                "config" => format!("config {}", masked(config.clone())),
                "bar" => self.bar(vmm, argument.parse().unwrap()),
                "features" => format!("features {:x}", modern.offered(vmm)),
                "queues" => format!("queues {}", sizes(modern.queue_sizes(vmm))),
                "device-config" => {
                    let length = argument.len() as u64 / 2;
                    let bytes: Vec<_> = (0..length)
                        .map(|at| modern.config(vmm, at, 1) as u8)
                        .collect();
                    format!("device-config {}", digits(&bytes))
                }
                _ => self.legacy(vmm, golden, keyword, argument.len() as u16 / 2),
            });
        }
        lines
    }

    fn bar(&self, vmm: &mut Vmm, number: u8) -> String {
        let register = if number == ROM {
            0x30
        } else {
            0x10 + 4 * number
        };
        let before = self.pci.read(vmm, register, 4);
        let kind = match (number, before & 0xf) {
            (ROM, _) => "rom",
            (_, 1) => "io",
            (_, 0xc) => "mem64pref",
            _ => "mem32",
        };
        self.pci.write(vmm, register, 4, !1);
        let mask = self.pci.read(vmm, register, 4) & if kind == "io" { !3 } else { !0xf };
        self.pci.write(vmm, register, 4, before);
        format!("bar {number} {kind} {}", mask & mask.wrapping_neg())
    }

    fn legacy(&self, vmm: &mut Vmm, golden: &Golden, keyword: &str, length: u16) -> String {
        let place = LEGACY + 0x100 * u16::from(golden.slot);
        self.pci.map(vmm, 0, place.into());
        let found = match keyword {
            "legacy-features" => format!("{:x}", vmm.input(place, 4)),
            "legacy-queues" => {
                let sizes_found = (0..).map_while(|queue| {
                    vmm.output(place + 14, 2, queue);
                    Some(vmm.input(place + 12, 2)).filter(|size| *size != 0)
                });
                sizes(sizes_found.map(|size| size as u16))
            }
            "legacy-config" => {
                let config: Vec<_> = (20..20 + length)
                    .map(|at| vmm.input(place + at, 1) as u8)
                    .collect();
                digits(&config)
            }
            other => panic!("what is {other}?"),
        };
        format!("{keyword} {found}")
    }
}

fn sizes(sizes: impl IntoIterator<Item = u16>) -> String {
    let sizes: Vec<_> = sizes.into_iter().map(|size| size.to_string()).collect();
    sizes.join(" ")
}

/// See the head of the file.
const GOLDEN: &str = include_str!("golden/q35.txt");
/// Room for the BARs of a function or of what is behind a port, one after the other by slot.
const FIRST_WINDOW: u32 = 0xe000_0000;
const WINDOW: u32 = 0x0100_0000;
/// Where BAR 0 of a transitional function is put to look at it.
const LEGACY: u16 = 0xc000;
/// The expansion ROM, in Linux's count of BARs.
const ROM: u8 = 6;
