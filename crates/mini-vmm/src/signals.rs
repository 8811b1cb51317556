//! Signals: those that end the VMM in order, and the one that drives vCPUs out of the guest.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use vmm_sys_util::signal::{SIGRTMIN, block_signal, create_sigset, register_signal_handler};

/// A descriptor that becomes readable when the VMM is told to end.
#[derive(Debug)]
pub struct EndSignals(OwnedFd);

impl EndSignals {
    /// Takes SIGTERM, SIGINT, SIGHUP and SIGQUIT away from their default action, in this thread and
    /// in those it starts from now on.
    ///
    /// # Errors
    /// Where the host has no descriptor to give.
    pub fn take() -> io::Result<Self> {
        block_end()?;
        let set = create_sigset(END).map_err(io::Error::from)?;
        // SAFETY: `set` is an initialised signal set, and -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl AsRawFd for EndSignals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for EndSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Has this thread, and those it starts from now on, not end by a signal.
///
/// # Errors
/// Where the host refuses.
pub fn block_end() -> io::Result<()> {
    END.iter()
        .try_for_each(|signal| block_signal(*signal))
        .map_err(|error| io::Error::other(error.to_string()))
}

/// The signal that interrupts KVM_RUN.
pub fn kick() -> i32 {
    SIGRTMIN()
}

/// Makes [`kick`] do nothing but interrupt.
///
/// # Errors
/// Where the handler is refused.
pub fn install_kick() -> io::Result<()> {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(kick(), nothing).map_err(io::Error::from)
}

const END: &[i32] = &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
