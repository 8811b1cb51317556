//! What one round finds of one VMM, in two boots.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::bench::counters::{self, Counters};
use crate::bench::load::{DISK, LOADS, Load};
use crate::console::{Paint, line};
use crate::guest::image::Image;
use crate::guest::machine::{Machine, Vmm};
use crate::guest::scenario::{BOOT, SILENCE};
use crate::guest::session::{Guest, Report};

/// Figures by metric, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    values: Vec<(String, f64)>,
}

impl Sample {
    /// Boots with `vcpus`, twice: the kernel as an ELF image as far as init, and as a bzImage with all
    /// that is measured then. What was found before an error stays.
    pub fn take(&mut self, vmm: &Vmm, image: &Image, work: &Path, vcpus: u32) -> Result<()> {
        let mut uncompressed = machine(vmm, image, work, vcpus)?;
        uncompressed.load_uncompressed();
        drop(self.boot("ELF image", &uncompressed)?);
        let machine = machine(vmm, image, work, vcpus)?;
        let mut guest = self.boot("bzImage", &machine)?;
        for (number, name) in LOADS.iter().enumerate() {
            self.load(&Load::watch(&mut guest, &machine, number, name)?);
        }
        self.listen(&mut guest)?;
        guest.end()
    }

    /// Boots as far as init, with a kernel of this form.
    fn boot(&mut self, form: &str, machine: &Machine) -> Result<Guest> {
        let start = Instant::now();
        let mut guest = Guest::start(machine)?;
        let uptime = guest.ready(BOOT)?;
        let (elapsed, counters) = (start.elapsed(), Counters::read(guest.process())?);
        let seconds = elapsed.as_secs_f64();
        self.set(&format!("{form}: start to init, s"), seconds);
        self.set(&format!("{form}: before its clock, s"), seconds - uptime);
        self.set(&format!("{form}: exits to init"), counters.exits);
        for (what, count) in [
            ("for the host's interrupts", counters.host_interrupts),
            ("to user space", counters.user_exits),
        ] {
            self.set(&format!("{form}: exits {what}"), count);
        }
        Ok(guest)
    }

    /// The names of the figures.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(metric, _)| metric.as_str())
    }

    /// All figures with their names.
    pub fn figures(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// The figure, if it was measured.
    pub fn value(&self, metric: &str) -> Option<f64> {
        let found = self.values.iter().find(|(name, _)| name == metric);
        found.map(|(_, value)| *value)
    }

    pub(super) fn set(&mut self, metric: &str, value: f64) {
        self.values.push((metric.to_owned(), value));
    }

    fn load(&mut self, load: &Load) {
        let (name, spent) = (load.name, &load.spent);
        self.set(&format!("{name}: IOPS"), load.rate);
        for (what, count) in [
            ("exits", spent.exits),
            ("exits to user space", spent.user_exits),
            ("context switches", spent.switches),
        ] {
            self.set(&format!("{name}: {what}/request"), count / load.requests);
        }
    }

    fn listen(&mut self, guest: &mut Guest) -> Result<()> {
        loop {
            match guest.report(SILENCE)? {
                Report::Fact { name, value } => line(Paint::Faint.on(format!("  {name} {value}"))),
                Report::Done => return self.weigh(guest),
                Report::Ended => bail!("{}", guest.early_end()),
                _ => (),
            }
        }
    }

    fn weigh(&mut self, guest: &Guest) -> Result<()> {
        let memory = counters::memory(guest.process())?;
        self.set("memory beyond guest RAM, MiB", memory.resident);
        self.set("private dirty, MiB", memory.private_dirty);
        Ok(())
    }
}

/// Boots the bzImage as far as init, and measures nothing.
pub fn start(vmm: &Vmm, image: &Image, work: &Path) -> Result<()> {
    let mut guest = Guest::start(&machine(vmm, image, work, 1)?)?;
    guest.ready(BOOT).map(drop)
}

/// With disks for the system and for fio, in a fresh directory.
fn machine(vmm: &Vmm, image: &Image, work: &Path, vcpus: u32) -> Result<Machine> {
    let mut machine = Machine::new(vmm, image, work, "virtio-blk-pci")?;
    machine.disk("virtio-blk-pci", DISK, 64 << 20)?;
    machine.parameter("run=bench");
    machine.parameter(&format!("loads={}", LOADS.join(",")));
    machine.processors = vcpus;
    Ok(machine)
}
