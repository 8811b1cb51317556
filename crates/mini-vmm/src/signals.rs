//! Signals: those that end the VMM in order, the one that tells of the window, and the one that
//! drives vCPUs out of the guest.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Signal, set_parent_process_death_signal};
use vmm_sys_util::signal::{SIGRTMIN, block_signal, create_sigset, register_signal_handler};

/// A descriptor that becomes readable when the VMM is told to end.
#[derive(Debug)]
pub struct EndSignals(OwnedFd);

impl EndSignals {
    /// Takes SIGTERM, SIGINT, SIGHUP and SIGQUIT away from their default action, in this thread and
    /// in those it starts from now on. SIGXFSZ is not to end the VMM either: a file that may not be
    /// so large is an error of the write.
    ///
    /// # Errors
    /// Where the host has no descriptor to give.
    pub fn take() -> io::Result<Self> {
        block(&[libc::SIGXFSZ])?;
        take(END).map(Self)
    }

    /// Has the end of the process that started this one be such a signal.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn come_with_parent(&self) -> io::Result<()> {
        Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
    }
}

/// A descriptor that becomes readable when the window of the user's terminal has another size.
#[derive(Debug)]
pub struct WindowSignals(OwnedFd);

impl WindowSignals {
    /// Takes SIGWINCH, as [`EndSignals::take`] does its own.
    ///
    /// # Errors
    /// As there.
    pub fn take() -> io::Result<Self> {
        take(&[libc::SIGWINCH]).map(Self)
    }

    /// The signal has been heard.
    pub fn heard(&self) {
        let mut information = [0; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut information).is_ok() {}
    }
}

impl AsRawFd for WindowSignals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
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
    block(END)
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

/// Blocks `signals` in this thread and those it starts, and returns a descriptor that has them.
fn take(signals: &[i32]) -> io::Result<OwnedFd> {
    block(signals)?;
    let set = create_sigset(signals).map_err(io::Error::from)?;
    // SAFETY: `set` is an initialised signal set, and -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn block(signals: &[i32]) -> io::Result<()> {
    let mut signals = signals.iter();
    signals
        .try_for_each(|signal| block_signal(*signal))
        .map_err(|error| io::Error::other(error.to_string()))
}

const END: &[i32] = &[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
