//! The network driver, to a socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use driver_tests::virtio_drivers::device::net::{RxBuffer, TxBuffer, VirtIONet};
use driver_tests::{Board, Guest, GuestHal, on_every_board};
use virtio_net::{Framed, Net, NetProps, Plain};

on_every_board!(
    knows_its_address,
    sends,
    receives,
    echoes_much,
    can_be_bound_again_and_again,
);

fn device() -> (Net<Framed>, UnixStream) {
    let (host, device) = UnixStream::pair().expect("sockets");
    device.set_nonblocking(true).expect("nonblocking");
    host.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let line = Framed::new(device.into()).expect("a line");
    let net = Net::new(&NetProps::default(), Plain, vec![line]);
    (net.expect("network device"), host)
}

fn bind<B: Board>(board: &B) -> VirtIONet<GuestHal, B::Driver, 16> {
    VirtIONet::new(board.driver(), 2048).expect("network driver")
}

fn receive<B: Board>(net: &mut VirtIONet<GuestHal, B::Driver, 16>) -> RxBuffer {
    let start = Instant::now();
    while !net.can_recv() {
        assert!(start.elapsed() < PATIENCE, "nothing comes");
        std::thread::yield_now();
    }
    net.receive().expect("a frame")
}

fn send(host: &mut UnixStream, frame: &[u8]) {
    let len = (frame.len() as u32).to_be_bytes();
    host.write_all(&[&len, frame].concat()).expect("write");
}

fn expect(host: &mut UnixStream, frame: &[u8]) {
    let mut len = [0; 4];
    host.read_exact(&mut len).expect("a length");
    assert_eq!(u32::from_be_bytes(len) as usize, frame.len());
    let mut got = vec![0; frame.len()];
    host.read_exact(&mut got).expect("a frame of the guest");
    assert_eq!(got, frame);
}

/// A frame that tells its number and length.
fn frame(number: usize) -> Vec<u8> {
    let len = 60 + number * 37 % 1454;
    (0..len).map(|at| (at + number) as u8).collect()
}

fn knows_its_address<B: Board>() {
    let guest = Guest::new();
    let (device, _host) = device();
    let board = B::new(&guest, device);
    let address = bind(&board).mac_address();
    assert_eq!(address, [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
}

fn sends<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut net = bind(&board);
    for number in 0..50 {
        let frame = frame(number);
        net.send(TxBuffer::from(&frame)).expect("send");
        expect(&mut host, &frame);
    }
}

fn receives<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut net = bind(&board);
    for number in 0..50 {
        send(&mut host, &frame(number));
        let buffer = receive::<B>(&mut net);
        assert_eq!(buffer.packet(), frame(number));
        net.recycle_rx_buffer(buffer).expect("recycle");
    }
}

fn echoes_much<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    let mut net = bind(&board);
    for burst in 0..40 {
        let numbers = burst * 12..burst * 12 + 12;
        numbers
            .clone()
            .for_each(|number| send(&mut host, &frame(number)));
        for number in numbers {
            let buffer = receive::<B>(&mut net);
            net.send(TxBuffer::from(buffer.packet())).expect("send");
            net.recycle_rx_buffer(buffer).expect("recycle");
            expect(&mut host, &frame(number));
        }
    }
}

fn can_be_bound_again_and_again<B: Board>() {
    let guest = Guest::new();
    let (device, mut host) = device();
    let board = B::new(&guest, device);
    for number in 0..10 {
        let mut net = bind(&board);
        net.send(TxBuffer::from(&frame(number))).expect("send");
        expect(&mut host, &frame(number));
        send(&mut host, &frame(number));
        assert_eq!(receive::<B>(&mut net).packet(), frame(number));
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
