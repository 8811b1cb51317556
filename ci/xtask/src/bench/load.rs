//! A run of fio in the guest, and what it takes of the VMM.
//!
//! The guest marks begin and end on the disk that fio runs on, in a record that is read in the disk's
//! file: what it wrote to its console would be exits to user space of its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::counters::Counters;
use crate::guest::machine::Machine;
use crate::guest::scenario::record_at;
use crate::guest::session::Guest;

/// One run of fio that is over.
#[derive(Debug)]
pub struct Load {
    /// One of [`LOADS`].
    pub name: &'static str,
    /// Requests per second.
    pub rate: f64,
    /// Requests in all.
    pub requests: f64,
    /// What was counted meanwhile.
    pub spent: Counters,
}

impl Load {
    /// Waits for the end of the run called `name`, the one with this `number`, counted from 0.
    pub fn watch(
        guest: &mut Guest,
        machine: &Machine,
        number: usize,
        name: &'static str,
    ) -> Result<Self> {
        let (disk, begin) = (machine.file(DISK), 2 * number as u64 + 1);
        await_mark(guest, &disk, begin)?;
        let before = Counters::read(guest.process())?;
        let result = await_mark(guest, &disk, begin + 1)?;
        let now = Counters::read(guest.process()).context("counters after fio")?;
        let (rate, kibibytes) = parse(&result).with_context(|| format!("fio said {result:?}"))?;
        Ok(Self {
            name,
            rate,
            requests: kibibytes / KIBIBYTES,
            spent: now.since(&before),
        })
    }
}

/// What the guest wrote with the mark.
fn await_mark(guest: &mut Guest, disk: &Path, number: u64) -> Result<String> {
    let file = File::open(disk)?;
    guest.until(SILENCE, || mark(&file, number))
}

/// The records of `guest/lib.sh` are a line that ends with the record's number.
fn mark(disk: &File, number: u64) -> Option<String> {
    let mut sector = [0; 512];
    disk.read_exact_at(&mut sector, record_at(number)).ok()?;
    let text = std::str::from_utf8(&sector).ok()?;
    let (line, _) = text.split_once('\n')?;
    Some(line.strip_suffix(&format!(" {number}"))?.to_owned())
}

/// Requests per second, and KiB in all.
fn parse(result: &str) -> Option<(f64, f64)> {
    let (rate, kibibytes) = result.split_once(' ')?;
    let requests = kibibytes.parse().ok().filter(|count| *count > 0.0);
    Some((rate.parse().ok()?, requests?))
}

/// The runs: what fio does, and how many requests it has in flight. `guest/bench.sh` is told.
pub const LOADS: [&str; 4] = ["randread-1", "randwrite-1", "randread-32", "randwrite-32"];
/// The serial number of the disk that fio runs on.
pub const DISK: &str = "data";
/// Of a request.
const KIBIBYTES: f64 = 4.0;
/// How long the guest may leave no mark: many times what a run of fio takes.
const SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::{mark, parse};
    use crate::guest::scenario::record_at;

    #[test]
    fn bench_reads_marks_when_they_are_there() {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(record_at(3)).unwrap();
        assert_eq!(mark(&disk, 1), None);
        disk.write_all_at(b"1705 27280 1\n", record_at(1)).unwrap();
        assert_eq!(mark(&disk, 1).as_deref(), Some("1705 27280"));
        assert_eq!(mark(&disk, 2), None);
    }

    #[test]
    fn bench_takes_no_empty_run_for_one() {
        assert_eq!(parse("1705 27280"), Some((1705.0, 27280.0)));
        assert_eq!(parse("0 0"), None);
        assert_eq!(parse("begin"), None);
    }
}
