//! What a port's back-end is watched for.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use virtio_device::{AddressSpace, Cx, Interest, Source};

use crate::PortBackend;

/// The descriptors of one port that the event loop watches at the moment.
///
/// The two of a back-end may be one and the same, which an event loop takes only once.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    input: Option<Watched>,
    output: Option<Watched>,
}

type Watched = (RawFd, Interest);
type Wanted<'a> = Option<(BorrowedFd<'a>, Interest)>;

impl Watches {
    /// Has the event loop watch `backend`, port `port`, for reading and writing as wanted, and for
    /// nothing else.
    pub(crate) fn set<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        port: u16,
        backend: &dyn PortBackend,
        (read, write): (bool, bool),
    ) {
        let (input, output) = wanted(backend, read, write);
        let (input_token, output_token) = tokens(port);
        // A descriptor that moves from one token to the other has to leave the first before.
        drop_other(cx, input_token, &mut self.input, &input);
        drop_other(cx, output_token, &mut self.output, &output);
        add(cx, input_token, &mut self.input, input);
        add(cx, output_token, &mut self.output, output);
    }

    /// Has the event loop watch nothing any more.
    pub(crate) fn clear<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>, port: u16) {
        let (input_token, output_token) = tokens(port);
        drop_other(cx, input_token, &mut self.input, &None);
        drop_other(cx, output_token, &mut self.output, &None);
    }
}

/// The port whose descriptor this token is.
pub(crate) fn port_of(token: u16) -> u16 {
    (token / 2).saturating_sub(1)
}

/// The first of each pair is below all others: see [`FIRST_FREE`].
fn tokens(port: u16) -> (u16, u16) {
    (2 * port + FIRST_FREE, 2 * port + FIRST_FREE + 1)
}

fn wanted(backend: &dyn PortBackend, read: bool, write: bool) -> (Wanted<'_>, Wanted<'_>) {
    let input = backend.input().filter(|_| read);
    let output = backend.output().filter(|_| write);
    match (input, output) {
        (Some(input), Some(output)) if input.as_raw_fd() == output.as_raw_fd() => {
            (Some((input, Interest::ReadWrite)), None)
        }
        _ => (
            input.map(|fd| (fd, Interest::Read)),
            output.map(|fd| (fd, Interest::Write)),
        ),
    }
}

fn drop_other<AS: AddressSpace>(
    cx: &mut Cx<'_, AS>,
    token: u16,
    watched: &mut Option<Watched>,
    wanted: &Wanted<'_>,
) {
    let fd = wanted.as_ref().map(|(fd, _)| fd.as_raw_fd());
    if watched.is_some_and(|(watched, _)| Some(watched) != fd) {
        cx.unwatch(token);
        *watched = None;
    }
}

/// A descriptor that cannot be watched is a regular file, which is always ready.
fn add<AS: AddressSpace>(
    cx: &mut Cx<'_, AS>,
    token: u16,
    watched: &mut Option<Watched>,
    wanted: Wanted<'_>,
) {
    let Some((fd, interest)) = wanted else { return };
    let new = (fd.as_raw_fd(), interest);
    if *watched == Some(new) {
        return;
    }
    let source = Source {
        token,
        fd,
        interest,
    };
    *watched = match cx.watch(source) {
        Ok(()) => Some(new),
        Err(error) => {
            log::debug!("a port's back-end cannot be watched: {error}");
            None
        }
    };
}

/// The worker's own tokens are below.
const FIRST_FREE: u16 = 2;
