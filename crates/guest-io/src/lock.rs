//! Keeping an image from being opened for writing twice.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_short, flock};

/// What an open file is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading, which others may do as well: a shared lock.
    Read,
    /// Reading and writing, while others do neither: an exclusive lock.
    Write,
}

/// Locks a whole file against other uses of it, without waiting.
///
/// The lock is one of the open file description (`F_OFD_SETLK`, `fcntl(2)`): it also holds against
/// other users in this process, and lasts until the last descriptor that was duplicated from `fd`
/// is closed. A second call replaces it. It is advisory: only those who ask for it are kept out.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if the file is in use elsewhere; `EBADF` if it is not
/// open for `access`; else those of `fcntl(2)`.
pub fn lock(fd: impl AsFd, access: Access) -> io::Result<()> {
    let kind = match access {
        Access::Read => libc::F_RDLCK,
        Access::Write => libc::F_WRLCK,
    };
    set_lock(fd.as_fd().as_raw_fd(), &whole_file(kind as c_short))
}

/// A lock from the first byte on, whatever the length will be.
fn whole_file(kind: c_short) -> flock {
    flock {
        l_type: kind,
        l_whence: libc::SEEK_SET as c_short,
        l_start: 0,
        l_len: 0,
        // An OFD lock belongs to no process; the kernel wants 0 here.
        l_pid: 0,
    }
}

fn set_lock(fd: i32, lock: &flock) -> io::Result<()> {
    // SAFETY: `F_OFD_SETLK` reads a `struct flock` through its argument, which is one.
    match unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
