//! Where stream sockets are, and how they are made in a process that may make them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

/// An end of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A UNIX socket.
    Unix(PathBuf),
    /// A TCP port: of this host to listen at, of any to connect to.
    Tcp {
        /// Name or address; empty for all addresses of this host.
        host: String,
        /// Number of the port.
        port: u16,
    },
    /// A socket that a monitor has passed under this name.
    Passed(String),
}

impl Endpoint {
    /// A socket without blocking, connected or about to be.
    ///
    /// # Errors
    /// Those of the host.
    pub(super) fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(path) => connect_unix(path),
            Self::Tcp { .. } => {
                let addresses = self.resolve()?;
                let tried = addresses.iter().map(connect_tcp);
                first(tried)
            }
            Self::Passed(_) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// A socket without blocking that listens.
    ///
    /// # Errors
    /// Those of the host.
    pub(super) fn listen(&self) -> io::Result<OwnedFd> {
        let listener: OwnedFd = match self {
            Self::Unix(path) => UnixListener::bind(path)?.into(),
            Self::Tcp { .. } => TcpListener::bind(self.resolve()?.as_slice())?.into(),
            Self::Passed(_) => return Err(ErrorKind::NotFound.into()),
        };
        rustix::io::ioctl_fionbio(&listener, true)?;
        Ok(listener)
    }

    /// Addresses of a TCP endpoint.
    ///
    /// # Errors
    /// A name that is not known.
    pub(super) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp { host, port } => {
                let host = if host.is_empty() { "0.0.0.0" } else { host };
                Ok((host, *port).to_socket_addrs()?.collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// As QEMU's monitor has it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Self::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

/// Connects to the UNIX socket at `path`, which answers at once.
pub(super) fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = stream(AddressFamily::UNIX)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Begins to connect.
pub(super) fn connect_tcp(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream(match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    })?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Why `socket` did not come to be connected, if it did not.
///
/// # Errors
/// The reason.
pub(crate) fn connected(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::sockopt::socket_error(socket)??)
}

/// The first that succeeds, or the last reason why none does.
pub(super) fn first(tried: impl Iterator<Item = io::Result<OwnedFd>>) -> io::Result<OwnedFd> {
    let mut failed = ErrorKind::AddrNotAvailable.into();
    for socket in tried {
        match socket {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}
