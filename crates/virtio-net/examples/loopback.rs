//! A frame from a guest to the host and back, with the host at the other end of a stream socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use testkit::TestBus;
use virtio_net::virtio_device::Features;
use virtio_net::{Framed, Net, NetProps, Plain};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (near, mut far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let line = Framed::new(near.into())?;
    let device = Net::new(&NetProps::default(), Plain, vec![line])?;

    // What a VMM has in place of this: a transport, guest memory and a driver.
    let mut bus = TestBus::new(device);
    bus.boot(Features::VERSION_1);
    let buffer = bus.submit(0, &[], &[1526]);
    bus.request(1, &[&[0; 12], b"to everybody, from me: hello"], &[]);

    let mut bytes = [0; 256];
    let len = far.read(&mut bytes)?;
    let frame = String::from_utf8_lossy(&bytes[4..len]);
    println!("the host has {frame:?} and sends it back");
    far.write_all(&bytes[..len])?;
    bus.run();
    let used = bus.queue(0).collect().ok_or("nothing comes back")?;
    let answer = bus.response(&buffer, used);
    let frame = String::from_utf8_lossy(&answer.bytes[12..used.len as usize]);
    println!("the guest has {frame:?}");
    Ok(())
}
