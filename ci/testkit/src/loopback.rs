//! Ports of this host that no other test takes.

use std::net::Ipv4Addr;
use std::process;

/// A loopback address that is this process' own: a port that is free there stays so, whatever tests
/// run beside this one. Nor is a connection from there to itself, as happens at 127.0.0.1 to who
/// connects again and again to a port that nobody serves: what connects has that for its address.
pub fn loopback() -> Ipv4Addr {
    let [_, a, b, c] = process::id().to_be_bytes();
    // Numbers of processes have 22 bits.
    Ipv4Addr::new(127, 128 | a, b, c)
}
