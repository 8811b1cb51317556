//! Networks: tap interfaces on PCI, with split and packed rings, and on MMIO. The guest uses iperf3
//! and ethtool. From outside come the servers, frames to be filtered, and a link that goes down and
//! up during a transfer. It takes root, for the interfaces.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario, tool};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use crate::process::output;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "net",
    equip,
    play: Play::Alone(play),
};

/// The interfaces are made first, so that the VMM only opens them.
fn equip(machine: &mut Machine) -> Result<()> {
    let data = machine.file("net-data");
    let mut random = vec![0; LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    fs::write(&data, random)?;
    let line = output(Command::new("sha256sum").arg(&data))?;
    let sum = line.split(' ').next().unwrap_or_default();
    machine.parameter(&format!("net_sum={sum} net_size={LENGTH}"));
    machine.monitor_qmp(MONITOR);
    let (mmio, ours) = (machine.vmm.has_mmio(), machine.vmm.is_ours());
    for tap in TAPS.iter().filter(|tap| mmio || !tap.is_mmio()) {
        tap.make().context("the interfaces, which take root")?;
        machine.option("-netdev", &tap.netdev());
        machine.device(&tap.device(ours));
    }
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let _interfaces = Interfaces;
    let _iperf = Server::start()?;
    let (frames, transfers) = (listen("10.77.0.1:7002")?, listen("10.77.0.1:7001")?);
    guest.ready(BOOT)?;
    let host = machine.clone();
    let host = spawn(move || serve(&host, &frames, &transfers));
    let mut verdicts = Vec::new();
    loop {
        match guest.report(SILENCE)? {
            Report::Verdict(verdict) => verdicts.push(verdict),
            Report::Ended => break,
            _ => {}
        }
    }
    let served = host.join().unwrap_or_else(|_| Err(anyhow!("it crashed")));
    verdicts.push(Verdict::of("net-host", served));
    let reported = |check: &&&str| verdicts.iter().any(|verdict| verdict.check == **check);
    let expected = CHECKS
        .iter()
        .chain(OURS.iter().filter(|_| machine.vmm.is_ours()));
    let missing: Vec<_> = expected
        .filter(|check| !reported(check))
        .map(|check| Verdict::of(check, Err(anyhow!("the guest never reported it"))))
        .collect();
    verdicts.extend(missing);
    Ok(verdicts)
}

/// Sends frames as the guest wishes, then the data, with the link down and up in between.
fn serve(machine: &Machine, frames: &TcpListener, transfers: &TcpListener) -> Result<String> {
    for _ in 0..FRAME_ROUNDS {
        let stream = accept(frames)?;
        let mut wish = String::new();
        BufReader::new(&stream).read_line(&mut wish)?;
        send_frames(wish.trim())?;
    }
    let mut monitor = Qmp::connect(&machine.file(MONITOR))?;
    let data = fs::read(machine.file("net-data"))?;
    let mut stream = accept(transfers)?;
    for piece in data.chunks(LENGTH / FLAPS) {
        stream.write_all(piece).context("the transfer")?;
        for up in [false, true] {
            monitor.execute("set_link", json!({"name": TAPS[0].id, "up": up}))?;
            sleep(DOWN);
        }
    }
    Ok(format!("sent it all, {FLAPS} times down and up"))
}

/// A hundred frames by the first interface: to an address that is not the guest's, or to the guest's
/// with the tag of VLAN 5.
fn send_frames(wish: &str) -> Result<()> {
    let to = match wish {
        "foreign" => "10.77.0.99:9",
        "tagged" => "10.77.5.99:9",
        other => bail!("the guest asks for {other:?}"),
    };
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for number in 0..FRAMES {
        socket.send_to(&[number; 100], to)?;
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A tap interface and the device on it.
struct Tap {
    name: &'static str,
    /// Of device and back-end.
    id: &'static str,
    /// Of its subnet, 10.77.n.0/24.
    subnet: u32,
    /// Last byte of the guest's Ethernet address.
    station: u32,
    queues: u32,
    device: &'static str,
    /// Properties that only our device has.
    ours: &'static str,
}

impl Tap {
    fn is_mmio(&self) -> bool {
        self.device.starts_with("virtio-net-device")
    }

    fn make(&self) -> Result<()> {
        let (name, subnet) = (self.name, self.subnet);
        self.remove();
        let queues = if self.queues > 1 { " multi_queue" } else { "" };
        ip(&format!("tuntap add dev {name} mode tap vnet_hdr{queues}"))?;
        ip(&format!("addr add 10.77.{subnet}.1/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        if self.subnet == 0 {
            // Stations that are not there, and one that is, in a VLAN.
            ip(&format!(
                "neigh replace 10.77.0.99 lladdr 02:00:00:00:00:99 dev {name}"
            ))?;
            ip(&format!("link add link {name} name {name}v type vlan id 5"))?;
            ip(&format!("addr add 10.77.5.1/24 dev {name}v"))?;
            ip(&format!("link set {name}v up"))?;
            let station = "52:54:00:77:00:01";
            ip(&format!(
                "neigh replace 10.77.5.99 lladdr {station} dev {name}v"
            ))?;
        }
        Ok(())
    }

    /// With what hangs on it; it need not be there.
    fn remove(&self) {
        let _ = ip(&format!("link del {}", self.name));
    }

    fn netdev(&self) -> String {
        let Self {
            id, name, queues, ..
        } = self;
        format!("tap,id=tap-{id},ifname={name},queues={queues},script=no,downscript=no")
    }

    fn device(&self, ours: bool) -> String {
        let Self {
            id,
            device,
            station,
            ..
        } = self;
        let ours = if ours { self.ours } else { "" };
        format!("{device},id={id},netdev=tap-{id},mac=52:54:00:77:00:0{station}{ours}")
    }
}

/// Removes the interfaces of the host when it is dropped.
struct Interfaces;

impl Drop for Interfaces {
    fn drop(&mut self) {
        TAPS.iter().for_each(Tap::remove);
    }
}

/// An iperf3 that serves until it is dropped.
struct Server(Child);

impl Server {
    fn start() -> Result<Self> {
        let mut command = tool("iperf3")?;
        command
            .arg("-s")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(command.spawn().context("iperf3")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(address: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| address.to_owned())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).context("the guest does not call"),
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    output(tool("ip")?.args(arguments.split(' '))).map(drop)
}

const TAPS: [Tap; 3] = [
    Tap {
        name: "guest-split",
        id: "net1",
        subnet: 0,
        station: 1,
        queues: 2,
        device: "virtio-net-pci,mq=on,rss=on,hash=on,vectors=6",
        ours: ",notf_coal=on",
    },
    Tap {
        name: "guest-packed",
        id: "net2",
        subnet: 2,
        station: 2,
        queues: 1,
        device: "virtio-net-pci-non-transitional,packed=on",
        ours: "",
    },
    Tap {
        name: "guest-mmio",
        id: "net3",
        subnet: 3,
        station: 3,
        queues: 1,
        device: "virtio-net-device",
        ours: "",
    },
];
/// What the guest must report with any VMM, and with ours besides.
const CHECKS: &[&str] = &[
    "net-ping",
    "net-tap-send",
    "net-tap-receive",
    "net-tap-udp",
    "net-offloads-off",
    "net-offloads",
    "net-queues",
    "net-rss-traffic",
    "net-rss",
    "net-promiscuous",
    "net-vlan",
    "net-transfer",
    "net-packed",
];
const OURS: &[&str] = &["net-coalescing", "net-mmio"];
/// Of QMP.
const MONITOR: &str = "net-qmp";
/// How often the guest asks for frames, and how many it gets.
const FRAME_ROUNDS: u32 = 4;
const FRAMES: u8 = 100;
/// Of the transfer, in bytes: what fits a few seconds of an emulated processor.
const LENGTH: usize = 16 << 20;
const FLAPS: usize = 8;
/// For how long the link is down, and up again at least.
const DOWN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(150);
