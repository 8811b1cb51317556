//! A console on standard output, and a driver in the same process that prints on it.
//!
//! `cargo run -p virtio-serial --example console -- hello guest`

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use testkit::TestBus;
use testkit::virtio_device::Features;
use virtio_serial::{Port, PortBackend, Serial, SerialProps};

/// Prints what the guest writes; there is nothing to type.
struct Stdout;

impl PortBackend for Stdout {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(bytes.len())
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        // As if it never blocked. A VMM's would say `WouldBlock`, and lend its descriptor.
        None
    }
}

fn main() -> Result<(), virtio_serial::SerialError> {
    let console = Serial::new(&SerialProps::default(), vec![Port::console(Stdout)])?;

    // A VMM gives the device to a transport. Here it is a bus in memory, with a driver that knows
    // one port only.
    let mut bus = TestBus::new(console.with_size(80, 25));
    bus.core().write_config(8, b"#");
    bus.boot(Features::VERSION_1);
    for word in std::env::args().skip(1) {
        bus.request(1, &[b" ", word.as_bytes()], &[]);
    }
    bus.request(1, &[b"\n"], &[]);
    Ok(())
}
