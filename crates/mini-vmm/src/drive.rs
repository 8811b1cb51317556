//! Disk images: opened and checked as `-drive` says. The device that takes one locks it.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use virtio_blk::Resizer;

use crate::options::{BadOption, Cache, DriveOptions};

/// Opens the image of `options`.
///
/// # Errors
/// A file that cannot be opened, or that is no raw image, under the option's name.
pub fn open(options: &DriveOptions) -> Result<File, BadOption> {
    let bad = |why: &dyn std::fmt::Display, accepted: &str| {
        let path = options.file.display().to_string();
        BadOption::property("-drive", "file", &path, why, accepted)
    };
    let direct = if options.cache == Cache::None {
        libc::O_DIRECT
    } else {
        0
    };
    let file = File::options()
        .read(true)
        .write(!options.read_only)
        .custom_flags(direct)
        .open(&options.file)
        .map_err(|error| bad(&error, accepted_file(options)))?;
    let disk = file.try_clone().and_then(guest_io::Disk::new);
    let size = disk
        .and_then(|disk| disk.size())
        .map_err(|error| bad(&error, IMAGE))?;
    if size % SECTOR != 0 {
        return Err(bad(
            &format_args!("size {size} is not a multiple of {SECTOR}"),
            IMAGE,
        ));
    }
    Ok(file)
}

/// Gives the image of `options` `size` bytes, and the device that `resizer` belongs to as well. The
/// image is never shorter than the disk.
///
/// # Errors
/// A size that is no number of whole blocks, or a host that refuses.
pub fn resize(options: &DriveOptions, resizer: &Resizer, size: u64) -> Result<(), BadOption> {
    let given = size.to_string();
    let bad = |why: &dyn std::fmt::Display| {
        BadOption::property(
            "-drive",
            "size",
            &given,
            why,
            "whole blocks, as the host has room for",
        )
    };
    let image = File::options().write(true).open(&options.file);
    let image = image.map_err(|error| bad(&error))?;
    let old = image.metadata().map_err(|error| bad(&error))?.len();
    if size > old {
        image.set_len(size).map_err(|error| bad(&error))?;
    }
    resizer.resize(size).map_err(|error| bad(&error))?;
    if size < old {
        image.set_len(size).map_err(|error| bad(&error))?;
    }
    Ok(())
}

fn accepted_file(options: &DriveOptions) -> &'static str {
    match options.read_only {
        true => "a file or block device that can be read",
        false => "a file or block device that can be read and written, or readonly=on",
    }
}

const SECTOR: u64 = 512;
const IMAGE: &str = "a raw image of whole 512-byte sectors";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vmm_sys_util::tempdir::TempDir;

    use super::*;

    fn try_open(path: &Path, more: &str) -> Result<File, String> {
        let text = format!("id=d0,file={}{more}", path.display());
        open(&DriveOptions::parse(&text, 0).unwrap()).map_err(|error| error.to_string())
    }

    fn image(dir: &TempDir, size: u64) -> std::path::PathBuf {
        let path = dir.as_path().join(format!("image{size}"));
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    #[test]
    fn what_is_no_raw_image_is_refused() {
        let dir = TempDir::new().unwrap();
        let error = try_open(&image(&dir, 1000), "").unwrap_err();
        assert!(
            error.contains("size 1000 is not a multiple of 512"),
            "{error}"
        );
        let missing = try_open(&dir.as_path().join("none"), "").unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
        assert!(
            try_open(dir.as_path(), "")
                .unwrap_err()
                .contains("directory")
        );
        assert!(try_open(dir.as_path(), ",readonly=on").is_err());
    }
}
