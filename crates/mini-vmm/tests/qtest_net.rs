//! Network devices of the whole VMM, driven over qtest and QMP.

use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use serde_json::{Value, json};
use testkit::loopback;
use testkit::qtest::{Part, PciDevice, VirtioPci, VirtioQueue, Vmm};

fn start(arguments: &str) -> Vmm {
    Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), arguments)
}

/// A machine with a network device on a socket that it inherits, a driver that is ready, and the far
/// end.
struct Net {
    vmm: Vmm,
    pci: VirtioPci,
    receive: VirtioQueue,
    transmit: VirtioQueue,
    control: VirtioQueue,
    far: UnixStream,
}

impl Net {
    fn start(options: &str) -> Self {
        let (far, near) = UnixStream::pair().unwrap();
        rustix::io::fcntl_setfd(&near, FdFlags::empty()).unwrap();
        let fd = near.as_raw_fd();
        let vmm = start(&format!(
            "-M pc -netdev socket,fd={fd},id=hs0 -device virtio-net-pci,netdev=hs0,addr=04.0,id=n0{options}"
        ));
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self::around(vmm, far)
    }

    fn around(mut vmm: Vmm, far: UnixStream) -> Self {
        let pci = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        pci.negotiate(&mut vmm, !(1 << 29 | 1 << 30));
        let receive = pci.queue(&mut vmm, 0, None);
        let transmit = pci.queue(&mut vmm, 1, None);
        let control = pci.queue(&mut vmm, 2, None);
        pci.start(&mut vmm);
        Self {
            vmm,
            pci,
            receive,
            transmit,
            control,
            far,
        }
    }

    /// A frame from the host.
    fn send(&mut self, frame: &[u8]) {
        let len = (frame.len() as u32).to_be_bytes();
        self.far.write_all(&[&len, frame].concat()).unwrap();
    }

    /// The next frame of the guest.
    fn frame(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.far.read_exact(&mut len).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.far.read_exact(&mut frame).unwrap();
        frame
    }

    /// A buffer of the guest's, which is found to hold `frame`.
    fn receives(&mut self, place: u64, frame: &[u8]) {
        assert_eq!(self.receive.used(&mut self.vmm), 12 + frame.len() as u32);
        assert_eq!(self.vmm.read(place + 12, frame.len()), frame);
    }

    fn offers_buffer(&mut self) -> u64 {
        let places = self.receive.add(&mut self.vmm, &[Part::In(64)]);
        self.receive.kick(&mut self.vmm);
        places[0]
    }
}

#[test]
fn frames_go_both_ways() {
    let mut net = Net::start("");
    let place = net.offers_buffer();
    net.send(b"TEST\0");
    net.receives(place, b"TEST\0");
    let packet = [&[0; 12][..], b"TEST", &[0; 48]].concat();
    net.transmit.add(&mut net.vmm, &[Part::Out(&packet)]);
    net.transmit.kick(&mut net.vmm);
    assert_eq!(net.transmit.used(&mut net.vmm), 0);
    assert_eq!(net.frame(), packet[12..]);
    assert_eq!(net.pci.config(&mut net.vmm, 0, 6), 0x5634_1200_5452);
    assert_eq!(net.vmm.terminate(), Some(0));
}

/// A UDP port of this host that nobody has.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((loopback(), 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A machine whose network device, made by `-nic`, has datagrams.
fn datagrams(nic: &str) -> Net {
    let vmm = start(&format!("-M pc -nic {nic},addr=04.0"));
    let (far, _) = UnixStream::pair().unwrap();
    Net::around(vmm, far)
}

fn transmit(net: &mut Net, packet: &[u8]) {
    net.transmit.add(&mut net.vmm, &[Part::Out(packet)]);
    net.transmit.kick(&mut net.vmm);
    assert_eq!(net.transmit.used(&mut net.vmm), 0);
}

/// More than a line may fail in a row.
const MANY: usize = 20;

#[test]
fn datagrams_go_both_ways() {
    let packet = [&[0; 12][..], b"TEST", &[0; 48]].concat();
    let host = loopback();
    for dgram in [false, true] {
        let far = UdpSocket::bind((host, 0)).unwrap();
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (there, here) = (far.local_addr().unwrap().port(), free_port());
        let mut net = datagrams(&match dgram {
            false => format!("socket,udp={host}:{there},localaddr={host}:{here}"),
            true => format!(
                "dgram,local.type=inet,local.host={host},local.port={here},\
                 remote.type=inet,remote.host={host},remote.port={there}"
            ),
        });
        far.connect((host, here)).unwrap();
        let place = net.offers_buffer();
        // What a stranger sends is not heard, and nothing is no frame, nor the end, however often.
        let stranger = UdpSocket::bind((host, 0)).unwrap();
        stranger.send_to(b"STRANGE", (host, here)).unwrap();
        (0..MANY).for_each(|_| assert_eq!(far.send(b"").unwrap(), 0));
        far.send(b"TEST\0").unwrap();
        net.receives(place, b"TEST\0");
        transmit(&mut net, &packet);
        let mut frame = [0; 100];
        let len = far.recv(&mut frame).unwrap();
        assert_eq!(frame[..len], packet[12..]);
        // The peer may go for long, and another come in its place.
        drop(far);
        let place = net.offers_buffer();
        (0..MANY).for_each(|_| transmit(&mut net, &packet));
        let far = UdpSocket::bind((host, there)).unwrap();
        far.connect((host, here)).unwrap();
        far.send(b"AGAIN").unwrap();
        net.receives(place, b"AGAIN");
        assert_eq!(net.vmm.terminate(), Some(0));
    }
}

#[test]
fn all_members_of_a_group_hear_a_frame() {
    let port = free_port();
    let nic = format!("socket,mcast=230.0.0.1:{port},localaddr=127.0.0.1");
    let mut members = [datagrams(&nic), datagrams(&nic)];
    let places = members.each_mut().map(Net::offers_buffer);
    let packet = [&[0; 12][..], b"TEST", &[0; 30]].concat();
    transmit(&mut members[0], &packet);
    for (net, place) in members.iter_mut().zip(places) {
        net.receives(place, &packet[12..]);
    }
    for net in members {
        assert_eq!(net.vmm.terminate(), Some(0));
    }
}

/// Time stamps left out, the records of a capture.
fn records(path: &Path) -> Vec<(u32, Vec<u8>)> {
    let capture = std::fs::read(path).unwrap();
    let (_, mut rest) = capture.split_at(24);
    let mut records = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (frame, after) = after.split_at(field(8) as usize);
        records.push((field(12), frame.to_vec()));
        rest = after;
    }
    records
}

#[test]
fn frames_are_captured_both_ways_as_long_as_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let mut net = Net::start(&format!(
        " -object filter-dump,id=d0,netdev=hs0,file={},maxlen=8 \
         -object filter-dump,id=d1,netdev=hs0,file={},queue=rx",
        path("both").display(),
        path("first").display()
    ));
    let packet = [&[0; 12][..], b"from the guest", &[0; 46]].concat();
    for _ in 0..2 {
        let place = net.offers_buffer();
        net.send(b"from the host");
        net.receives(place, b"from the host");
        net.transmit.add(&mut net.vmm, &[Part::Out(&packet)]);
        net.transmit.kick(&mut net.vmm);
        assert_eq!(net.transmit.used(&mut net.vmm), 0);
        assert_eq!(net.frame(), packet[12..]);
        // The second time there is none.
        let _ = net.vmm.qmp().execute("object-del", json!({"id": "d1"}));
    }
    let both = [(13, b"from the".to_vec()), (60, b"from the".to_vec())];
    assert_eq!(records(&path("both")), [&both[..], &both].concat());
    assert_eq!(records(&path("first")), [(60, packet[12..].to_vec())]);
    assert_eq!(net.vmm.terminate(), Some(0));
}

#[test]
fn a_frame_waits_for_the_machine_to_go_on() {
    let mut net = Net::start("");
    let place = net.offers_buffer();
    net.vmm.qmp().execute("stop", json!({})).unwrap();
    net.send(b"TEST\0");
    net.vmm.qmp().execute("query-status", json!({})).unwrap();
    assert_eq!(net.vmm.read(place + 12, 4), [0; 4]);
    net.vmm.qmp().execute("cont", json!({})).unwrap();
    net.receives(place, b"TEST\0");
}

#[test]
fn announcements_come_and_can_be_stopped() {
    let mut net = Net::start("");
    let announce =
        |rounds: u32| json!({"initial": 20, "max": 100, "rounds": rounds, "step": 10, "id": "bob"});
    net.vmm
        .qmp()
        .execute("announce-self", announce(300))
        .unwrap();
    for _ in 0..3 {
        let frame = net.frame();
        assert_eq!((frame.len(), &frame[12..14]), (60, &[0x80, 0x35][..]));
    }
    net.vmm.qmp().execute("announce-self", announce(0)).unwrap();
    net.far
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let start = Instant::now();
    loop {
        match net.far.read(&mut [0; 64]) {
            Ok(len) => assert!(len > 0 && start.elapsed() < Duration::from_secs(10)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let other = json!({"initial": 20, "max": 100, "rounds": 1, "step": 10, "interfaces": ["n1"]});
    net.vmm.qmp().execute("announce-self", other).unwrap();
    let silence = net.far.read(&mut [0; 64]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock, "it is not that one");
}

#[test]
fn a_frame_larger_than_any_is_given_back() {
    let mut vmm =
        start("-M pc -netdev hubport,hubid=0,id=hs0 -device virtio-net-pci,netdev=hs0,addr=04.0");
    let pci = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
    pci.negotiate(&mut vmm, !(1 << 30));
    pci.queue(&mut vmm, 0, None);
    let mut transmit = pci.queue(&mut vmm, 1, None);
    pci.start(&mut vmm);
    // 65 descriptors, and somewhat over 64 KiB in all.
    let part = vec![0; (4096 + 65536) / 64];
    let parts = vec![Part::Out(&part); 65];
    transmit.add(&mut vmm, &parts);
    transmit.kick(&mut vmm);
    assert_eq!(transmit.used(&mut vmm), 0);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn hubs_carry_frames_from_port_to_port() {
    let mut vmm = start(
        "-M pc -netdev hubport,hubid=3,id=a -netdev hubport,hubid=3,id=b \
         -netdev hubport,hubid=4,id=c -device virtio-net-pci,netdev=a,addr=4.0 \
         -device virtio-net-pci,netdev=b,addr=5.0 -device virtio-net-pci,netdev=c,addr=6.0",
    );
    let mut queues = Vec::new();
    for slot in [4, 5, 6] {
        let pci = VirtioPci::find(&mut vmm, slot, 0xe000_0000 + 0x10_0000 * u32::from(slot));
        pci.negotiate(&mut vmm, !(1 << 29 | 1 << 30));
        queues.push([0, 1].map(|index| pci.queue(&mut vmm, index, None)));
        pci.start(&mut vmm);
        assert_eq!(
            pci.config(&mut vmm, 5, 1),
            u64::from(slot) + 0x52,
            "its address"
        );
    }
    let [[_, from], [to, _], [other, _]] = &mut queues[..] else {
        unreachable!()
    };
    let places = to.add(&mut vmm, &[Part::In(100)]);
    to.kick(&mut vmm);
    other.add(&mut vmm, &[Part::In(100)]);
    other.kick(&mut vmm);
    let packet = [&[0; 12][..], &[0xff; 6], b"something"].concat();
    from.add(&mut vmm, &[Part::Out(&packet)]);
    from.kick(&mut vmm);
    assert_eq!(from.used(&mut vmm), 0);
    assert_eq!(to.used(&mut vmm), packet.len() as u32);
    assert_eq!(vmm.read(places[0] + 12, packet.len() - 12), packet[12..]);
    assert!(!other.has_used(&mut vmm), "another hub");
}

#[test]
fn the_link_is_set_by_the_name_of_either_end() {
    let mut net = Net::start("");
    for name in ["n0", "hs0"] {
        for up in [false, true] {
            let link = json!({"name": name, "up": up});
            net.vmm.qmp().execute("set_link", link).unwrap();
            assert_eq!(net.pci.config(&mut net.vmm, 6, 2), u64::from(up));
        }
    }
    let nobody = json!({"name": "n1", "up": true});
    let error = net.vmm.qmp().execute("set_link", nobody).unwrap_err();
    assert_eq!(error["class"], "DeviceNotFound");
    let place = net.offers_buffer();
    net.send(b"up again");
    net.receives(place, b"up again");
}

#[test]
fn the_filter_is_told_and_asked_for() {
    let mut net = Net::start(",ctrl_vlan=off");
    let filter = |net: &mut Net| net.vmm.qmp().execute("query-rx-filter", json!({})).unwrap();
    let before = filter(&mut net);
    assert_eq!(before[0]["promiscuous"], true);
    assert_eq!(
        (&before[0]["vlan"], &before[0]["name"]),
        (&json!("all"), &json!("n0"))
    );
    let control = &mut net.control;
    let places = control.add(
        &mut net.vmm,
        &[Part::Out(&[0, 0]), Part::Out(&[0]), Part::In(1)],
    );
    control.kick(&mut net.vmm);
    assert_eq!(control.used(&mut net.vmm), 1);
    assert_eq!(net.vmm.read(places[2], 1), [0]);
    let event = net.vmm.qmp().event("NIC_RX_FILTER_CHANGED");
    assert_eq!(
        event["data"],
        json!({"name": "n0", "path": "/machine/peripheral/n0/virtio-backend"})
    );
    let after = filter(&mut net);
    assert_eq!(
        (&after[0]["promiscuous"], &after[0]["unicast"]),
        (&json!(false), &json!("normal"))
    );
    assert_eq!(after[0]["main-mac"], "52:54:00:12:34:56");
}

#[test]
fn devices_without_identifier_have_names_of_their_own() {
    let mut vmm = start(
        "-M pc -device virtio-net-pci -device virtio-net-pci,id=n1 -device virtio-net-pci,addr=9",
    );
    let mut names = |name: Value| {
        let reports = vmm.qmp().execute("query-rx-filter", name).unwrap();
        let names = reports.as_array().unwrap().iter();
        let names = names.map(|report| report["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let all = ["virtio-net-pci.0", "n1", "virtio-net-pci.2"];
    assert_eq!(names(json!({})), all);
    for name in all {
        assert_eq!(names(json!({"name": name})), [name]);
    }
    let pci = VirtioPci::find(&mut vmm, 9, 0xe020_0000);
    let link = json!({"name": all[2], "up": false});
    vmm.qmp().execute("set_link", link).unwrap();
    assert_eq!(pci.config(&mut vmm, 6, 2), 0);
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn net_and_its_back_end_come_and_go() {
    let mut vmm = start("-M pc");
    let descriptors = |vmm: &Vmm| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", vmm.id()));
        open.unwrap().count()
    };
    let mut before = None;
    for round in 0..100 {
        let netdev = json!({"type": "hubport", "id": "h0", "hubid": 1});
        vmm.qmp().execute("netdev_add", netdev).unwrap();
        let device = json!({"driver": "virtio-net-pci", "id": "net1", "netdev": "h0", "addr": "6"});
        vmm.qmp().execute("device_add", device).unwrap();
        if round % 10 == 0 {
            let pci = VirtioPci::find(&mut vmm, 6, 0xe020_0000);
            pci.negotiate(&mut vmm, !(1 << 30));
            pci.queue(&mut vmm, 0, None);
            pci.start(&mut vmm);
            assert_eq!(
                pci.config(&mut vmm, 5, 1),
                0x56,
                "the address is free again"
            );
        }
        let busy = vmm.qmp().execute("netdev_del", json!({"id": "h0"}));
        assert!(
            busy.unwrap_err()["desc"]
                .as_str()
                .unwrap()
                .contains("in use")
        );
        vmm.qmp()
            .execute("device_del", json!({"id": "net1"}))
            .unwrap();
        vmm.output(0xae08, 4, 1 << 6);
        for _ in 0..2 {
            vmm.qmp().event("DEVICE_DELETED");
        }
        assert_eq!(PciDevice::find(&mut vmm, 6), None);
        vmm.qmp()
            .execute("netdev_del", json!({"id": "h0"}))
            .unwrap();
        let open = descriptors(&vmm);
        assert_eq!(*before.get_or_insert(open), open, "descriptors");
    }
    assert_eq!(vmm.terminate(), Some(0));
}

#[test]
fn a_socket_serves_one_peer_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net");
    let vmm = start(&format!(
        "-M pc -netdev stream,id=s0,server=on,addr.type=unix,addr.path={} \
         -device virtio-net-pci,netdev=s0,addr=04.0",
        path.display()
    ));
    let connect = || {
        let far = UnixStream::connect(&path).unwrap();
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        far
    };
    let mut net = Net::around(vmm, connect());
    for round in 0..3u8 {
        let place = net.offers_buffer();
        net.send(&[round; 20]);
        net.receives(place, &[round; 20]);
        let parts = [Part::Out(&[0; 12]), Part::Out(&[round; 38])];
        net.transmit.add(&mut net.vmm, &parts);
        net.transmit.kick(&mut net.vmm);
        net.transmit.used(&mut net.vmm);
        assert_eq!(net.frame(), [round; 38]);
        net.far = connect();
    }
    assert_eq!(
        net.pci.config(&mut net.vmm, 6, 2),
        1,
        "the link is up throughout"
    );
    assert_eq!(net.vmm.terminate(), Some(0));
    assert!(!path.exists());
}

/// Here one that never does anything.
#[test]
fn a_network_process_that_dies_takes_the_link_down() {
    let vmm =
        start("-M pc -netdev user,id=u0,path=/bin/true -device virtio-net-pci,netdev=u0,addr=04.0");
    let mut net = Net::around(vmm, UnixStream::pair().unwrap().0);
    net.offers_buffer();
    let end = Instant::now() + Duration::from_secs(60);
    while net.pci.config(&mut net.vmm, 6, 2) != 0 {
        assert!(Instant::now() < end, "the link is still up");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The device is there still, and takes what goes nowhere.
    net.transmit.add(&mut net.vmm, &[Part::Out(&[0; 72])]);
    net.transmit.kick(&mut net.vmm);
    assert_eq!(net.transmit.used(&mut net.vmm), 0);
    assert_eq!(net.vmm.terminate(), Some(0));
}
