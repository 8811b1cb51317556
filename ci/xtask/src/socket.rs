//! UNIX sockets of a VMM that may still be starting.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Connects as soon as somebody listens. Reads and writes on the stream have a time limit.
pub fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + START;
    let stream = loop {
        match UnixStream::connect(path) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < deadline => sleep(PAUSE),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot connect to {}", path.display()));
            }
        }
    };
    stream.set_read_timeout(Some(TRANSFER))?;
    stream.set_write_timeout(Some(TRANSFER))?;
    Ok(stream)
}

const START: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than a boot and all scenarios that come before.
const TRANSFER: Duration = Duration::from_secs(600);
