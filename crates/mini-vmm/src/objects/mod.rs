//! `-object`: things on the host that devices refer to by an identifier, QEMU's user-creatable
//! objects.
//!
//! `table.rs` is the one place that says which types there are.

mod dump;
mod egd;
mod entropy;
mod iothread;
mod table;
mod throttle_group;

use std::collections::BTreeMap;
use std::sync::Arc;

use virtio_blk::ThrottleGroup;
use virtio_device::props::{DynProps, PropHelp};
use virtio_rng::EntropySource;

use crate::backends::Backends;
use crate::devices::{apply_pairs, property_line};
use crate::net::Dump;
use crate::options::{BadOption, ObjectOptions, near_matches};
use entropy::Entropy;
pub use iothread::{Iothread, Place};
pub(crate) use table::THROTTLE_GROUP;
use table::{OBJECTS, Row};

/// An object that was made.
pub struct Object {
    /// Name of its type.
    pub kind: &'static str,
    /// Its properties, with the values that it was made with.
    pub properties: Vec<PropHelp>,
    role: Role,
    /// Its clones are with those who use it.
    lease: Lease,
}

/// What an object is for.
pub enum Role {
    /// A capture of what passes a network back-end, which ends with it.
    Dump(#[allow(dead_code, reason = "held")] Arc<Dump>),
    /// A thread for the devices that name it.
    Iothread(Arc<Iothread>),
    /// A source of entropy.
    Entropy(Box<dyn Entropy>),
    /// Limits that disks keep to together.
    ThrottleGroup(Arc<ThrottleGroup>),
}

/// Keeps an object in use.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<()>);

/// Properties of a type, which know how to make an object of it.
pub(crate) trait ObjectProps: DynProps {
    /// Makes the object; `option` is its name in errors.
    fn object(&mut self, option: &str, backends: &mut Backends) -> Result<Role, BadOption>;
}

impl Object {
    /// Makes the object of `options`.
    ///
    /// # Errors
    /// An unknown type or property, a value that is refused, and what cannot be opened.
    pub fn make(options: &ObjectOptions, backends: &mut Backends) -> Result<Self, BadOption> {
        let row = find(&options.kind)?;
        let (option, mut props) = (option(options), (row.props)());
        apply_pairs(&option, &options.properties, &mut [&mut *props])?;
        let role = props.object(&option, backends)?;
        Ok(Self {
            kind: row.name,
            properties: props.describe(),
            role,
            lease: Lease::default(),
        })
    }

    /// Sets a property while it is there; `option` is what errors call it. Sources of entropy,
    /// captures and throttle groups stay as they were made.
    ///
    /// # Errors
    /// A value that is refused, and an object that stays as it is.
    pub fn set(&mut self, option: &str, name: &str, value: &str) -> Result<(), BadOption> {
        match &self.role {
            Role::Iothread(thread) => {
                iothread::set(thread, (option, &mut self.properties), (name, value))
            }
            Role::Dump(_) | Role::Entropy(_) | Role::ThrottleGroup(_) => {
                let why = "set when it was made, for good";
                let accepted = "another object";
                Err(BadOption::property(option, name, value, why, accepted))
            }
        }
    }

    /// The group that it is, if it is one.
    pub fn throttle_group(&self) -> Option<&Arc<ThrottleGroup>> {
        match &self.role {
            Role::ThrottleGroup(group) => Some(group),
            _ => None,
        }
    }

    /// Sets some of the limits of a throttle group, by the names `limits.NAME`.
    ///
    /// # Errors
    /// Limits that do not go together, and an object that has none.
    pub fn set_limits(
        &mut self,
        option: &str,
        limits: &[(String, String)],
    ) -> Result<(), BadOption> {
        match &self.role {
            Role::ThrottleGroup(group) => {
                throttle_group::set(group, (option, &mut self.properties), limits)
            }
            _ => Err(BadOption::new(option, "no limits", "a throttle-group")),
        }
    }

    /// Whether something uses it.
    pub fn is_used(&self) -> bool {
        let uses = match &self.role {
            Role::ThrottleGroup(group) => Arc::strong_count(group),
            _ => Arc::strong_count(&self.lease.0),
        };
        uses > 1
    }
}

/// The objects of a machine, by their identifiers.
#[derive(Default)]
pub struct Objects(BTreeMap<String, Object>);

impl Objects {
    /// Keeps `object` under the name `id`.
    pub fn insert(&mut self, id: &str, object: Object) {
        self.0.insert(id.to_owned(), object);
    }

    /// All of them, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Object)> {
        self.0.iter()
    }

    /// The object `id`, to be changed.
    pub fn find_mut(&mut self, id: &str) -> Option<&mut Object> {
        self.0.get_mut(id)
    }

    /// The object `id`.
    pub fn find(&self, id: &str) -> Option<&Object> {
        self.0.get(id)
    }

    /// Ends the object `id`, which nothing uses.
    ///
    /// # Errors
    /// One that does not exist, or is in use.
    pub fn remove(&mut self, option: &str, id: &str) -> Result<(), BadOption> {
        let bad = |why, accepted: String| BadOption::property(option, "id", id, why, accepted);
        match self.0.get(id) {
            None => Err(bad("no such object", self.names(None))),
            Some(object) if object.is_used() => {
                let accepted = "an object that no device uses".to_owned();
                Err(bad("in use, cannot be deleted", accepted))
            }
            Some(_) => {
                self.0.remove(id);
                Ok(())
            }
        }
    }

    /// A source of entropy on the object `id`, which is in use as long as the source lives.
    ///
    /// # Errors
    /// An object that does not exist or is none, and one that gives no more sources.
    pub fn entropy(
        &self,
        option: &str,
        key: &str,
        id: &str,
    ) -> Result<Box<dyn EntropySource>, BadOption> {
        let Some(Object {
            role: Role::Entropy(entropy),
            lease,
            ..
        }) = self.0.get(id)
        else {
            return Err(self.no_such(option, key, id, "rng-"));
        };
        entropy.open(lease.clone()).map_err(|error| {
            BadOption::property(option, key, id, error, "an object that can be read")
        })
    }

    /// Those of the type `iothread`, by their names.
    pub fn iothreads(&self) -> impl Iterator<Item = (&String, &Object, &Iothread)> {
        self.iter().filter_map(|(id, object)| match &object.role {
            Role::Iothread(thread) => Some((id, object, &**thread)),
            _ => None,
        })
    }

    /// A place on the thread of the `iothread` `id`.
    ///
    /// # Errors
    /// An object that does not exist or is none.
    pub fn iothread(&self, option: &str, key: &str, id: &str) -> Result<Place, BadOption> {
        match self.0.get(id) {
            Some(Object {
                role: Role::Iothread(thread),
                lease,
                ..
            }) => Ok(Place {
                id: id.to_owned(),
                thread: Arc::clone(thread),
                lease: lease.clone(),
            }),
            _ => Err(self.no_such(option, key, id, "iothread")),
        }
    }

    fn no_such(&self, option: &str, key: &str, id: &str, kind: &str) -> BadOption {
        let names = self.names(Some(kind));
        BadOption::property(option, key, id, "no such object", names)
    }

    /// The names of objects whose type starts with `kind`, or what they would be.
    fn names(&self, kind: Option<&str>) -> String {
        let fits = |object: &Object| kind.is_none_or(|kind| object.kind.starts_with(kind));
        let fitting = self.0.iter().filter(|(_, object)| fits(object));
        let names: Vec<_> = fitting.map(|(id, _)| id.as_str()).collect();
        match (names.as_slice(), kind) {
            ([], kind) => format!("the id of a -object {}", kind.unwrap_or_default()),
            (names, _) => names.join(", "),
        }
    }
}

/// What `-object help` (no `kind`) and `-object TYPE,help` print.
///
/// # Errors
/// An unknown type.
pub fn help(kind: &str) -> Result<String, BadOption> {
    if kind.is_empty() {
        let line = |row: &Row| format!("  {:<14} {}\n", row.name, row.help);
        let lines = OBJECTS.iter().map(line).collect::<String>();
        return Ok(format!("Objects:\n{lines}"));
    }
    let row = find(kind)?;
    let described = (row.props)().describe();
    let lines = described.iter().map(property_line).collect::<String>();
    Ok(format!("{} ({})\nProperties:\n{lines}", row.name, row.help))
}

/// Names of all types.
pub fn names() -> impl Iterator<Item = &'static str> {
    OBJECTS.iter().map(|row| row.name)
}

fn find(kind: &str) -> Result<&'static Row, BadOption> {
    let row = OBJECTS.iter().find(|row| row.name == kind);
    row.ok_or_else(|| {
        let names = near_matches(kind, names().collect::<Vec<_>>().into_iter());
        BadOption::value("-object", kind, "unknown type", names)
    })
}

/// How errors call an object.
fn option(options: &ObjectOptions) -> String {
    format!("-object {}", options.kind)
}

#[cfg(test)]
mod tests;
