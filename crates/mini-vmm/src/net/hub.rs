//! Hubs: what comes in at one port goes out at all others.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, Weak};

use virtio_net::guest_io::Iovecs;
use vm_memory::bitmap::BitmapSlice;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::line::borrow;
use super::lock;

/// All hubs of a machine.
#[derive(Default)]
pub struct Hubs(BTreeMap<u32, Hub>);

/// The ports of one hub.
type Hub = Arc<Mutex<Vec<Weak<Mailbox>>>>;

/// A port of a hub. Its clones are the same port.
#[derive(Clone)]
pub(super) struct Port {
    hub: Hub,
    mailbox: Arc<Mailbox>,
}

/// Frames that wait at a port.
struct Mailbox {
    frames: Mutex<VecDeque<Vec<u8>>>,
    /// Readable when there are any.
    event: EventFd,
    /// Never readable: a port takes everything.
    never: EventFd,
}

impl Hubs {
    /// A new port of the hub `number`.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub(super) fn port(&mut self, number: u32) -> io::Result<Port> {
        let hub = Arc::clone(self.0.entry(number).or_default());
        let mailbox = Arc::new(Mailbox {
            frames: Mutex::default(),
            event: EventFd::new(EFD_NONBLOCK)?,
            never: EventFd::new(EFD_NONBLOCK)?,
        });
        let mut ports = lock(&hub);
        ports.retain(|port| port.strong_count() > 0);
        ports.push(Arc::downgrade(&mailbox));
        drop(ports);
        Ok(Port { hub, mailbox })
    }
}

impl Port {
    pub(super) fn receive<B: BitmapSlice>(&self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        let mut frames = lock(&self.mailbox.frames);
        let Some(frame) = frames.pop_front() else {
            let _ = self.mailbox.event.read();
            return Err(ErrorKind::WouldBlock.into());
        };
        drop(frames);
        packet.copy_in(&frame);
        Ok(frame.len())
    }

    pub(super) fn send<B: BitmapSlice>(&self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        let ports: Vec<_> = lock(&self.hub).iter().filter_map(Weak::upgrade).collect();
        let others = ports
            .iter()
            .filter(|port| !Arc::ptr_eq(port, &self.mailbox));
        let mut frame = None;
        for port in others {
            let frame = frame.get_or_insert_with(|| {
                let mut bytes = vec![0; packet.remaining()];
                packet.copy_out(&mut bytes);
                bytes
            });
            port.put(frame);
        }
        Ok(())
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        borrow(&self.mailbox.event)
    }

    pub(super) fn output(&self) -> BorrowedFd<'_> {
        borrow(&self.mailbox.never)
    }
}

impl Mailbox {
    /// Puts a frame in; it is lost where nobody takes any out.
    fn put(&self, frame: &[u8]) {
        let mut frames = lock(&self.frames);
        if frames.len() < MOST_FRAMES {
            frames.push_back(frame.to_vec());
            let _ = self.event.write(1);
        }
    }
}

/// Frames that wait at a port.
const MOST_FRAMES: usize = 256;
