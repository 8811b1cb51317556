//! Frames as datagrams: to a peer, or to all members of a group.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, sendto,
    socket_with, sockopt,
};
use virtio_device::Interest;
use virtio_net::guest_io::Iovecs;
use vm_memory::bitmap::BitmapSlice;

use super::{inherited, lock};
use crate::options::DatagramOptions;

/// A socket for datagrams.
pub(super) struct Datagram {
    socket: OwnedFd,
    /// The same, for an event loop that takes a descriptor once only.
    output: OwnedFd,
    /// Where they go, if the socket is not connected.
    group: Option<SocketAddrV4>,
    /// One on its way.
    frame: Mutex<Vec<u8>>,
}

impl Datagram {
    /// Opens what `options` name.
    pub(super) fn open(options: &DatagramOptions) -> io::Result<Self> {
        let (socket, group) = match options {
            DatagramOptions::Fd(fd) => (inherited(*fd)?, None),
            DatagramOptions::Udp { local, remote } => (connected(local, remote)?, None),
            DatagramOptions::Multicast { group, interface } => {
                (member(*group, *interface)?, Some(*group))
            }
        };
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            output: socket.try_clone()?,
            socket,
            group,
            frame: Mutex::new(vec![0; LONGEST]),
        })
    }

    /// As [`virtio_net::Line::receive`].
    pub(super) fn receive<B: BitmapSlice>(&self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        let mut frame = lock(&self.frame);
        let (len, _) = match recv(&self.socket, &mut frame[..], RecvFlags::DONTWAIT) {
            // An empty datagram, which anybody can send, and word that nobody was there for what we
            // have sent: neither is a frame, nor are many of them the end.
            Ok((0, _)) | Err(Errno::CONNREFUSED) => return Err(ErrorKind::WouldBlock.into()),
            received => received?,
        };
        packet.copy_in(frame.get(..len).unwrap_or_default());
        Ok(len)
    }

    /// As [`virtio_net::Line::send`].
    pub(super) fn send<B: BitmapSlice>(&self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        let mut frame = lock(&self.frame);
        let len = packet.remaining().min(LONGEST);
        let frame = frame.get_mut(..len).unwrap_or_default();
        packet.copy_out(frame);
        match self.group {
            Some(group) => sendto(&self.socket, frame, SendFlags::DONTWAIT, &group)?,
            None => send(&self.socket, frame, SendFlags::DONTWAIT)?,
        };
        Ok(())
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn output(&self) -> (BorrowedFd<'_>, Interest) {
        (self.output.as_fd(), Interest::Write)
    }
}

/// A socket at `local` that hears `remote` only.
fn connected(local: &(String, u16), remote: &(String, u16)) -> io::Result<OwnedFd> {
    let remote = resolve(remote)?;
    let mut locals = resolve(local)?.into_iter();
    // An address of the peer's kind.
    let local = locals.find(|local| remote.iter().any(|to| to.is_ipv4() == local.is_ipv4()));
    let socket = UdpSocket::bind(local.ok_or(ErrorKind::AddrNotAvailable)?)?;
    socket.connect(remote.as_slice())?;
    Ok(socket.into())
}

/// Addresses; those of this host where none is named.
fn resolve((host, port): &(String, u16)) -> io::Result<Vec<SocketAddr>> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    Ok((host, *port).to_socket_addrs()?.collect())
}

/// A member of `group`. Several on one host share its port.
fn member(group: SocketAddrV4, interface: Option<Ipv4Addr>) -> io::Result<OwnedFd> {
    let interface = interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &group)?;
    sockopt::set_ip_add_membership(&socket, group.ip(), &interface)?;
    let socket = UdpSocket::from(socket);
    socket.set_multicast_loop_v4(true)?;
    if interface != Ipv4Addr::UNSPECIFIED {
        sockopt::set_ip_multicast_if(&socket, &interface)?;
    }
    Ok(socket.into())
}

/// More than a datagram can have.
const LONGEST: usize = 64 << 10;
