//! A descriptor to wait for that stays the same while what is behind it changes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// An epoll instance, readable when one of the descriptors in it is ready.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: Epoll,
    events: EventSet,
    always: Option<EventFd>,
}

impl Watch {
    /// Watches for something to read.
    pub(crate) fn input() -> io::Result<Self> {
        Self::new(EventSet::IN | EventSet::READ_HANG_UP)
    }

    /// Watches for room to write.
    pub(crate) fn output() -> io::Result<Self> {
        Self::new(EventSet::OUT)
    }

    fn new(events: EventSet) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            events,
            always: None,
        })
    }

    /// Adds `fd`. A plain file, which cannot be waited for, is always ready.
    pub(super) fn with(self, fd: BorrowedFd<'_>) -> io::Result<Self> {
        match self.add(fd) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => self.always_ready(),
            result => result.map(|()| self),
        }
    }

    /// Ready from now on.
    pub(super) fn always_ready(mut self) -> io::Result<Self> {
        let event = self.always.insert(EventFd::new(EFD_NONBLOCK)?);
        event.write(1)?;
        let wanted = EpollEvent::new(EventSet::IN, 0);
        self.epoll
            .ctl(ControlOperation::Add, event.as_raw_fd(), wanted)?;
        Ok(self)
    }

    /// Adds `fd`, which leaves when it is closed.
    pub(crate) fn add(&self, fd: impl AsFd) -> io::Result<()> {
        self.add_for(fd, self.events)
    }

    /// Adds `fd`, for it to be writable, whatever else is waited for here.
    pub(super) fn add_writable(&self, fd: impl AsFd) -> io::Result<()> {
        self.add_for(fd, EventSet::OUT)
    }

    fn add_for(&self, fd: impl AsFd, events: EventSet) -> io::Result<()> {
        let fd = fd.as_fd().as_raw_fd();
        let wanted = EpollEvent::new(events, 0);
        self.epoll.ctl(ControlOperation::Add, fd, wanted)
    }

    /// Removes `fd`.
    pub(super) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        let fd = fd.as_fd().as_raw_fd();
        self.epoll
            .ctl(ControlOperation::Delete, fd, EpollEvent::default())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.epoll`, which lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.epoll.as_raw_fd()) }
    }
}
