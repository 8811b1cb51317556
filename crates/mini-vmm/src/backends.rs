//! Host ends of devices, by identifier.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::chardev::Chardev;
use crate::exit::Wishes;
use crate::options::{BadOption, Config, SerialTarget};

/// Everything that devices can be connected to.
#[derive(Debug, Default)]
pub struct Backends {
    chardevs: BTreeMap<String, Arc<Chardev>>,
    unnamed: Vec<Arc<Chardev>>,
}

impl Backends {
    /// Opens the character devices of `config`.
    ///
    /// # Errors
    /// What cannot be opened, under its option's name.
    pub fn open(config: &Config, wishes: &Wishes) -> Result<Self, BadOption> {
        let mut backends = Self::default();
        for options in &config.chardevs {
            let chardev = Chardev::open("-chardev", &options.id, &options.kind, wishes)?;
            backends
                .chardevs
                .insert(options.id.clone(), Arc::new(chardev));
        }
        Ok(backends)
    }

    /// The other end of serial port `index`.
    ///
    /// # Errors
    /// One that cannot be opened, or that does not exist.
    pub fn serial(
        &mut self,
        index: usize,
        target: &SerialTarget,
        wishes: &Wishes,
    ) -> Result<Arc<Chardev>, BadOption> {
        match target {
            SerialTarget::Shared(id) => self.chardev("-serial", "chardev", id),
            SerialTarget::Own(kind) => {
                let label = format!("serial{index}");
                let chardev = Arc::new(Chardev::open("-serial", &label, kind, wishes)?);
                self.unnamed.push(Arc::clone(&chardev));
                Ok(chardev)
            }
        }
    }

    /// Takes the character device `id`, which then belongs to one device.
    ///
    /// # Errors
    /// One that does not exist or is taken.
    pub fn chardev(
        &mut self,
        option: &str,
        key: &str,
        id: &str,
    ) -> Result<Arc<Chardev>, BadOption> {
        match self.chardevs.get(id) {
            Some(chardev) if Arc::strong_count(chardev) == 1 => Ok(Arc::clone(chardev)),
            Some(_) => Err(BadOption::property(
                option,
                key,
                id,
                "already in use",
                "another -chardev",
            )),
            None => {
                let ids = self.chardevs.keys().cloned().collect::<Vec<_>>().join(", ");
                let accepted = if ids.is_empty() {
                    "the id of a -chardev".into()
                } else {
                    ids
                };
                Err(BadOption::property(
                    option,
                    key,
                    id,
                    "no such chardev",
                    accepted,
                ))
            }
        }
    }

    /// All character devices.
    pub fn all_chardevs(&self) -> impl Iterator<Item = &Arc<Chardev>> {
        self.chardevs.values().chain(&self.unnamed)
    }

    /// Directories from which files must be removed at the end.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.all_chardevs()
            .filter_map(|chardev| chardev.leaves_file_in())
    }
}
