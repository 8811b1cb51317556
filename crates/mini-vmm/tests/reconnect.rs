//! A serial port on a TCP connection that is made again whenever it ends, by a process in its
//! sandbox.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use testkit::qtest::{Part, VirtioPci, VirtioQueue, Vmm};
use testkit::{PATIENCE, wait_for};

/// A port that its driver has opened, and always has a buffer for.
struct Port {
    vmm: Vmm,
    input: VirtioQueue,
    buffer: u64,
    output: VirtioQueue,
}

impl Port {
    fn open(arguments: &str) -> Self {
        let mut vmm = Vmm::start(env!("CARGO_BIN_EXE_mini-vmm"), arguments);
        let serial = VirtioPci::find(&mut vmm, 4, 0xe000_0000);
        serial.negotiate(&mut vmm, !(1 << 30));
        // Of the console that is not there, the control queues, and the port's.
        let [_, _, mut heard, mut said, mut input, output] =
            [0, 1, 2, 3, 4, 5].map(|index| serial.queue(&mut vmm, index, None));
        serial.start(&mut vmm);
        for _ in 0..16 {
            heard.add(&mut vmm, &[Part::In(64)]);
        }
        heard.kick(&mut vmm);
        for message in [[0, 0, 0, 0, 0, 0, 1, 0], READY, OPEN] {
            said.add(&mut vmm, &[Part::Out(&message)]);
            said.kick(&mut vmm);
            said.used(&mut vmm);
        }
        let buffer = offer(&mut vmm, &mut input);
        Self {
            vmm,
            input,
            buffer,
            output,
        }
    }

    /// What comes from the peer.
    fn hear(&mut self, peer: &mut TcpStream, bytes: &[u8]) {
        peer.write_all(bytes).unwrap();
        let length = self.input.used(&mut self.vmm) as usize;
        assert_eq!(self.vmm.read(self.buffer, length), bytes);
        self.buffer = offer(&mut self.vmm, &mut self.input);
    }

    /// What goes to the peer.
    fn say(&mut self, peer: &mut TcpStream, bytes: &[u8]) {
        self.output.add(&mut self.vmm, &[Part::Out(bytes)]);
        self.output.kick(&mut self.vmm);
        self.output.used(&mut self.vmm);
        let mut heard = vec![0; bytes.len()];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(heard, bytes);
    }
}

#[test]
fn a_connection_that_ends_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let place = listener.local_addr().unwrap().port();
    let mut port = Port::open(&format!(
        "-M pc -chardev socket,id=c0,host=127.0.0.1,port={place},reconnect-ms=20 \
         -device virtio-serial-pci,id=s0,addr=4 \
         -device virtserialport,bus=s0.0,chardev=c0,nr=1,name=org.example.line"
    ));
    for round in 0..5 {
        let mut peer = accept(&listener);
        port.hear(&mut peer, format!("question {round}").as_bytes());
        port.say(&mut peer, format!("answer {round}").as_bytes());
    }
    assert_eq!(port.vmm.terminate(), Some(0));
}

fn offer(vmm: &mut Vmm, input: &mut VirtioQueue) -> u64 {
    let buffer = input.add(vmm, &[Part::In(64)])[0];
    input.kick(vmm);
    buffer
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = wait_for("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Control messages of port 1 (section 5.3.6.2): it is ready, and open.
const READY: [u8; 8] = [1, 0, 0, 0, 3, 0, 1, 0];
const OPEN: [u8; 8] = [1, 0, 0, 0, 6, 0, 1, 0];
