//! What the kernel counts about a VMM: its exits (debugfs) and its memory (smaps).

use std::fs;

use anyhow::{Context, Result};

/// Memory in MiB, the guest's RAM left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Resident pages.
    pub resident: f64,
    /// Pages that nobody else shares and that differ from their file.
    pub private_dirty: f64,
}

/// What has happened since the VMM's start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Exits from the guest, to the kernel or to the VMM.
    pub exits: f64,
    /// Those for an interrupt of the host, which the guest has nothing to do with.
    pub host_interrupts: f64,
    /// Those that the VMM had to handle: port I/O and MMIO.
    /// Port I/O that the kernel's own devices took is counted as well; Linux does so rarely after boot.
    pub user_exits: f64,
    /// Times that a thread of the VMM gave up its processor or lost it.
    pub switches: f64,
}

impl Counters {
    /// Those of the VMM with this process id.
    pub fn read(process: u32) -> Result<Self> {
        Ok(Self {
            exits: counter(process, "exits")?,
            host_interrupts: counter(process, "irq_exits")?,
            user_exits: counter(process, "io_exits")? + counter(process, "mmio_exits")?,
            switches: switches(process)?,
        })
    }

    /// What has been added since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            exits: self.exits - earlier.exits,
            host_interrupts: self.host_interrupts - earlier.host_interrupts,
            user_exits: self.user_exits - earlier.user_exits,
            switches: self.switches - earlier.switches,
        }
    }
}

/// What the VMM occupies beyond its guest's RAM.
pub fn memory(process: u32) -> Result<Memory> {
    let path = format!("/proc/{process}/smaps");
    Ok(sum(&fs::read_to_string(&path).context(path)?))
}

/// Each virtual machine has a directory `<process>-<file descriptor>`.
fn counter(process: u32, name: &str) -> Result<f64> {
    let prefix = format!("{process}-");
    let entries = fs::read_dir(DEBUGFS).context(DEBUGFS)?;
    let directory = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .with_context(|| format!("{DEBUGFS} has no machine of process {process}"))?;
    Ok(fs::read_to_string(directory.join(name))?.trim().parse()?)
}

/// Of all threads that there are now.
fn switches(process: u32) -> Result<f64> {
    let mut count = 0.0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let lines = status
            .lines()
            .filter_map(|line| line.split_once("ctxt_switches:"));
        count += lines
            .filter_map(|(_, number)| number.trim().parse::<f64>().ok())
            .sum::<f64>();
    }
    Ok(count)
}

fn sum(smaps: &str) -> Memory {
    let (mut memory, mut guest_ram) = (Memory::default(), false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(Ok(kibibytes))) = (words.next(), words.next().map(str::parse::<f64>))
        else {
            continue;
        };
        match name {
            "Size:" => guest_ram = kibibytes >= GUEST_RAM,
            "Rss:" if !guest_ram => memory.resident += kibibytes / 1024.0,
            "Private_Dirty:" if !guest_ram => memory.private_dirty += kibibytes / 1024.0,
            _ => (),
        }
    }
    memory
}

const DEBUGFS: &str = "/sys/kernel/debug/kvm";
/// No other mapping of a VMM is this large, in KiB.
const GUEST_RAM: f64 = 256.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::{Memory, sum};

    #[test]
    fn counters_leave_guest_ram_out() {
        let smaps = "7f00-7f01 rw-p 0 00:00 0\nSize: 524288 kB\nRss: 90000 kB\nPrivate_Dirty: 90000 kB\n\
                     7f10-7f11 r-xp 0 08:01 12 /bin/vmm\nSize: 2048 kB\nRss: 1024 kB\nPrivate_Dirty: 512 kB\n";
        assert_eq!(
            sum(smaps),
            Memory {
                resident: 1.0,
                private_dirty: 0.5
            }
        );
    }
}
