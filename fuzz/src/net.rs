//! The network device.

use std::os::unix::net::UnixDatagram;

use arbitrary::{Arbitrary, Unstructured};
use testkit::TestBus;
use virtio_net::{Backend, Facts, FrameFd, Net, NetHandle, NetProps, Offloads};

use crate::device::{Subject, play};

/// The network device with two lines, which bring frames of all lengths and headers.
pub fn net(data: &[u8]) {
    play(Lines::default(), &mut Unstructured::new(data));
}

/// The host's ends of the lines.
#[derive(Default)]
pub(crate) struct Lines {
    far: Vec<UnixDatagram>,
    handle: Option<NetHandle>,
}

/// A back-end that can do everything.
struct Able;

#[derive(Arbitrary, Debug)]
pub(crate) enum Words {
    Command {
        class: u8,
        command: u8,
        data: [u8; 12],
    },
    Steering {
        types: u16,
        mask: u8,
        entry: u8,
        sending: u8,
    },
    Header([u8; 12], u16),
    Any([u8; 20]),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Event {
    Frame {
        line: bool,
        header: [u8; 12],
        len: u16,
        byte: u8,
    },
    Packet {
        line: bool,
        start: [u8; 32],
    },
    Receive(bool),
    Link(bool),
    Announce,
}

impl Lines {
    fn send(&self, line: bool, bytes: &[u8]) {
        if let Some(far) = self.far.get(usize::from(line)) {
            let _ = far.send(bytes);
        }
    }

    fn receive(&self, line: bool) {
        let mut bytes = [0; 128];
        if let Some(far) = self.far.get(usize::from(line)) {
            while far.recv(&mut bytes).is_ok() {}
        }
    }
}

impl Subject for Lines {
    type Device = Net<FrameFd>;
    type Words = Words;
    type Host = Event;

    fn device(&mut self) -> Self::Device {
        self.far.clear();
        let mut near = Vec::new();
        for _ in 0..2 {
            let (a, b) = UnixDatagram::pair().expect("a pair of sockets");
            for end in [&a, &b] {
                end.set_nonblocking(true).expect("a socket of our own");
            }
            near.push(FrameFd::new(a.into()).expect("a descriptor"));
            self.far.push(b);
        }
        let props = NetProps::default()
            .mq(true)
            .rss(true)
            .hash(true)
            .notf_coal(true)
            .vq_notf_coal(true)
            .host_mtu(1500);
        let device = Net::new(&props, Able, near).expect("a device");
        self.handle = Some(device.handle());
        device
    }

    fn words(&self, words: Words) -> Vec<u8> {
        match words {
            Words::Command {
                class,
                command,
                data,
            } => [&[class & 7, command & 7], &data[..]].concat(),
            Words::Steering {
                types,
                mask,
                entry,
                sending,
            } => {
                let mut bytes = vec![4, 1];
                bytes.extend(u32::from(types).to_le_bytes());
                bytes.extend([mask & 3, 0, entry & 3, 0]);
                (0..=mask & 3).for_each(|_| bytes.extend([entry & 1, 0]));
                bytes.extend([sending & 3, 0, 8]);
                bytes.extend([entry; 8]);
                bytes
            }
            Words::Header(header, len) => [&header[..], &vec![7; usize::from(len) & 63]].concat(),
            Words::Any(bytes) => bytes.to_vec(),
        }
    }

    fn host(&mut self, event: Event) {
        match event {
            Event::Frame {
                line,
                header,
                len,
                byte,
            } => self.send(line, &[&header[..], &vec![byte; len.into()]].concat()),
            Event::Packet { line, start } => {
                let ethernet = [&[0; 12][..], &[0xff; 6], &[2; 6], &[8, 0, 0x45, 0]].concat();
                self.send(line, &[&ethernet[..], &start].concat());
            }
            Event::Receive(line) => self.receive(line),
            Event::Link(up) => {
                if let Some(handle) = &self.handle {
                    handle.set_link(up);
                }
            }
            Event::Announce => {
                if let Some(handle) = &self.handle {
                    handle.announce();
                }
            }
        }
    }

    /// Far ends that do not read keep transmit queues waiting.
    fn release(&mut self) {
        self.receive(false);
        self.receive(true);
        self.host(Event::Link(true));
    }

    fn probe(&mut self, bus: &mut TestBus) {
        self.release();
        assert_eq!(
            bus.request(1, &[&[0; 20], b"a frame, whatever it says"], &[])
                .len,
            0
        );
        let control = bus.core().queue_count() - 1;
        let answer = bus.request(control, &[&[0, 0, 1]], &[1]);
        assert_eq!(answer.bytes, [0], "a receive mode");
    }
}

impl Backend for Able {
    fn facts(&self) -> Facts {
        Facts {
            header: true,
            offloads: Offloads::ALL,
        }
    }

    fn set_offloads(&self, _: Offloads) -> std::io::Result<()> {
        Ok(())
    }

    fn set_lines(&self, _: u16) -> std::io::Result<()> {
        Ok(())
    }
}
