//! QEMU with the bridge in it, and its two sockets.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::options::Options;

/// QEMU, which runs a guest as soon as it is started. Dropping it kills it.
pub(crate) struct Emulator {
    child: Child,
    sockets: [UnixListener; 2],
    _directory: TempDir,
}

impl Emulator {
    /// Starts QEMU with the guest's memory in the file `memory`.
    pub(crate) fn start(options: &Options, memory: &impl AsRawFd) -> Result<Self> {
        let directory = TempDir::new()?;
        let paths = ["exits", "interruptions"].map(|name| directory.path().join(name));
        let sockets = [listen(&paths[0])?, listen(&paths[1])?];
        let mut variable = paths[0].clone().into_os_string();
        variable.push(":");
        variable.push(&paths[1]);
        let mut command = command(options, memory);
        command.env(ccw_message::VARIABLE, variable);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", options.qemu.display()))?;
        Ok(Self {
            child,
            sockets,
            _directory: directory,
        })
    }

    /// Waits for the bridge. Returns the streams of exits and of interruptions.
    pub(crate) fn connect(&mut self) -> Result<(UnixStream, UnixStream)> {
        Ok((self.accept(0)?, self.accept(1)?))
    }

    /// Waits for QEMU to end, which must be in order.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("QEMU ended with {status}");
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> Result<UnixStream> {
        loop {
            match self.sockets[index].accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended before the bridge was there: {status}");
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(path: &std::path::Path) -> Result<UnixListener> {
    let socket = UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn command(options: &Options, memory: &impl AsRawFd) -> Command {
    let config = &options.config;
    let (own, fd) = (std::process::id(), memory.as_raw_fd());
    let mut command = Command::new(&options.qemu);
    command
        .env("LD_PRELOAD", &options.bridge)
        .stdin(Stdio::null());
    command.args(MACHINE);
    command.arg("-object").arg(format!(
        "memory-backend-file,id=ram,size={},mem-path=/proc/{own}/fd/{fd},share=on",
        config.memory
    ));
    command.arg("-m").arg(format!("{}M", config.memory >> 20));
    command.arg("-smp").arg(config.cpus.to_string());
    command.arg("-kernel").arg(&config.kernel);
    if let Some(initrd) = &config.initrd {
        command.arg("-initrd").arg(initrd);
    }
    command.arg("-append").arg(&config.append);
    if config.no_reboot {
        command.arg("-no-reboot");
    }
    command
}

/// The only devices of QEMU's are a console on our standard output and what comes with the machine.
const MACHINE: [&str; 9] = [
    "-M",
    "s390-ccw-virtio,memory-backend=ram",
    "-nodefaults",
    "-display",
    "none",
    "-chardev",
    "stdio,id=console,signal=off",
    "-device",
    "sclpconsole,chardev=console",
];
const POLL: Duration = Duration::from_millis(5);
