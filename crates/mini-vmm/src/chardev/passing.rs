//! Descriptors that come with what is read from a UNIX socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recv, recvmsg, send,
};

/// Descriptors that a peer has passed, in order; a peer that passes more than are kept has the others
/// closed.
#[derive(Debug, Default)]
pub(super) struct Passing {
    wanted: AtomicBool,
    passed: Mutex<Vec<OwnedFd>>,
}

impl Passing {
    /// From now on descriptors are kept; the kernel closes them otherwise.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Takes those that were passed.
    pub(super) fn take(&self) -> Vec<OwnedFd> {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *passed)
    }

    /// Reads some bytes.
    pub(super) fn receive(&self, stream: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.wanted.load(Ordering::Relaxed) {
            return Ok(recv(stream, buffer, RecvFlags::empty())?.1);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(stream, &mut slices, &mut ancillary, flags)?;
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                let room = MOST.saturating_sub(passed.len());
                // All are taken out, or those left would never be closed.
                fds.enumerate()
                    .filter_map(|(at, fd)| (at < room).then_some(fd))
                    .for_each(|fd| passed.push(fd));
            }
        }
        Ok(received.bytes)
    }
}

/// Writes some of `bytes`.
pub(super) fn send_some(stream: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(stream, bytes, SendFlags::NOSIGNAL)?)
}

/// Descriptors that are kept.
const MOST: usize = 16;
