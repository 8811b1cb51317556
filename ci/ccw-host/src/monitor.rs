//! What happens to the machine while it runs, on a socket, a line each, in the words of QEMU's
//! monitor: `device_add OPTIONS`, `device_del ID`, `block_resize DRIVE BYTES`, `balloon MEGABYTES`.
//! The answer is a line, `ok` or why not.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use mini_vmm::options::DeviceOptions;

use crate::machine::Machine;

/// Listens at `path`, for one client after the other.
pub(crate) fn start(path: &Path, machine: Arc<Mutex<Machine>>) -> Result<()> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("-monitor unix:{}", path.display()))?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that went away ends its own commands only.
            let _ = serve(&client, &machine);
        }
    });
    Ok(())
}

fn serve(client: &UnixStream, machine: &Mutex<Machine>) -> io::Result<()> {
    for line in BufReader::new(client).lines() {
        let line = line?;
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match command(&line, &mut machine) {
            Ok(()) => "ok\n".to_owned(),
            Err(error) => format!("{error:#}\n"),
        };
        (&*client).write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn command(line: &str, machine: &mut Machine) -> Result<()> {
    let (word, rest) = line.trim().split_once(' ').unwrap_or((line, ""));
    match word {
        "device_add" => {
            let options = DeviceOptions::parse(rest).map_err(|error| anyhow!("{error}"))?;
            machine.plug(&[options])
        }
        "device_del" => machine.unplug(rest),
        "balloon" => machine.set_balloon(rest.parse().context("balloon MEGABYTES")?),
        "block_resize" => {
            let (drive, size) = rest.split_once(' ').context("block_resize DRIVE BYTES")?;
            machine.resize(drive, size.parse()?)
        }
        _ => bail!("unknown command {word:?}"),
    }
}
