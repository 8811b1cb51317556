//! The drives of a machine: a graph, in which some are made of others.
//!
//! A device has a drive for itself, and with it everything that is below. So a drive that is below
//! another one is given to no device, and one whose parts a device has yet waits until that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use virtio_blk::{Rates, ThrottleGroup};

use super::{Around, Drive, Groups, Resize, Zeroes};
use crate::backends::names;
use crate::files::Files;
use crate::options::{Backing, BadOption, DriveOptions, DriveSource, Place, Throttling};

/// The drives of a machine, by their names.
#[derive(Default)]
pub struct Drives {
    drives: BTreeMap<String, Drive>,
    /// How devices are told of another size of their drive.
    resizers: BTreeMap<String, Resize>,
    /// Those that came into a tray by a file's name, and go when they are taken out.
    media: BTreeSet<String>,
    pub(super) zeroes: Zeroes,
    /// What some of them keep to the limits of.
    pub groups: Groups,
}

impl Drives {
    /// Opens a drive, above those that it names.
    ///
    /// # Errors
    /// What cannot be opened, under its option's name, and a drive that is not there or not free.
    pub fn add(&mut self, options: &DriveOptions, files: &Files) -> Result<(), BadOption> {
        let around = Around {
            files,
            drives: self,
        };
        let mut drive = Drive::open(options, &around)?;
        drive.join(self.group_of(options)?);
        self.drives.insert(options.id.clone(), drive);
        Ok(())
    }

    /// The group that a drive is in from the start.
    fn group_of(&mut self, options: &DriveOptions) -> Result<Option<Grouped>, BadOption> {
        let named = |name: &str, group| Some((name.to_owned(), group));
        Ok(match &options.throttling {
            Throttling::Unlimited => None,
            Throttling::Limits(rates, group) => {
                let name = group.as_ref().unwrap_or(&options.id);
                named(name, self.groups.set(name, **rates))
            }
            Throttling::Group(name) => {
                let group = self.groups.find(name);
                let group = group.ok_or_else(|| {
                    let accepted = names(self.groups.names(), "the id of a -object throttle-group");
                    let (key, why) = ("throttle-group", "no such group");
                    BadOption::property("-blockdev", key, name, why, accepted)
                })?;
                named(name, group)
            }
        })
    }

    /// Has the drive `id` keep to `rates` from now on, with all others that are in the group of this
    /// name. Without a name, that is the one it is in, or its own. Without limits, it leaves its group.
    pub fn throttle(&mut self, id: &str, rates: Rates, group: Option<&str>) {
        let Some(drive) = self.drives.get_mut(id) else {
            return;
        };
        let limited = rates != Rates::default();
        let joined = limited.then(|| {
            let name = group.or(drive.group.as_deref()).unwrap_or(id).to_owned();
            let group = self.groups.set(&name, rates);
            (name, group)
        });
        drive.join(joined);
    }

    /// As [`add`](Self::add), for a medium that is nothing without the device it is for.
    ///
    /// # Errors
    /// As there.
    pub fn add_medium(&mut self, options: &DriveOptions, files: &Files) -> Result<(), BadOption> {
        self.add(options, files)?;
        self.media.insert(options.id.clone());
        Ok(())
    }

    /// Closes the drive `id` if it came as a medium, and no device has it.
    pub fn drop_medium(&mut self, id: &str) {
        let is_free = self.drives.get(id).is_some_and(|drive| !drive.is_used());
        if is_free && self.media.contains(id) {
            self.forget(id);
        }
    }

    /// Closes a drive that is not in use.
    ///
    /// # Errors
    /// One that does not exist, or is in use.
    pub fn remove(&mut self, option: &str, key: &str, id: &str) -> Result<(), BadOption> {
        match self.named(option, key, id)? {
            drive if drive.is_used() || self.is_below(id) => Err(in_use(option, key, id)),
            _ => {
                self.forget(id);
                Ok(())
            }
        }
    }

    fn forget(&mut self, id: &str) {
        self.drives.remove(id);
        self.resizers.remove(id);
        self.media.remove(id);
    }

    /// The drive `id`, which belongs to one device for as long as that keeps it.
    ///
    /// # Errors
    /// One that does not exist, or is in use, or whose parts are.
    pub fn take(&self, option: &str, key: &str, id: &str) -> Result<Drive, BadOption> {
        let drive = self.named(option, key, id)?;
        match drive.is_used() || self.is_below(id) || self.is_used_below(&drive.options.source) {
            true => Err(in_use(option, key, id)),
            false => Ok(drive.clone()),
        }
    }

    /// Remembers how the device that has the drive `id` is told of another size.
    pub fn keep_resizer(&mut self, id: &str, resizer: Resize) {
        self.resizers.insert(id.to_owned(), resizer);
    }

    /// Gives the drive `id` `size` bytes, and has the device that has it tell its driver.
    ///
    /// # Errors
    /// A drive that does not exist, is read-only or below another one, a size that is no number of
    /// whole blocks, or a host that refuses.
    pub fn resize(&mut self, id: &str, size: u64) -> Result<(), BadOption> {
        self.named("-drive", "id", id)?;
        if self.is_below(id) {
            return Err(in_use("-drive", "id", id));
        }
        let Some(drive) = self.drives.get_mut(id) else {
            return Ok(());
        };
        let resizer = self.resizers.get(id).filter(|_| drive.is_used());
        drive.resize(resizer, size).map_err(|error| {
            let accepted = "whole blocks of a disk that is written, as the host has room for";
            BadOption::property("-drive", "size", &size.to_string(), error, accepted)
        })
    }

    /// The drive of this name.
    pub fn find(&self, id: &str) -> Option<&Drive> {
        self.drives.get(id)
    }

    /// All of them, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Drive)> {
        self.drives.iter()
    }

    /// Whether another drive is made of the drive `id`.
    pub fn is_below(&self, id: &str) -> bool {
        let mut drives = self.drives.values();
        drives.any(|drive| drive.options.source.nodes().contains(&id))
    }

    /// The name of the file that a drive of `source` is in.
    pub fn filename(&self, source: &DriveSource) -> String {
        let node = match source {
            DriveSource::File(Place::Node(id))
            | DriveSource::Qcow2(Place::Node(id), _)
            | DriveSource::Node(id) => self.find(id),
            _ => None,
        };
        node.map_or_else(
            || source.to_string(),
            |node| self.filename(&node.options.source),
        )
    }

    /// What is under the image of `source`, and what is under that, from above.
    pub fn chain<'a>(&'a self, source: &'a DriveSource) -> Vec<&'a DriveSource> {
        let below = match source {
            DriveSource::Node(id) => {
                let below = self.find(id).map(|drive| &drive.options.source);
                return below.map(|source| self.chain(source)).unwrap_or_default();
            }
            DriveSource::Qcow2(_, Some(backing)) => match &**backing {
                Backing::Node(id) => self.find(id).map(|drive| &drive.options.source),
                Backing::Inline(DriveSource::Null(0)) => None,
                Backing::Inline(source) => Some(source),
            },
            _ => None,
        };
        let chain = below.map(|source| [vec![source], self.chain(source)].concat());
        chain.unwrap_or_default()
    }

    /// Opens what a disk of zeroes needs, while files can be opened.
    ///
    /// # Errors
    /// A host that does not have it.
    pub fn open_zeroes(&self) -> Result<(), BadOption> {
        self.zeroes.open().map(drop)
    }

    /// Whether a device has something of what is below.
    fn is_used_below(&self, source: &DriveSource) -> bool {
        let below = source.nodes();
        let mut below = below.iter().filter_map(|id| self.find(id));
        below.any(|drive| drive.is_used() || self.is_used_below(&drive.options.source))
    }

    fn named(&self, option: &str, key: &str, id: &str) -> Result<&Drive, BadOption> {
        self.find(id).ok_or_else(|| {
            let ids = names(self.drives.keys(), "the id of a -drive");
            BadOption::property(option, key, id, "no such drive", ids)
        })
    }
}

/// A group under its name.
type Grouped = (String, Arc<ThrottleGroup>);

fn in_use(option: &str, key: &str, id: &str) -> BadOption {
    BadOption::property(option, key, id, "already in use", "another -drive")
}
