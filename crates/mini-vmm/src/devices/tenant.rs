//! Host ends that tell when their port is opened and closed, and has let go of them.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use virtio_serial::PortBackend;

use crate::hotplug::Departures;

/// A host end for as long as a port has it.
pub(super) struct Tenant {
    backend: Box<dyn PortBackend>,
    /// Identifier of the port, where it has one.
    port: Option<String>,
    tenancy: Arc<Tenancy>,
}

/// Lives as long as its [`Tenant`].
pub struct Tenancy(Arc<Departures>);

impl Tenant {
    /// The host end `backend` of the port `port`, if that has an identifier.
    pub(super) fn new(
        backend: Box<dyn PortBackend>,
        port: Option<String>,
        departures: &Arc<Departures>,
    ) -> Self {
        Self {
            backend,
            port,
            tenancy: Arc::new(Tenancy::new(departures)),
        }
    }

    pub(super) fn tenancy(&self) -> &Arc<Tenancy> {
        &self.tenancy
    }
}

impl Tenancy {
    /// One whose end wakes whoever waits for `departures`.
    pub(super) fn new(departures: &Arc<Departures>) -> Self {
        Self(Arc::clone(departures))
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl PortBackend for Tenant {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.backend.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.backend.write(bytes)
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        self.backend.input()
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        self.backend.output()
    }

    fn is_connected(&self) -> bool {
        self.backend.is_connected()
    }

    fn poll_connected(&mut self) -> bool {
        self.backend.poll_connected()
    }

    fn guest_opened(&mut self, open: bool) {
        self.backend.guest_opened(open);
        if let Some(port) = &self.port {
            self.tenancy.0.port_opened(port, open);
        }
    }
}
