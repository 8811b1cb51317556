//! Networks: tap interfaces on PCI, with split and packed rings, and on MMIO, and passt. The guest uses
//! iperf3 and ethtool. From outside come the servers, frames to be filtered, and a link that goes down
//! and up during a transfer; what passes one interface is captured. It takes root, for the interfaces.

mod capture;
mod passt;
mod tap;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::guest::scenario::{BOOT, Play, Scenario, tool};
use crate::guest::session::Guest;
use crate::guest::verdict::Verdict;
use crate::process::output;
use tap::{Interfaces, TAPS};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "net",
    equip,
    play: Play::Alone(play),
};

/// The interfaces are made first, so that the VMM only opens them.
fn equip(machine: &mut Machine) -> Result<()> {
    let (data, length) = (machine.file("net-data"), length(machine));
    let mut random = File::open("/dev/urandom")?.take(length);
    io::copy(&mut random, &mut File::create(&data)?)?;
    let line = output(Command::new("sha256sum").arg(&data))?;
    let sum = line.split(' ').next().unwrap_or_default();
    machine.parameter(&format!("net_sum={sum} net_size={length}"));
    machine.monitor_qmp(MONITOR);
    let (mmio, ours) = (machine.vmm.has_mmio(), machine.vmm.is_ours());
    for tap in TAPS.iter().filter(|tap| mmio || !tap.is_mmio()) {
        tap.make().context("the interfaces, which take root")?;
        machine.option("-netdev", &tap.netdev());
        machine.device(&tap.device(ours));
    }
    capture::equip(machine, &TAPS[1]);
    passt::equip(machine)
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let _interfaces = Interfaces;
    let _iperf = Server::start()?;
    let (frames, transfers) = (listen("10.77.0.1:7002")?, listen("10.77.0.1:7001")?);
    guest.ready(BOOT)?;
    let host = machine.clone();
    let host = spawn(move || serve(&host, &frames, &transfers));
    let (mut verdicts, _) = guest.verdicts()?;
    let served = host.join().unwrap_or_else(|_| Err(anyhow!("it crashed")));
    verdicts.push(Verdict::of("net-host", served));
    verdicts.push(Verdict::of("net-capture", capture::look(machine)));
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
    let data = File::open(machine.file("net-data"))?;
    let mut stream = accept(transfers)?;
    for _ in 0..FLAPS {
        let mut piece = (&data).take(length(machine) / FLAPS);
        io::copy(&mut piece, &mut stream).context("the transfer")?;
        for up in [false, true] {
            monitor.execute("set_link", json!({"name": TAPS[0].id, "up": up}))?;
            sleep(DOWN);
        }
    }
    Ok(format!("sent it all, {FLAPS} times down and up"))
}

/// Of the transfer, in bytes.
fn length(machine: &Machine) -> u64 {
    if machine.full { 1 << 30 } else { 16 << 20 }
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

/// What the guest must report with any VMM, and with ours besides.
const CHECKS: &[&str] = &[
    "net-ping",
    "net-tap-send",
    "net-tap-receive",
    "net-tap-udp",
    "net-offloads-off",
    "net-offloads",
    "net-queues",
    "net-rss-traffic-0",
    "net-rss-traffic-1",
    "net-rss",
    "net-promiscuous",
    "net-vlan",
    "net-transfer",
    "net-packed",
    "net-user-send",
    "net-user-receive",
];
const OURS: &[&str] = &["net-coalescing", "net-mmio"];
/// Of QMP.
const MONITOR: &str = "net-qmp";
/// How often the guest asks for frames, and how many it gets.
const FRAME_ROUNDS: u32 = 4;
const FRAMES: u8 = 100;
/// Of the link during the transfer.
const FLAPS: u64 = 8;
/// For how long the link is down, and up again at least.
const DOWN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(150);
