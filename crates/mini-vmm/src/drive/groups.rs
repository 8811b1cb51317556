//! Throttle groups, by their names.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use virtio_blk::{Rates, ThrottleGroup};

use crate::options::BadOption;

/// The throttle groups of a machine, each of which ends with its last member, or its object.
#[derive(Debug, Default)]
pub struct Groups(BTreeMap<String, Weak<ThrottleGroup>>);

impl Groups {
    /// The group of this name.
    pub fn find(&self, name: &str) -> Option<Arc<ThrottleGroup>> {
        self.0.get(name)?.upgrade()
    }

    /// The group of this name, which has these limits from now on, made if need be.
    pub fn set(&mut self, name: &str, rates: Rates) -> Arc<ThrottleGroup> {
        if let Some(group) = self.find(name) {
            group.set_rates(rates);
            return group;
        }
        let group = Arc::new(ThrottleGroup::new(rates));
        self.0.retain(|_, group| group.strong_count() > 0);
        self.0.insert(name.to_owned(), Arc::downgrade(&group));
        group
    }

    /// Names a group that is an object.
    ///
    /// # Errors
    /// A name that another group has.
    pub fn add(&mut self, name: &str, group: &Arc<ThrottleGroup>) -> Result<(), BadOption> {
        if self.find(name).is_some() {
            let (why, accepted) = ("a group of disks has this name", "another identifier");
            let option = "-object throttle-group";
            return Err(BadOption::property(option, "id", name, why, accepted));
        }
        self.0.insert(name.to_owned(), Arc::downgrade(group));
        Ok(())
    }

    /// The names of those there are.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let alive = self.0.iter().filter(|(_, group)| group.strong_count() > 0);
        alive.map(|(name, _)| name)
    }
}
