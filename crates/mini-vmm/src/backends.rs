//! Host ends of devices, by identifier.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use virtio_bus::Activity;

use crate::chardev::{Chardev, Host};
use crate::drive::Drives;
use crate::hotplug::Departures;
use crate::incidents::Incidents;
use crate::net::{Clients, Hubs, Macs, Netdev};
use crate::objects::{Object, Objects, THROTTLE_GROUP};
use crate::options::{
    BadOption, ChardevKind, ChardevOptions, Config, FsdevOptions, NetdevOptions, ObjectOptions,
    SerialTarget,
};
use crate::share::Share;
use crate::workers::{Launcher, Workers};

/// Path among QEMU's objects of the device that a user calls `name`: by its identifier, or by its path.
pub fn path_of(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/machine/peripheral/{name}"),
    }
}

/// Everything that devices can be connected to.
pub struct Backends {
    qtest: Option<Arc<Chardev>>,
    /// That of devices' threads, where a test waits for them.
    activity: Option<Activity>,
    chardevs: BTreeMap<String, Arc<Chardev>>,
    unnamed: Vec<Arc<Chardev>>,
    /// Those of `-drive` and `-blockdev`.
    pub drives: Drives,
    shares: BTreeMap<String, Share>,
    netdevs: BTreeMap<String, Netdev>,
    hubs: Hubs,
    /// Addresses of network devices.
    pub macs: Macs,
    /// Their names.
    pub clients: Clients,
    /// Those of `-object`.
    pub objects: Objects,
    /// What opens them.
    pub host: Host,
    departures: Arc<Departures>,
    /// Devices so far that have no identifier.
    unnamed_devices: usize,
    /// Where somebody sees to them.
    incidents: Option<Arc<Incidents>>,
}

impl Backends {
    /// Opens everything that `config` names, the test's end first, as it expects it.
    ///
    /// # Errors
    /// What cannot be opened, under its option's name.
    pub fn open(config: &Config, host: Host) -> Result<Self, BadOption> {
        let departures = Departures::new()
            .map_err(|error| BadOption::new("-device", error, "a host with descriptors left"))?;
        let mut backends = Self {
            qtest: None,
            activity: None,
            chardevs: BTreeMap::new(),
            unnamed: Vec::new(),
            drives: Drives::default(),
            shares: BTreeMap::new(),
            netdevs: BTreeMap::new(),
            hubs: Hubs::default(),
            macs: Macs::default(),
            clients: Clients::default(),
            objects: Objects::default(),
            host,
            departures: Arc::new(departures),
            unnamed_devices: 0,
            incidents: None,
        };
        if let Some(kind) = &config.qtest {
            let chardev = Chardev::open("-qtest", "qtest", kind, &backends.host)?;
            backends.qtest = Some(Arc::new(chardev));
            let activity = Activity::new()
                .map_err(|error| BadOption::new("-qtest", error, "a host with descriptors left"))?;
            backends.activity = Some(activity);
        }
        for options in &config.chardevs {
            backends.add_chardev("-chardev", options)?;
        }
        let is_early = |options: &&ObjectOptions| options.kind == THROTTLE_GROUP;
        for options in config.objects.iter().filter(is_early) {
            backends.add_object(options)?;
        }
        for options in &config.drives {
            backends.drives.add(options, &backends.host.files)?;
        }
        for options in &config.fsdevs {
            backends.add_share(options, config)?;
        }
        for options in &config.netdevs {
            backends.add_netdev("-netdev", options)?;
        }
        for options in config.objects.iter().filter(|options| !is_early(options)) {
            backends.add_object(options)?;
        }
        if !config.monitors.is_empty() {
            // Those who add drives later cannot open anything.
            backends.drives.open_zeroes()?;
        }
        Ok(backends)
    }

    /// Where devices and their host ends are seen off.
    pub fn departures(&self) -> &Arc<Departures> {
        &self.departures
    }

    /// Path among QEMU's objects of a new device, whose identifier is `id` if it has one.
    pub fn path_of_new(&mut self, id: Option<&str>) -> String {
        match id {
            Some(id) => path_of(id),
            None => {
                let number = self.unnamed_devices;
                self.unnamed_devices += 1;
                format!("/machine/peripheral-anon/device[{number}]")
            }
        }
    }

    /// Has devices that are made from now on do about failed requests what their drives say, and
    /// tell `incidents` of them, which stops the machine. Else all of them are reported to the guest.
    pub fn see_to_errors(&mut self, incidents: Arc<Incidents>) {
        self.incidents = Some(incidents);
    }

    /// Where failed requests are seen to, if they are.
    pub fn incidents(&self) -> Option<&Arc<Incidents>> {
        self.incidents.as_ref()
    }

    /// The test's end of a machine without processors.
    pub fn qtest(&self) -> Option<&Arc<Chardev>> {
        self.qtest.as_ref()
    }

    /// Where the threads of devices tell whether they have something to do, if a test asks.
    pub fn activity(&self) -> Option<&Activity> {
        self.activity.as_ref()
    }

    /// The other end of serial port `index`.
    ///
    /// # Errors
    /// One that cannot be opened, or that does not exist.
    pub fn serial(
        &mut self,
        index: usize,
        target: &SerialTarget,
    ) -> Result<Arc<Chardev>, BadOption> {
        match target {
            SerialTarget::Shared(id) => self.chardev("-serial", "chardev", id),
            SerialTarget::Own(kind) => {
                self.open_unnamed("-serial", &format!("serial{index}"), kind)
            }
        }
    }

    /// The other end of a monitor.
    ///
    /// # Errors
    /// One that cannot be opened, or that does not exist.
    pub fn monitor(&mut self, target: &SerialTarget) -> Result<Arc<Chardev>, BadOption> {
        match target {
            SerialTarget::Shared(id) => self.chardev("-mon", "chardev", id),
            SerialTarget::Own(kind) => self.open_unnamed("-qmp", "qmp", kind),
        }
    }

    fn open_unnamed(
        &mut self,
        option: &str,
        label: &str,
        kind: &ChardevKind,
    ) -> Result<Arc<Chardev>, BadOption> {
        let chardev = Arc::new(Chardev::open(option, label, kind, &self.host)?);
        self.unnamed.push(Arc::clone(&chardev));
        Ok(chardev)
    }

    /// Opens a character device; `option` names it in errors.
    ///
    /// # Errors
    /// What cannot be opened.
    pub fn add_chardev(&mut self, option: &str, options: &ChardevOptions) -> Result<(), BadOption> {
        let chardev = Chardev::open(option, &options.id, &options.kind, &self.host)?;
        self.chardevs.insert(options.id.clone(), Arc::new(chardev));
        Ok(())
    }

    /// Closes a character device that nothing uses.
    ///
    /// # Errors
    /// One that does not exist, or is in use.
    pub fn remove_chardev(&mut self, option: &str, id: &str) -> Result<(), BadOption> {
        self.chardev(option, "id", id)?;
        self.chardevs.remove(id);
        Ok(())
    }

    /// The character device `id`, whoever has it.
    pub fn find_chardev(&self, id: &str) -> Option<&Arc<Chardev>> {
        self.chardevs.get(id)
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
                let ids = names(self.chardevs.keys(), "the id of a -chardev");
                Err(BadOption::property(option, key, id, "no such chardev", ids))
            }
        }
    }

    /// Opens a network back-end; `option` names it in errors.
    ///
    /// # Errors
    /// What cannot be opened.
    pub fn add_netdev(&mut self, option: &str, options: &NetdevOptions) -> Result<(), BadOption> {
        let netdev = Netdev::open(option, options, &mut self.hubs, &self.host.files)?;
        self.netdevs.insert(options.id.clone(), netdev);
        Ok(())
    }

    /// Closes a network back-end that no device has.
    ///
    /// # Errors
    /// One that does not exist, or is in use.
    pub fn remove_netdev(&mut self, option: &str, id: &str) -> Result<(), BadOption> {
        self.netdev(option, "id", id)?;
        self.netdevs.remove(id);
        Ok(())
    }

    /// The network back-end `id`, which belongs to one device for as long as that keeps it.
    ///
    /// # Errors
    /// One that does not exist, or is in use.
    pub fn netdev(&self, option: &str, key: &str, id: &str) -> Result<Netdev, BadOption> {
        let netdev = self.any_netdev(option, key, id)?;
        match netdev.is_used() {
            false => Ok(netdev.clone()),
            true => {
                let (why, accepted) = ("already in use", "another -netdev");
                Err(BadOption::property(option, key, id, why, accepted))
            }
        }
    }

    /// The network back-end `id`, whether a device has it or not.
    ///
    /// # Errors
    /// One that does not exist.
    pub fn any_netdev(&self, option: &str, key: &str, id: &str) -> Result<&Netdev, BadOption> {
        self.netdevs.get(id).ok_or_else(|| {
            let ids = names(self.netdevs.keys(), "the id of a -netdev");
            BadOption::property(option, key, id, "no such netdev", ids)
        })
    }

    /// Whether there is a network back-end of this name.
    pub fn has_netdev(&self, id: &str) -> bool {
        self.netdevs.contains_key(id)
    }

    /// Remembers whether the link of the back-end `id` is up; false if there is none.
    pub fn set_link(&self, id: &str, up: bool) -> bool {
        let netdev = self.netdevs.get(id);
        netdev.map(|netdev| netdev.set_link(up)).is_some()
    }

    /// Makes an object.
    ///
    /// # Errors
    /// One that cannot be made, under its option's name.
    pub fn add_object(&mut self, options: &ObjectOptions) -> Result<(), BadOption> {
        let object = Object::make(options, self)?;
        if let Some(group) = object.throttle_group() {
            self.drives.groups.add(&options.id, group)?;
        }
        self.objects.insert(&options.id, object);
        Ok(())
    }

    /// Opens something to share, with threads of its own.
    fn add_share(&mut self, options: &FsdevOptions, config: &Config) -> Result<(), BadOption> {
        let (wishes, activity) = (&self.host.wishes, self.activity());
        let workers = |territory| {
            let (poll, sandboxed) = (config.poll, config.is_sandboxed());
            let (workers, launcher) = Workers::within(territory, poll, sandboxed, wishes);
            (workers.reporting_to(activity), launcher)
        };
        let share = Share::open(options, workers)?;
        self.shares.insert(options.id.clone(), share);
        Ok(())
    }

    /// What is shared as `id`; many devices may share it.
    ///
    /// # Errors
    /// One that does not exist.
    pub fn share(&self, option: &str, key: &str, id: &str) -> Result<&Share, BadOption> {
        self.shares.get(id).ok_or_else(|| {
            let ids = names(self.shares.keys(), "the id of a -fsdev");
            BadOption::property(option, key, id, "no such fsdev", ids)
        })
    }

    /// What starts the threads of shares, to be started before the process goes into its sandbox.
    pub fn take_launchers(&mut self) -> impl Iterator<Item = Launcher> {
        self.shares.values_mut().filter_map(Share::take_launcher)
    }

    /// Character devices by their names.
    pub fn named_chardevs(&self) -> impl Iterator<Item = (&String, &Arc<Chardev>)> {
        self.chardevs.iter()
    }

    /// All character devices.
    pub fn all_chardevs(&self) -> impl Iterator<Item = &Arc<Chardev>> {
        let named = self.qtest.iter().chain(self.chardevs.values());
        named.chain(&self.unnamed)
    }

    /// Directories from which files must be removed at the end.
    pub fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let sockets = self.all_chardevs();
        let sockets = sockets.filter_map(|chardev| chardev.leaves_file_in());
        let netdevs = self.netdevs.values().filter_map(Netdev::leaves_file_in);
        let sockets = sockets.chain(netdevs);
        sockets.chain(self.host.files.directories().map(Path::to_owned))
    }
}

/// The identifiers there are, or what they would be.
pub(crate) fn names<'a>(ids: impl Iterator<Item = &'a String>, none: &str) -> String {
    let ids = ids.cloned().collect::<Vec<_>>().join(", ");
    if ids.is_empty() { none.to_owned() } else { ids }
}
