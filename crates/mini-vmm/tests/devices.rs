//! Options of virtio devices that are wrong: one line each, status 2, and no KVM needed to say so.

mod kernel;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use guest_io::{Access, lock};
use vmm_sys_util::tempdir::TempDir;

/// Runs with `line` in a directory that has images of several sizes, and a file that passes for a
/// kernel until there is a machine to load it into.
fn refused(dir: &Path, line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_mini-vmm"))
        .args(["-kernel", "kernel", "-serial", "none"])
        .args(line.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}: {error}");
    assert!(output.stdout.is_empty());
    let (told, error): (Vec<_>, Vec<_>) = error
        .lines()
        .partition(|line| line.contains(": no device uses it; accepted: a -device with "));
    let [error] = error[..] else {
        panic!("{line}: {error:?} {told:?}");
    };
    format!("{error}\n")
}

fn directory() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.as_path().join("kernel"), kernel::header()).unwrap();
    for (name, size) in [
        ("disk", 4096),
        ("other", 4096),
        ("odd", 1000),
        ("half", 512),
    ] {
        let file = File::create(dir.as_path().join(name)).unwrap();
        file.set_len(size).unwrap();
    }
    dir
}

#[test]
fn every_bad_property_is_named_with_what_is_accepted() {
    let dir = directory();
    for (line, expected) in [
        (
            "-device virtio-blk-pcl",
            "-device virtio-blk-pcl: unknown type; accepted: virtio-blk-pci",
        ),
        (
            "-device virtio-blk-pci",
            "-device virtio-blk-pci drive=: missing; accepted: the id of a -drive",
        ),
        (
            "-device virtio-blk-pci,drive=d1",
            "-device virtio-blk-pci drive=d1: no such drive; accepted: d0",
        ),
        (
            "-device virtio-blk-pci,drive=d0 -device virtio-blk-device,drive=d0",
            "-device virtio-blk-device drive=d0: already in use; accepted: another -drive",
        ),
        (
            "-device virtio-blk-pci,drvie=d0",
            "-device virtio-blk-pci drvie=d0: unknown name; accepted: drive",
        ),
        (
            "-device virtio-blk-pci,drive=d0,num-queues=0",
            "-device virtio-blk-pci num-queues=0: not accepted; accepted: 1 to 1024, or 65535",
        ),
        (
            "-device virtio-blk-pci,drive=d0,queue-size=many",
            "-device virtio-blk-pci queue-size=many: not accepted; accepted: a number from 0",
        ),
        (
            "-device virtio-blk-pci,drive=d0,queue-size=100",
            "-device virtio-blk-pci queue-size=100: not accepted; accepted: a power of two",
        ),
        (
            "-device virtio-blk-pci,drive=d0,serial=123456789012345678901",
            "-device virtio-blk-pci serial=123456789012345678901: not accepted; accepted: at most 20",
        ),
        (
            "-device virtio-blk-pci,drive=d0,packed=maybe",
            "-device virtio-blk-pci packed=maybe: not accepted; accepted: on|off",
        ),
        (
            "-device virtio-blk-pci,drive=d0,addr=20",
            "-device virtio-blk-pci addr=20: not accepted; accepted: a slot and optional function",
        ),
        (
            "-device virtio-blk-pci,drive=d0,vectors=-1",
            "-device virtio-blk-pci vectors=-1: not accepted; accepted: a number",
        ),
        (
            "-device virtio-blk-pci-transitional,drive=d0,disable-legacy=on",
            "-device virtio-blk-pci-transitional disable-legacy=on: unknown name; accepted: ",
        ),
        (
            "-device virtio-rng-pci,iommu_platform=on,disable-legacy=off",
            "-device virtio-rng-pci iommu_platform=on: not accepted; accepted: off, unless the legacy",
        ),
        (
            "-device virtio-rng-pci-transitional,iommu_platform=on",
            "-device virtio-rng-pci-transitional iommu_platform=on: not accepted; accepted: off, unless",
        ),
        (
            "-device pcie-root-port,id=a,chassis=1,slot=2 -device pcie-root-port,id=b,chassis=1,slot=2",
            "-device pcie-root-port slot=2: taken in this chassis; accepted: another slot",
        ),
        (
            "-device virtio-blk-device,drive=d0,vectors=2",
            "-device virtio-blk-device vectors=2: unknown name; accepted: what -device virtio-blk-device,help",
        ),
        (
            "-device virtio-net-pci,netdev=n1",
            "-device virtio-net-pci netdev=n1: no such netdev; accepted: n0",
        ),
        (
            "-device virtio-net-pci,netdev=n0 -device virtio-net-device,netdev=n0",
            "-device virtio-net-device netdev=n0: already in use; accepted: another -netdev",
        ),
        (
            "-device virtio-net-pci,mac=52:54:00",
            "-device virtio-net-pci mac=52:54:00: not accepted; accepted: six bytes in hexadecimal",
        ),
        (
            "-device virtio-net-pci,mac=01:00:5e:00:00:01",
            "-device virtio-net-pci mac=01:00:5e:00:00:01: not accepted; accepted: the address of one",
        ),
        (
            "-device virtio-net-pci,failover=on",
            "-device virtio-net-pci failover=on: not accepted; accepted: off; on is not implemented",
        ),
        (
            "-netdev tap,id=t0,ifname=no-such-tap0,vnet_hdr=maybe",
            "-netdev vnet_hdr=maybe: not a switch; accepted: on, off",
        ),
        (
            "-netdev tap,id=t0,vhost=on",
            "-netdev vhost=on: not implemented; accepted: off",
        ),
        (
            "-netdev tap,id=t0,script=/etc/qemu-ifup",
            "-netdev script=/etc/qemu-ifup: not implemented; accepted: no",
        ),
        (
            "-netdev tap,id=t0,fd=999",
            "-netdev fd=999: Bad file descriptor (os error 9); accepted: open descriptors of one tap",
        ),
        (
            "-netdev tap,id=t0,ifname=a-name-that-is-too-long",
            "-netdev ifname=a-name-that-is-too-long: too long; accepted: up to 15 bytes",
        ),
        (
            "-netdev socket,id=s0",
            "-netdev: no place given; accepted: one of fd=N, connect=HOST:PORT, listen=[HOST]:PORT",
        ),
        (
            "-netdev socket,id=s0,fd=1",
            "-netdev fd=1: not accepted; accepted: the number of an open descriptor, from 3 on",
        ),
        (
            "-netdev stream,id=s0,addr.type=unix,addr.path=nobody",
            "-netdev unix:nobody: No such file or directory (os error 2); accepted: a socket that somebody",
        ),
        (
            "-netdev stream,id=s0,server=on,addr.type=unix,addr.path=kernel",
            "-netdev unix:kernel: Address already in use (os error 98); accepted: a place that is free",
        ),
        (
            "-netdev hubport,id=h0",
            "-netdev hubid=: missing; accepted: the number of a hub",
        ),
        ("-netdev vde,id=v0", "-netdev vde: unknown type; accepted: "),
        (
            "-netdev hubport,id=n0,hubid=2",
            "-netdev id=n0: given twice; accepted: another identifier",
        ),
        (
            "-device virtio-rng-pci,rng=r1",
            "-device virtio-rng-pci rng=r1: no such object; accepted: r0",
        ),
        (
            "-device virtio-rng-pci,period=0",
            "-device virtio-rng-pci period=0: not accepted; accepted: a number from 1",
        ),
        (
            "-device virtio-serial-pci,max_ports=512",
            "-device virtio-serial-pci max_ports=512: not accepted; accepted: a number from 1 to 511",
        ),
        (
            "-device virtconsole",
            "-device virtconsole bus=: no such bus; accepted: ID.0, after a -device virtio-serial",
        ),
        (
            "-device virtserialport -device virtio-serial-pci,id=s0",
            "-device virtserialport bus=: no such bus; accepted: s0.0",
        ),
        (
            "-device virtio-serial-pci,id=s0 -device virtconsole,bus=s1.0",
            "-device virtconsole bus=s1.0: no such bus; accepted: s0.0",
        ),
        (
            "-device virtio-serial-pci -device virtserialport,chardev=c1",
            "-device virtserialport chardev=c1: no such chardev; accepted: c0",
        ),
        (
            "-device virtio-serial-pci -device virtconsole,chardev=c0 -device virtserialport,chardev=c0",
            "-device virtserialport chardev=c0: already in use; accepted: another -chardev",
        ),
        (
            "-device virtio-serial-pci -device virtserialport,nr=0",
            "-device virtserialport nr=0: not accepted; accepted: a number from 1",
        ),
        (
            "-device virtio-serial-pci -device virtserialport,nr=3 -device virtconsole,nr=3",
            "-device virtconsole nr=3: not accepted; accepted: a number below max_ports",
        ),
        (
            "-device virtio-serial-pci -device virtserialport,name=a -device virtserialport,name=a",
            "-device virtserialport name=a: not accepted; accepted: a name that no other port has",
        ),
        (
            "-device virtio-serial-pci,max_ports=1 -device virtserialport",
            "-device virtio-serial-pci max_ports=1: not accepted; accepted: a number above",
        ),
        (
            "-device virtio-serial-pci -device virtserialport,nane=a",
            "-device virtserialport nane=a: unknown name; accepted: name",
        ),
        (
            "-poll-max-ns 1s",
            "-poll-max-ns 1s: not accepted; accepted: a number from 0 to 1000000",
        ),
    ] {
        let common = "-drive id=d0,file=disk -object rng-random,id=r0 -chardev null,id=c0 \
                      -netdev hubport,id=n0,hubid=0";
        let error = refused(dir.as_path(), &format!("{common} {line}"));
        let expected = format!("mini-vmm: {expected}");
        assert!(
            error.starts_with(&expected),
            "{line}\n  {error}  {expected}"
        );
    }
}

#[test]
fn an_image_that_cannot_be_used_is_named() {
    let dir = directory();
    for (line, expected) in [
        ("-drive if=virtio,file=none", "file=none: No such file"),
        (
            "-drive id=d,file=none",
            "file=none: No such file or directory",
        ),
        ("-drive id=d,file=.", "file=.: Is a directory"),
        (
            "-drive id=d,file=odd",
            "file=odd: size 1000 is not a multiple of 512; accepted: a raw image",
        ),
        (
            "-drive id=d,file=half -device virtio-blk-pci,drive=d,logical_block_size=4096",
            "file=half: size 512 is not a multiple of 4096",
        ),
        (
            "-drive id=d,file=disk -device virtio-blk-pci,drive=d \
             -drive id=e,file=disk -device virtio-rng-pci -device virtio-blk-device,drive=e",
            "file=disk: in use elsewhere; accepted: an image that nobody else has open",
        ),
        (
            "-drive id=d,file=disk -device virtio-blk-pci,drive=d \
             -drive id=e,file=disk,readonly=on -device virtio-blk-pci,drive=e",
            "file=disk: in use elsewhere",
        ),
    ] {
        let error = refused(dir.as_path(), line);
        let expected = format!("mini-vmm: -drive {expected}");
        assert!(
            error.starts_with(&expected),
            "{line}\n  {error}  {expected}"
        );
    }
}

#[test]
fn an_image_is_not_written_by_two_processes() {
    let dir = directory();
    let path = dir.as_path().join("disk");
    let ours = File::options().read(true).write(true).open(path).unwrap();
    let writer = "-drive id=d,file=disk -device virtio-blk-pci,drive=d";
    let reader = "-drive id=d,file=disk,readonly=on -device virtio-blk-pci,drive=d";
    lock(&ours, Access::Write).unwrap();
    for line in [writer, reader] {
        let error = refused(dir.as_path(), line);
        assert!(
            error.starts_with("mini-vmm: -drive file=disk: in use elsewhere"),
            "{error}"
        );
    }
    lock(&ours, Access::Read).unwrap();
    let error = refused(dir.as_path(), writer);
    assert!(error.contains("in use elsewhere"), "{error}");
    // Readers share it: what is wrong with the next one is something else.
    let error = refused(
        dir.as_path(),
        &format!("{reader} -device virtio-rng-pci,period=0"),
    );
    assert!(error.contains("period=0"), "{error}");
}
