//! The network as a process of this user sees it: `passt`, a process of its own.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::io::FdFlags;

use crate::options::BadOption;

/// A `passt` that ends when its socket is closed: the sandbox lets it neither be killed nor waited
/// for.
pub(super) struct Passt(#[allow(dead_code, reason = "held")] Child);

impl Passt {
    /// Starts one, and returns the socket on which it speaks.
    ///
    /// # Errors
    /// Where it is not installed or does not start.
    pub(super) fn start(option: &str, program: &str) -> Result<(Self, OwnedFd), BadOption> {
        spawn(program).map_err(|error| {
            let accepted = "the program passt, installed";
            BadOption::property(option, "path", program, error, accepted)
        })
    }
}

fn spawn(program: &str) -> io::Result<(Passt, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let number = theirs.as_raw_fd();
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--quiet", "--one-off", "--fd"])
        .arg(number.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // SAFETY: between fork and exec nothing is done but one fcntl(2), on a descriptor that the
    // closure owns; it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(move || Ok(rustix::io::fcntl_setfd(&theirs, FdFlags::empty())?));
    }
    Ok((Passt(command.spawn()?), ours.into()))
}
