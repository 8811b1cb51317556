//! Files to read from.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::BLOCK;

/// Calls `compare` with the name of a place and a file of [`BLOCKS`] blocks there, all in memory:
/// one in `directory`, which is in the page cache, and one on tmpfs. Says which place is left out.
pub fn on_images(directory: &str, mut compare: impl FnMut(&str, &File)) {
    for (name, directory) in [("page cache", directory), ("tmpfs", "/dev/shm")] {
        match image(directory.as_ref()) {
            Ok(file) => compare(name, &file),
            Err(error) => println!("\n{name}: left out: {error}"),
        }
    }
}

/// A file of [`BLOCKS`] blocks in `directory`.
///
/// # Errors
/// Where it cannot be written.
pub fn image(directory: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(directory)?;
    for block in 0..BLOCKS {
        file.write_all(&[block as u8; BLOCK])?;
    }
    Ok(file)
}

/// 64 MiB of them.
pub const BLOCKS: u64 = (64 << 20) / BLOCK as u64;
