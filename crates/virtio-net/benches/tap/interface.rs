//! A tap interface in a network namespace of its own, and a socket that sends by it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ulong, c_void, ifreq};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use virtio_net::HEADER;

use crate::Packet;

/// Sends frames by the interface, for its queue to receive.
pub(crate) struct Injector(OwnedFd);

/// A queue of a new interface that is up, and a way to send by it.
pub(crate) fn tap() -> io::Result<(OwnedFd, Injector)> {
    // SAFETY: there is one thread, and no descriptor that depends on the namespace.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let queue = OwnedFd::from(file);
    let mut request = request(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR);
    call(&queue, TUNSETIFF, &mut request)?;
    let mut len = HEADER as c_int;
    call(&queue, TUNSETVNETHDRSZ, &mut len)?;
    // SAFETY: the request takes a number: checksums, TCP segmentation.
    done(unsafe { libc::ioctl(queue.as_raw_fd(), TUNSETOFFLOAD, 7 as c_ulong) })?;
    rustix::io::ioctl_fionbio(&queue, true)?;
    let socket = packet_socket()?;
    // No frames of the kernel's own among those that are counted. Without IPv6 there are none.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{NAME}/disable_ipv6"), "1");
    up(&socket)?;
    Ok((queue, Injector(socket)))
}

impl Injector {
    pub(crate) fn send(&self, packet: &Packet) {
        // A packet socket's header has no num_buffers.
        let bytes = [&packet.header[..10], &packet.frame].concat();
        // SAFETY: the buffer is there for the call.
        let sent = unsafe {
            libc::send(
                self.0.as_raw_fd(),
                bytes.as_ptr().cast::<c_void>(),
                bytes.len(),
                0,
            )
        };
        assert_eq!(sent, bytes.len() as isize, "{}", io::Error::last_os_error());
    }
}

fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is a new one of ours.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        done(fd)?;
        OwnedFd::from_raw_fd(fd)
    };
    let name = CString::new(NAME)?;
    let on: c_int = 1;
    // SAFETY: the structures are as long as is said, and there for the calls.
    unsafe {
        let mut place: libc::sockaddr_ll = zeroed();
        place.sll_family = libc::AF_PACKET as u16;
        place.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        done(libc::bind(
            socket.as_raw_fd(),
            (&raw const place).cast(),
            len,
        ))?;
        let len = size_of::<c_int>() as u32;
        done(libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_VNET_HDR,
            (&raw const on).cast(),
            len,
        ))?;
    }
    Ok(socket)
}

fn up(socket: &OwnedFd) -> io::Result<()> {
    let mut request = request(libc::IFF_UP);
    call(socket, libc::SIOCSIFFLAGS, &mut request)
}

fn request(flags: c_int) -> ifreq {
    // SAFETY: all fields are numbers, of which 0 is one.
    let mut request: ifreq = unsafe { zeroed() };
    let places = request.ifr_name.iter_mut();
    places
        .zip(NAME.bytes())
        .for_each(|(to, from)| *to = from as _);
    request.ifr_ifru.ifru_flags = flags as _;
    request
}

fn call<T>(fd: &OwnedFd, number: c_ulong, data: &mut T) -> io::Result<()> {
    let data: *mut T = data;
    // SAFETY: the requests used here take a pointer to what they are given, for the call.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), number, data) })
}

fn done(result: c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

const NAME: &str = "bench0";
const TUNSETIFF: c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: c_ulong = 0x4004_54d8;
const PACKET_VNET_HDR: c_int = 15;
