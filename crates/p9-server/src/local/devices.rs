//! Numbers of files that lie on several devices.

use std::collections::HashMap;
use std::sync::{Mutex, Once, PoisonError};

use rustix::fs::Stat;
use rustix::io::Errno;

use super::MultiDevs;
use super::node::Identity;
use crate::{Qid, Result};

/// Turns devices and inode numbers into the paths of qids.
pub(super) struct Devices {
    /// That of the root, whose inode numbers are left as they are.
    root: u64,
    policy: MultiDevs,
    remapped: Mutex<Remapped>,
    warned: Once,
}

#[derive(Default)]
struct Remapped {
    /// Numbers of the other devices, from 1.
    devices: HashMap<u64, u16>,
    /// Numbers of files whose inode number leaves no room for that of the device.
    files: HashMap<Identity, u64>,
}

impl Devices {
    pub(super) fn new(root: u64, policy: MultiDevs) -> Self {
        Self {
            root,
            policy,
            remapped: Mutex::default(),
            warned: Once::new(),
        }
    }

    /// Whether a file may be shown.
    pub(super) fn check(&self, file: Identity) -> Result<()> {
        if file.device == self.root || self.policy == MultiDevs::Remap {
            return Ok(());
        }
        let forbidden = self.policy == MultiDevs::Forbid;
        self.warned.call_once(|| {
            let then = match forbidden {
                true => "the others are not shown",
                false => "numbers of files may not be unique; multidevs=remap makes them so",
            };
            log::warn!("the shared directory has several devices below it: {then}");
        });
        match forbidden {
            true => Err(Errno::NODEV),
            false => Ok(()),
        }
    }

    /// The qid of a file that the client has for one of `mode`.
    pub(super) fn qid(&self, mode: u32, stat: &Stat) -> Result<Qid> {
        let version =
            (stat.st_mtime as u32) ^ (stat.st_mtime_nsec as u32) ^ (stat.st_size as u32) << 8;
        Ok(Qid::new(mode, version, self.path(Identity::of(stat))?))
    }

    /// The number of a file. The upper 16 bits tell devices apart: 0 is the root's, the last one
    /// is for what has its number from a table.
    pub(super) fn path(&self, file: Identity) -> Result<u64> {
        let small = file.inode >> DEVICE_SHIFT == 0;
        match self.policy {
            MultiDevs::Warn | MultiDevs::Forbid => Ok(file.inode),
            MultiDevs::Remap if small && file.device == self.root => Ok(file.inode),
            MultiDevs::Remap => self.remap(file, small),
        }
    }

    fn remap(&self, file: Identity, small: bool) -> Result<u64> {
        let mut remapped = self.remapped.lock().unwrap_or_else(PoisonError::into_inner);
        let Remapped { devices, files } = &mut *remapped;
        if small {
            let number = match devices.get(&file.device) {
                Some(number) => *number,
                None => {
                    let number = u16::try_from(devices.len() + 1).unwrap_or(TABLE);
                    if number == TABLE {
                        return Err(Errno::NFILE);
                    }
                    devices.insert(file.device, number);
                    number
                }
            };
            return Ok(u64::from(number) << DEVICE_SHIFT | file.inode);
        }
        if files.len() >= FILES_MAX && !files.contains_key(&file) {
            return Err(Errno::NFILE);
        }
        let next = files.len() as u64;
        let number = *files.entry(file).or_insert(next);
        Ok(u64::from(TABLE) << DEVICE_SHIFT | number)
    }
}

const DEVICE_SHIFT: u32 = 48;
const TABLE: u16 = u16::MAX;
/// Files with inode numbers over 48 bits that are told apart: 24 MiB of them.
const FILES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(device: u64, inode: u64) -> Identity {
        Identity { device, inode }
    }

    #[test]
    fn remapped_numbers_are_unique_and_stay() {
        let devices = Devices::new(1, MultiDevs::Remap);
        let big = u64::MAX - 1;
        let files = [
            file(1, 7),
            file(2, 7),
            file(3, 7),
            file(1, big),
            file(2, big),
        ];
        let paths = files.map(|file| devices.path(file).unwrap());
        assert_eq!(paths[0], 7, "the root's are as they are");
        for (at, path) in paths.iter().enumerate() {
            assert!(!paths[..at].contains(path));
            assert_eq!(devices.path(files[at]), Ok(*path));
        }
    }

    #[test]
    fn forbidden_devices_are_not_shown() {
        let devices = Devices::new(1, MultiDevs::Forbid);
        assert_eq!(devices.check(file(1, 7)), Ok(()));
        assert_eq!(devices.check(file(2, 7)), Err(Errno::NODEV));
        assert_eq!(Devices::new(1, MultiDevs::Warn).check(file(2, 7)), Ok(()));
    }
}
