//! The command line as a whole: what is accepted, what is refused, and how.

use mini_vmm::files::Endpoint;
use mini_vmm::options::{
    Accel, Cache, ChardevKind, Command, Config, KernelStore, MachineType, SerialTarget,
    SocketOptions, parse,
};

fn args(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn config(line: &str) -> Config {
    match parse(args(line)) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    let error = parse(args(line)).expect_err(line).to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn a_command_line_as_qemus_users_write_it() {
    let config = config(
        "-name guest=web,debug-threads=on -M q35,accel=kvm -accel kvm -cpu host,-xsave -smp cpus=4 \
         -m 1.5G --kernel vmlinuz -initrd initrd.img -append ro -nographic -nodefaults -display none \
         -chardev socket,id=c0,path=/tmp/a,,b,server=on,wait=off -serial chardev:c0 \
         -drive id=d0,file=disk.raw,format=raw,if=none,readonly,cache=none,discard=unmap \
         -object rng-random,id=r0,filename=/dev/hwrng --device pvpanic,id=p0,ioport=0x600 \
         -no-reboot -sandbox off -pidfile pid -monitor none -vga none",
    );
    assert_eq!((config.memory, config.cpus), (3 << 29, 4));
    assert_eq!(config.cpu.features, [("xsave".to_owned(), false)]);
    assert_eq!(config.name.as_deref(), Some("web"));
    assert!(config.no_reboot && !config.is_sandboxed() && config.no_defaults);
    assert_eq!(config.serials, [Some(SerialTarget::Shared("c0".into()))]);
    let socket = ChardevKind::Socket(SocketOptions::new(Endpoint::Unix("/tmp/a,b".into()), true));
    assert_eq!(config.chardevs[0].kind, socket);
    let drive = &config.drives[0];
    assert!(drive.read_only && drive.discard && drive.cache == Cache::None);
    let object = &config.objects[0];
    assert_eq!(
        (object.kind.as_str(), object.id.as_str()),
        ("rng-random", "r0")
    );
    let filename = ("filename".to_owned(), "/dev/hwrng".to_owned());
    assert_eq!(object.properties, [filename]);
    assert_eq!(config.devices[0].driver, "pvpanic");
    assert_eq!(
        config.devices[0].properties,
        [("ioport".to_owned(), "0x600".to_owned())]
    );
}

#[test]
fn unpacked_kernels_are_kept_where_the_user_says() {
    for (arguments, store) in [
        ("-kernel k", KernelStore::Cache),
        ("-kernel k -M q35,kernel-store=off", KernelStore::Off),
        ("-kernel k -M q35,nokernel-store", KernelStore::Off),
        (
            "-kernel k -M kernel-store=a/b",
            KernelStore::At("a/b".into()),
        ),
    ] {
        assert_eq!(config(arguments).kernel_store, store, "{arguments}");
    }
}

#[test]
fn configuration_ports_are_there_where_they_are_needed_or_asked_for() {
    for (arguments, conf1) in [
        ("-kernel k", false),
        ("-kernel k -M q35,conf1=on", true),
        ("-kernel k -M pc", true),
        ("-M q35 -accel qtest -qtest unix:s", true),
        ("-M q35,conf1=off -accel qtest -qtest unix:s", false),
    ] {
        assert_eq!(config(arguments).has_conf1(), conf1, "{arguments}");
    }
}

#[test]
fn a_machine_without_processors_needs_no_kernel_and_no_terminal() {
    let config = config(
        "-qtest unix:/tmp/s -qtest-log /dev/null -trace virtio* -display none -audio none -M pc \
         -accel qtest",
    );
    assert_eq!(
        (config.machine, config.accel),
        (MachineType::Pc, Accel::Qtest)
    );
    let socket = ChardevKind::Socket(SocketOptions::new(Endpoint::Unix("/tmp/s".into()), false));
    assert_eq!(config.qtest, Some(socket));
    assert_eq!(config.serials, []);
}

#[test]
fn a_sandbox_is_for_guests_unless_something_else_is_said() {
    for (line, sandboxed) in [
        ("-kernel k", true),
        ("-kernel k -sandbox off", false),
        ("-M pc -accel qtest", false),
        ("-M pc -sandbox on -accel qtest", true),
    ] {
        assert_eq!(config(line).is_sandboxed(), sandboxed, "{line}");
    }
}

#[test]
fn the_serial_port_is_on_standard_input_unless_something_else_is() {
    let stdio = [Some(SerialTarget::Own(ChardevKind::Stdio {
        signal: false,
    }))];
    assert_eq!(config("-kernel k").serials, stdio);
    assert_eq!(config("-kernel k -serial mon:stdio").serials, stdio);
    assert_eq!(config("-kernel k -nodefaults").serials, []);
    assert_eq!(config("-kernel k -chardev stdio,id=c").serials, []);
    assert_eq!(config("-kernel k -serial none").serials, [None]);
}

#[test]
fn a_drive_may_be_a_disk_by_itself() {
    let config = config("-kernel k -drive file=a,if=virtio -drive file=b,if=virtio,id=b");
    let drives: Vec<_> = config.drives.iter().map(|drive| &drive.id).collect();
    assert_eq!(drives, ["virtio0", "b"]);
    for (device, drive) in config.devices.iter().zip(drives) {
        assert_eq!(device.driver, "virtio-blk-pci");
        assert_eq!(device.properties, [("drive".to_owned(), drive.clone())]);
    }
    assert_eq!(config.devices.len(), 2);
    assert!(config.unused().is_empty());
}

#[test]
fn what_no_device_uses_is_told() {
    let all = "-kernel k -chardev null,id=c0 -chardev null,id=c1 -chardev null,id=c2 -serial chardev:c0 \
               -device virtio-serial-pci -device virtconsole,chardev=c1 -drive id=d0,file=x \
               -device virtio-rng-pci,rng=r0 -object rng-random,id=r0 -object rng-random,id=r1 \
               -object iothread,id=t0 -object throttle-group,id=g0 -object filter-dump,id=f0,netdev=n0 \
               -netdev hubport,id=n0,hubid=0 -device virtio-net-pci,netdev=n0 \
               -fsdev synth,id=s0 -fsdev synth,id=s1 -device virtio-9p-pci,fsdev=s1";
    let expected = [
        "-chardev id=c2: no device uses it; accepted: a -device with chardev=c2",
        "-drive id=d0: no device uses it; accepted: a -device with drive=d0",
        "-fsdev id=s0: no device uses it; accepted: a -device with fsdev=s0",
        "-object id=r1: no device uses it; accepted: a -device with rng=r1",
        "-object id=t0: no device uses it; accepted: a -device with iothread=t0",
    ];
    assert_eq!(config(all).unused(), expected);
}

/// As libvirt writes them.
#[test]
fn devices_and_back_ends_may_be_given_in_json() {
    let json = config(
        r#"-kernel k -object {"qom-type":"rng-random","id":"r0","filename":"/dev/hwrng"}
           -blockdev {"driver":"file","filename":"/a,b.qcow2","node-name":"s0","auto-read-only":true}
           -blockdev {"node-name":"f0","read-only":true,"driver":"qcow2","file":"s0","backing":null,"cache":{"direct":true}}
           -netdev {"type":"stream","id":"n0","server":true,"addr":{"type":"unix","path":"/a=b"}}
           -device {"driver":"virtio-blk-pci","drive":"f0","id":"help","num-queues":2,"packed":true}
           -device {'driver':'virtio-net-pci','netdev':'n0'}"#,
    );
    let pairs = config(
        "-kernel k -object rng-random,filename=/dev/hwrng,id=r0 \
         -blockdev file,filename=/a,,b.qcow2,node-name=s0,auto-read-only=on \
         -blockdev qcow2,node-name=f0,read-only=on,file=s0,backing=,cache.direct=on \
         -netdev stream,id=n0,server=on,addr.type=unix,addr.path=/a=b \
         -device virtio-blk-pci,drive=f0,id=help,num-queues=2,packed=on \
         -device virtio-net-pci,netdev=n0",
    );
    assert_eq!(json, pairs);
}

#[test]
fn every_option_refuses_what_it_does_not_know() {
    for (line, expected) in [
        ("", "-kernel: missing; accepted: "),
        ("vmlinuz", "vmlinuz: not an option; accepted: "),
        ("-kernel", "-kernel: no value given; accepted: FILE"),
        ("-kernal k", "-kernal: unknown option; accepted: kernel"),
        (
            "-kernel k -qmp stdio -serial stdio",
            "-serial stdio: standard input is taken",
        ),
        (
            "-kernel k -serial null -qmp stdio -mon chardev=c -chardev stdio,id=c",
            "-qmp stdio: standard input is taken",
        ),
        (
            "-kernel k -name a,proces=b",
            "-name proces=b: unknown name; accepted: process",
        ),
        (
            "-kernel k -sandbox off,allow=/tmp",
            "-sandbox allow=/tmp: nothing is refused; accepted: with on",
        ),
        (
            "-kernel k -chardev ringbuf,id=c,size=3",
            "-chardev size=3: not accepted; accepted: a power of two",
        ),
        (
            "-kernel k -chardev socket,id=c,path=p,host=h,port=1",
            "-chardev path=p: a second place; accepted: ",
        ),
        (
            "-kernel k -blockdev null-co,node-name=z,size=-1",
            "-blockdev size=-1: not a size; accepted: ",
        ),
        (
            "-kernel k -nic none,mac=1",
            "-nic mac=1: there is nothing to set; accepted: none alone",
        ),
        ("-kernel k -m 12q", "-m 12q: not a size; accepted: "),
        ("-kernel k -m 8", "-m 8: out of range; accepted: 16M to 1T"),
        (
            "-kernel k -m 2T",
            "-m 2T: out of range; accepted: 16M to 1T",
        ),
        (
            "-kernel k -m 512,slots=2",
            "-m slots=2: unknown name; accepted: size",
        ),
        (
            "-kernel k -smp 0",
            "-smp cpus=0: not accepted; accepted: a number from 1 to 254",
        ),
        (
            "-kernel k -cpu qemu64",
            "-cpu qemu64: unknown CPU model; accepted: host, max",
        ),
        (
            "-kernel k -M microvm",
            "-machine type=microvm: not accepted; accepted: q35, pc, none",
        ),
        (
            "-kernel k -machine q35,acel=kvm",
            "-machine acel=kvm: unknown name; accepted: accel",
        ),
        (
            "-kernel k -machine q35,conf1=maybe",
            "-machine conf1=maybe: not a switch; accepted: on, off",
        ),
        (
            "-kernel k -machine pc,conf1=off",
            "-machine conf1=off: nothing else leads to this machine's devices; accepted: on",
        ),
        (
            "-kernel k -machine q35,kernel-store=",
            "-machine kernel-store=: not a directory; accepted: off, or a directory",
        ),
        (
            "-kernel k -machine kernel-stor=off",
            "-machine kernel-stor=off: unknown name; accepted: kernel-store",
        ),
        (
            "-kernel k -machine none",
            "-machine none: has no processors; accepted: with -accel qtest",
        ),
        (
            "-kernel k -qtest unix:s",
            "-qtest: the guest makes its accesses itself; accepted: with -accel qtest",
        ),
        (
            "-accel qtest -qtest udp:1",
            "-qtest udp:1: not a character device",
        ),
        (
            "-kernel k -accel tcg",
            "-accel accel=tcg: not accepted; accepted: kvm, qtest",
        ),
        (
            "-kernel k -display gtk",
            "-display gtk: not accepted; accepted: none",
        ),
        (
            "-kernel k -sandbox maybe",
            "-sandbox maybe: not a switch; accepted: on, off",
        ),
        (
            "-kernel k -serial udp:1",
            "-serial udp:1: not a character device; accepted: none, ",
        ),
        (
            "-kernel k -serial file:",
            "-serial file:: not a character device",
        ),
        (
            "-kernel k -chardev sokcet,id=c",
            "-chardev sokcet: unknown back-end; accepted: socket",
        ),
        (
            "-kernel k -chardev null",
            "-chardev id=: missing; accepted: an identifier",
        ),
        (
            "-kernel k -chardev null,id=1",
            "-chardev id=1: not an identifier",
        ),
        (
            "-kernel k -chardev file,id=c",
            "-chardev path=: missing; accepted: a path",
        ),
        (
            "-kernel k -chardev file,id=c,pth=x",
            "-chardev pth=x: unknown name; accepted: path",
        ),
        (
            "-kernel k -chardev socket,id=c,path=x,server=2",
            "-chardev server=2: not a switch",
        ),
        (
            "-kernel k -chardev socket,id=c,path=x,wait=on",
            "-chardev wait=on: only with server=on",
        ),
        (
            "-kernel k -chardev null,id=c -chardev null,id=c",
            "-chardev id=c: given twice",
        ),
        (
            "-kernel k -chardev stdio,id=c -serial stdio",
            "-serial stdio: standard input is taken",
        ),
        (
            "-kernel k -drive file=x",
            "-drive id=: missing; accepted: an identifier",
        ),
        (
            "-kernel k -drive id=d",
            "-drive file=: missing; accepted: the path of an image",
        ),
        (
            "-kernel k -drive id=d,file=x,format=vmdk",
            "-drive format=vmdk: not accepted; accepted: raw, qcow2",
        ),
        (
            "-kernel k -drive id=d,file=x,if=ide",
            "-drive if=ide: not accepted; accepted: none, virtio",
        ),
        (
            "-kernel k -drive id=d,file=x,cache=unsafe",
            "-drive cache=unsafe: not accepted; accepted: writeback",
        ),
        (
            "-kernel k -drive id=d,file=x,throttling.bps-total=9,throttling.bps-read=9",
            "-drive throttling.bps-read=9: total values and read/write values cannot be used at the \
             same time; accepted: it without throttling.bps-total",
        ),
        (
            "-kernel k -drive id=d,file=x,readonyl=on",
            "-drive readonyl=on: unknown name; accepted: readonly",
        ),
        (
            "-kernel k -drive id=d,file=x,readonly=maybe",
            "-drive readonly=maybe: not a switch",
        ),
        (
            "-kernel k -drive id=d,file=x -drive id=d,file=y",
            "-drive id=d: given twice",
        ),
        ("-kernel k -object rng-random", "-object id=: missing"),
        (
            r#"-kernel k -device {"driver":"pvpanic","id"}"#,
            "-device {\"driver\":\"pvpanic\",\"id\"}: not JSON: expected `:` at line 1 column 25; \
             accepted: an object such as {\"driver\": \"...\"}",
        ),
        (
            r#"-kernel k -netdev {"type":"tap","id":"n"},ifname=t"#,
            "-netdev {\"type\":\"tap\",\"id\":\"n\"},ifname=t: not JSON: trailing characters at ",
        ),
        (
            r#"-kernel k -object {"qom-type":"rng-random"}"#,
            "-object id=: missing; accepted: an identifier",
        ),
        (
            r#"-kernel k -blockdev {"driver":"file","node-name":"d","filenam":"x"}"#,
            "-blockdev filenam=x: unknown name; accepted: filename",
        ),
        (
            r#"-kernel k -chardev {"backend":"null","id":"c"}"#,
            "-chardev {\"backend\":\"null\": unknown back-end; accepted: ",
        ),
        ("-kernel k -device id=x", "-device driver=id=x"),
        (
            "-kernel k -device pvpanic,id=x -device pvpanic,id=x",
            "-device id=x: given twice",
        ),
    ] {
        let error = refused(line);
        // `id=x` has a key of its own, so that the type is what is missing.
        let expected = if line.ends_with("-device id=x") {
            "-device driver=: missing"
        } else {
            expected
        };
        assert!(
            error.starts_with(expected),
            "{line}\n  {error}\n  {expected}"
        );
    }
}

/// A variable of a shell that is not set is no reason to run another machine than was meant.
#[test]
fn a_value_is_empty_only_where_that_means_something() {
    let given = |option: &str| parse(["-kernel", "k", option, ""].map(str::to_owned));
    for option in [
        "-smp",
        "-machine",
        "-accel",
        "-name",
        "-run-with",
        "-pidfile",
        "-initrd",
    ] {
        let error = given(option).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{option}: no value given; accepted: ")),
            "{error}"
        );
    }
    assert!(given("-append").is_ok());
}

/// The second row of a name would be dead.
#[test]
fn no_option_is_described_twice() {
    let error = refused("-nothing-like-it");
    let (_, names) = error.split_once("accepted: ").unwrap();
    let names: Vec<_> = names.split(", ").collect();
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), different.len(), "{names:?}");
}

#[test]
fn help_is_printed_wherever_it_is_asked_for() {
    for (line, expected) in [
        ("-help", "Examples:"),
        ("--help", "Exit status:"),
        ("--help", "begins with { is JSON"),
        ("-h", "-kernel FILE"),
        ("-version", "mini-vmm "),
        ("-m 512 -machine help", "q35"),
        ("-machine help", "kernel-store=DIR|off"),
        ("-accel help", "kvm"),
        ("-cpu help", "xsave"),
        ("-chardev help", "socket"),
        ("-chardev socket,help", "reconnect-ms"),
        ("-drive help", "readonly"),
        ("-blockdev help", "node-name"),
        ("-fsdev help", "security_model"),
        ("-virtfs help", "mount_tag"),
        ("-netdev help", "hubid"),
        ("-netdev tap,help", "ifname"),
        ("-nic help", "model"),
        ("-object help", "rng-random"),
    ] {
        match parse(args(line)) {
            Ok(Command::Print(text)) => assert!(text.contains(expected), "{line}: {text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    match parse(args("-netdev tap,help")) {
        Ok(Command::Print(text)) => assert!(!text.contains("hubid"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        parse(args("-device help")),
        Ok(Command::DeviceHelp(String::new()))
    );
    assert_eq!(
        parse(args("-device pvpanic,help")),
        Ok(Command::DeviceHelp("pvpanic".into()))
    );
}
