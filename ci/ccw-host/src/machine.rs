//! The machine: memory, channel subsystem, devices.

use std::fs::File;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use mini_vmm::backends::Backends;
use mini_vmm::chardev::Host;
use mini_vmm::devices::{self, Board, Buses, Control, Plugged, Seat};
use mini_vmm::exit::Wishes;
use mini_vmm::memory::{Memory, SharedMemory};
use mini_vmm::options::{BadOption, Config, DeviceOptions};
use mini_vmm::workers::Workers;
use rustix::fs::MemfdFlags;
use virtio_balloon::PAGE;
use virtio_ccw::css::ChannelSubsystem;
use vm_memory::{FileOffset, GuestAddress};

use crate::emulator::Emulator;
use crate::interruptions::Interruptions;
use crate::options::Options;
use crate::{exits, monitor};

/// Runs a guest until it powers itself off.
pub(crate) fn run(options: &Options) -> Result<()> {
    let config = &options.config;
    let wishes = Wishes::new()?;
    let host = Host {
        wishes: wishes.clone(),
        files: Arc::default(),
    };
    let mut backends = Backends::open(config, host).map_err(refused)?;
    let file = allocate(config.memory)?;
    let memory = SharedMemory::new(map(&file, config.memory)?);
    let (workers, launcher) = Workers::new(config.poll, false, &wishes);
    launcher.start()?;
    for launcher in backends.take_launchers() {
        launcher.start()?;
    }

    let mut emulator = Emulator::start(options, &file)?;
    let (exits, interruptions) = emulator.connect()?;
    let css = ChannelSubsystem::new(memory.clone(), Arc::new(Interruptions::new(interruptions)));
    let mut machine = Machine {
        config: config.clone(),
        css: css.clone(),
        plugged: Vec::new(),
        backends,
        memory,
        workers,
        wishes,
    };
    machine.plug(&config.devices)?;
    css.report_changes();
    let machine = Arc::new(Mutex::new(machine));
    if let Some(path) = &options.monitor {
        monitor::start(path, machine.clone())?;
    }
    exits::serve(exits, &css, config.memory)?;
    // What the guest was told is written is in its file then.
    css.reset();
    emulator.wait()
}

/// What devices are made of and attached to.
pub(crate) struct Machine {
    config: Config,
    css: ChannelSubsystem,
    plugged: Vec<Plugged>,
    backends: Backends,
    memory: SharedMemory,
    workers: Workers,
    wishes: Wishes,
}

impl Machine {
    /// Makes devices and attaches them.
    pub(crate) fn plug(&mut self, options: &[DeviceOptions]) -> Result<()> {
        let config = Config {
            devices: options.to_vec(),
            ..self.config.clone()
        };
        for plug in devices::make(&config, &mut self.backends).map_err(refused)? {
            let plugged = plug.plug(&mut Board {
                buses: Buses::Channels(&self.css),
                memory: &self.memory,
                workers: &self.workers,
                wishes: &self.wishes,
            });
            self.plugged.extend(plugged.map_err(refused)?);
        }
        Ok(())
    }

    /// Takes away the device that was given `id`.
    pub(crate) fn unplug(&mut self, id: &str) -> Result<()> {
        let mut plugged = self.plugged.iter();
        let index = plugged.position(|device| device.id.as_deref() == Some(id));
        let index = index.with_context(|| format!("no device {id}"))?;
        if let Seat::Ccw(transport) = self.plugged.swap_remove(index).seat {
            transport.detach();
        }
        Ok(())
    }

    /// Asks the guest to leave so many megabytes of its memory to itself.
    pub(crate) fn set_balloon(&self, megabytes: u64) -> Result<()> {
        let mut plugged = self.plugged.iter();
        let handle = plugged.find_map(|device| match &device.control {
            Control::Balloon(handle) => Some(handle),
            _ => None,
        });
        let left = self.config.memory.saturating_sub(megabytes << 20);
        let pages = u32::try_from(left / PAGE)?;
        handle.context("no balloon")?.set_target(pages);
        Ok(())
    }

    /// Makes the image of the drive `id` have `size` bytes, and tells the driver.
    pub(crate) fn resize(&mut self, id: &str, size: u64) -> Result<()> {
        self.backends.drives.resize(id, size).map_err(refused)
    }
}

fn refused(error: BadOption) -> anyhow::Error {
    anyhow!("{error}")
}

fn allocate(size: u64) -> Result<File> {
    let file = File::from(rustix::fs::memfd_create("guest", MemfdFlags::CLOEXEC)?);
    file.set_len(size)?;
    Ok(file)
}

/// Absolute storage of the guest is the file from its beginning on.
fn map(file: &File, size: u64) -> Result<Memory> {
    let file = FileOffset::new(file.try_clone()?, 0);
    let region = (GuestAddress(0), usize::try_from(size)?, Some(file));
    Ok(Memory::from_ranges_with_files([region])?)
}
