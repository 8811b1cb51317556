//! A port as its user configures it.

use crate::{PortBackend, PortProps};

/// What a port is to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A console, which the guest may log in on or print its messages to: QEMU's `virtconsole`.
    Console,
    /// A plain channel between programs: QEMU's `virtserialport`.
    Serial,
}

/// A port of a [`Serial`](crate::Serial) device: its kind, its properties and its host end.
pub struct Port {
    pub(crate) kind: PortKind,
    pub(crate) props: PortProps,
    pub(crate) backend: Box<dyn PortBackend>,
}

impl Port {
    /// A port. The property `chardev` is for the VMM, which chose `backend` by it.
    pub fn new(kind: PortKind, props: PortProps, backend: Box<dyn PortBackend>) -> Self {
        Self {
            kind,
            props,
            backend,
        }
    }

    /// A console on `backend`, with default properties.
    pub fn console(backend: impl PortBackend + 'static) -> Self {
        Self::new(PortKind::Console, PortProps::default(), Box::new(backend))
    }

    /// A serial port called `name` on `backend`.
    pub fn serial(name: &str, backend: impl PortBackend + 'static) -> Self {
        let props = PortProps::default().name(Some(name.to_owned()));
        Self::new(PortKind::Serial, props, Box::new(backend))
    }
}
