//! The file that says how far zones are written: a header that names their layout, and eight bytes
//! for each.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::ZoneLayout;
use super::table::{ENTRY, Table};
use crate::{Access, lock};

/// The open file, which nobody else has.
#[derive(Debug)]
pub(super) struct Record(File);

impl Record {
    /// Reads `file` into `table`, or begins it with what is there. Zones that were open are closed.
    pub(super) fn open(file: File, layout: ZoneLayout, table: &mut Table) -> io::Result<Self> {
        lock(&file, Access::Write)?;
        let (record, header) = (Self(file), header(layout));
        let entries = table.to_bytes();
        if record.0.metadata()?.len() == 0 {
            record.store(0, &entries)?;
            // Last: a file that was begun and not finished is empty, or no record.
            record.0.write_all_at(&header, 0)?;
            return Ok(record);
        }
        let mut bytes = vec![0; header.len() + entries.len()];
        let read = record.0.read_exact_at(&mut bytes, 0);
        let states = bytes.strip_prefix(header.as_slice());
        match (read, states) {
            (Ok(()), Some(states)) => table.load(states)?,
            _ => return Err(io::Error::new(ErrorKind::InvalidData, OTHER)),
        }
        table.close_all();
        Ok(record)
    }

    /// Stores the bytes of zones from number `index` on.
    pub(super) fn store(&self, index: usize, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, (HEADER + index * ENTRY) as u64)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn header(layout: ZoneLayout) -> [u8; HEADER] {
    let ZoneLayout {
        size,
        capacity,
        conventional,
        // Limits may change from one time to the next.
        max_open: _,
        max_active: _,
    } = layout;
    let mut bytes = [0; HEADER];
    let fields = [MAGIC, size, capacity, conventional.into()];
    for (to, field) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
        *to = field.to_le_bytes();
    }
    bytes
}

const HEADER: usize = 32;
/// "ZONES 1\n".
const MAGIC: u64 = u64::from_le_bytes(*b"ZONES 1\n");
const OTHER: &str = "no record of these zones";
