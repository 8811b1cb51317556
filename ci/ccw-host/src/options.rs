//! The command line: mini-vmm's, and three options more.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use mini_vmm::options::{self, Command, Config};

/// What to run.
#[derive(Debug)]
pub(crate) struct Options {
    /// qemu-system-s390x.
    pub(crate) qemu: PathBuf,
    /// The bridge's shared object.
    pub(crate) bridge: PathBuf,
    /// The socket on which the monitor listens.
    pub(crate) monitor: Option<PathBuf>,
    /// The machine.
    pub(crate) config: Config,
}

impl Options {
    /// Parses the arguments after the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let (mut qemu, mut bridge, mut monitor) = (None, None, None);
        let (mut arguments, mut rest) = (arguments.into_iter(), Vec::new());
        while let Some(argument) = arguments.next() {
            let own = match argument.as_str() {
                "-qemu" => &mut qemu,
                "-bridge" => &mut bridge,
                "-monitor" => &mut monitor,
                _ => {
                    rest.push(argument);
                    continue;
                }
            };
            let value = arguments.next();
            *own = Some(value.with_context(|| format!("{argument}: no value given"))?);
        }
        Ok(Self {
            qemu: qemu.context("-qemu PROGRAM is missing")?.into(),
            bridge: bridge.context("-bridge LIBRARY is missing")?.into(),
            monitor: monitor.as_deref().map(socket).transpose()?,
            config: config(rest)?,
        })
    }
}

fn socket(value: &str) -> Result<PathBuf> {
    let path = value.strip_prefix("unix:");
    Ok(path
        .with_context(|| format!("-monitor {value}: not unix:PATH"))?
        .into())
}

fn config(arguments: Vec<String>) -> Result<Config> {
    match options::parse(arguments).map_err(|error| anyhow!("{error}"))? {
        Command::Run(config) => Ok(*config),
        Command::Print(_) | Command::DeviceHelp(_) => bail!("help is mini-vmm's"),
    }
}
