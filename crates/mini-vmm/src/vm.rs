//! The machine: made from a [`Config`], run until it ends, reset in place.

mod balloon;
mod devices;
mod errors;
mod monitors;
mod named;
mod news;
mod ports;
mod state;
mod tray_news;
mod trays;
mod window;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use event_manager::{EventManager, EventSubscriber, SubscriberOps};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::Pid;

use crate::backends::Backends;
use crate::boot::Images;
use crate::chardev::Host;
use crate::control::Control;
use crate::error::{Error, host};
use crate::exit::{Wish, Wishes};
use crate::files::{Broker, Files};
use crate::hardware::{Hardware, Kit};
use crate::incidents::Incidents;
use crate::logger;
use crate::memory::{self, Memory, SharedMemory};
use crate::net::Announcer;
use crate::options::{Accel, BadOption, Config};
use crate::pidfile::PidFile;
use crate::processors::{Hypervisor, Processors};
use crate::qtest::{self, Qtest};
use crate::sandbox::{self, Class};
use crate::tally::Tally;
use crate::workers::{Launcher, Workers};
use balloon::BalloonNews;
use errors::Errors;
use monitors::Monitors;
use ports::PortNews;
pub use state::{Cause, RunState};
use tray_news::TrayNews;
pub(crate) use trays::DriveName;

/// Makes the machine that `config` describes, runs it, and returns what ended it.
///
/// # Errors
/// A wrong option, or a host that refuses something; nothing made is left behind.
pub fn run(config: &Config) -> Result<Wish, Error> {
    if let Some(name) = config
        .name
        .as_ref()
        .and_then(|name| CString::new(name.as_str()).ok())
    {
        let _ = rustix::thread::set_name(&name);
    }
    let mut machine = Machine::new(config)?;
    for line in config.unused() {
        logger::tell(format_args!("{line}"));
    }
    if let Some(wish) = machine.wait_for_clients()? {
        return Ok(wish);
    }
    machine.hardware.reset()?;
    if machine.state == RunState::Running {
        machine.start()?;
    }
    loop {
        match machine.wait()? {
            Wish::Reset if !config.no_reboot => machine.reset()?,
            wish => {
                machine.say_goodbye(&wish);
                return Ok(wish);
            }
        }
    }
}

type Subscriber = Arc<dyn EventSubscriber + Send + Sync>;

/// A machine.
pub struct Machine {
    pub(crate) config: Config,
    pub(crate) hardware: Hardware,
    pub(crate) backends: Backends,
    /// `None` where a test makes the accesses of processors.
    processors: Option<Processors>,
    state: RunState,
    /// Why the wish that is on its way was made, if not by the guest.
    cause: Option<Cause>,
    events: EventManager<Subscriber>,
    monitors: Monitors,
    balloon_news: BalloonNews,
    port_news: PortNews,
    tray_news: TrayNews,
    incidents: Arc<Incidents>,
    errors: Errors,
    /// Descriptors that came with the command that is being executed.
    pub(crate) received: VecDeque<OwnedFd>,
    control: Arc<Control>,
    /// What announces network devices.
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) workers: Workers,
    memory: SharedMemory,
    pidfile: Option<PidFile>,
}

impl Machine {
    fn new(config: &Config) -> Result<Self, Error> {
        let on_kvm = config.accel == Accel::Kvm;
        let images = on_kvm.then(|| Images::open(config)).transpose()?;
        let files = Arc::new(files(config)?);
        let wishes = Wishes::new().map_err(host("cannot make an event"))?;
        // From here on signals end the VMM in order: there may be sockets to remove.
        let control = Control::new(wishes.clone()).map_err(host("cannot take signals"))?;
        if config.exit_with_parent {
            let asked = control.signals.come_with_parent();
            asked.map_err(host("cannot end with its parent"))?;
        }
        let surroundings = Host {
            wishes: wishes.clone(),
            files,
        };
        let mut backends = Backends::open(config, surroundings)?;
        let incidents = Incidents::new().map_err(host("cannot make an event"))?;
        let incidents = Arc::new(incidents);
        backends.see_to_errors(Arc::clone(&incidents));
        let kit = Kit::new(config, &mut backends)?;
        let monitors = config.monitors.iter();
        let monitors = monitors.map(|target| backends.monitor(target));
        let monitors = monitors.collect::<Result<Vec<_>, _>>()?;
        let memory = SharedMemory::new(allocate(config)?);
        let hypervisor = on_kvm.then(|| Hypervisor::open(config, &memory));
        let hypervisor = hypervisor.transpose()?;
        let wires = match &hypervisor {
            Some(hypervisor) => hypervisor.wires().clone(),
            None => qtest::wires(&memory),
        };
        let (workers, launcher) = Workers::new(config.poll, config.is_sandboxed(), &wishes);
        let workers = workers.reporting_to(backends.activity());
        let hardware = Hardware::new(config, kit, (wires, &memory), (&workers, &wishes))?;
        let processors = hypervisor.zip(images).map(|(hypervisor, images)| {
            let around = (&hardware.bus, &wishes);
            Processors::new(hypervisor, config.cpus, images, around)
        });
        let mut machine = Self {
            config: config.clone(),
            hardware,
            backends,
            processors: processors.transpose()?,
            state: match config.frozen {
                true => RunState::Prelaunch,
                false => RunState::Running,
            },
            cause: None,
            events: events()?,
            monitors: Monitors::default(),
            balloon_news: BalloonNews::new().map_err(host("cannot make a timer"))?,
            port_news: PortNews::new().map_err(host("cannot make a timer"))?,
            tray_news: TrayNews::new().map_err(host("cannot make a timer"))?,
            incidents,
            errors: Errors::default(),
            received: VecDeque::new(),
            control: Arc::new(control),
            announcer: Arc::new(Announcer::new().map_err(host("cannot make a timer"))?),
            workers,
            memory,
            pidfile: config.pidfile.as_deref().map(PidFile::create).transpose()?,
        };
        machine.subscribe();
        for chardev in monitors {
            machine.add_monitor(chardev);
        }
        machine.launch(launcher, config.is_sandboxed())?;
        Ok(machine)
    }

    fn subscribe(&mut self) {
        self.events
            .add_subscriber(Arc::clone(&self.control) as Subscriber);
        let (balloon, ports) = (&self.balloon_news.timer, &self.port_news.timer);
        for news in [balloon, ports, &self.tray_news.timer] {
            self.events.add_subscriber(Arc::clone(news) as Subscriber);
        }
        let incidents = Arc::clone(&self.incidents);
        self.events.add_subscriber(incidents as Subscriber);
        let departures = Arc::clone(self.hardware.pci.departures());
        self.events.add_subscriber(departures as Subscriber);
        self.events
            .add_subscriber(Arc::clone(&self.announcer) as Subscriber);
        for serial in &self.hardware.serials {
            self.events.add_subscriber(Arc::clone(serial) as Subscriber);
        }
        if let Some((chardev, activity)) = self.backends.qtest().zip(self.backends.activity()) {
            let (bus, memory) = (Arc::clone(&self.hardware.bus), self.memory.clone());
            let server = Qtest::new(Arc::clone(chardev), (bus, memory), activity.clone());
            self.events.add_subscriber(Arc::new(server) as Subscriber);
        }
    }

    /// Starts the launcher and the processors, which wait, inside the sandbox.
    fn launch(&mut self, launcher: Launcher, sandboxed: bool) -> Result<(), Error> {
        let settled = self.backends.host.files.settle();
        settled.map_err(host("cannot empty a file"))?;
        // In a sandbox of their own: they open files in what is shared.
        for launcher in self.backends.take_launchers() {
            launcher.start().map_err(host("cannot start a thread"))?;
        }
        if sandboxed {
            let pidfile = self.pidfile.iter().map(PidFile::directory);
            let directories = self.backends.directories();
            sandbox::restrict_files(directories.chain(pidfile.map(Path::to_owned)))?;
            self.backends.host.files.seal();
        }
        launcher.start().map_err(host("cannot start a thread"))?;
        let class = match &mut self.processors {
            Some(processors) => {
                processors.launch(sandboxed)?;
                Class::Main
            }
            None => Class::Solo,
        };
        if sandboxed {
            sandbox::restrict_calls(class)?;
        }
        Ok(())
    }

    /// Waits for those at the other end of `wait=on` sockets. Returns the wish that ended it early.
    fn wait_for_clients(&mut self) -> Result<Option<Wish>, Error> {
        for chardev in self.backends.all_chardevs() {
            while chardev.awaits_client() {
                let input = chardev.input();
                let signals = self.control.signals.as_fd();
                let mut fds = [
                    PollFd::new(&signals, PollFlags::IN),
                    PollFd::new(&input, PollFlags::IN),
                ];
                poll(&mut fds, None).map_err(host("cannot wait for a client"))?;
                if !fds[0].revents().is_empty() {
                    return Ok(Some(Wish::PowerOff));
                }
                chardev.let_in();
            }
        }
        Ok(None)
    }

    /// Loads the guest, into devices in their state at power-on, and lets it go.
    fn start(&mut self) -> Result<(), Error> {
        match &mut self.processors {
            Some(processors) => processors.start(&self.memory, &self.hardware.platform),
            None => Ok(()),
        }
    }

    /// Handles events until somebody wants something of the machine.
    fn wait(&mut self) -> Result<Wish, Error> {
        loop {
            self.follow_window();
            let run = self.events.run();
            run.map_err(|error| Error::Host("cannot wait for events", io::Error::other(error)))?;
            self.obey()?;
            self.see_off();
            self.see_to_errors();
            self.tell_of_balloon();
            self.tell_of_ports();
            if let Some(wish) = self.control.wishes.take() {
                return Ok(wish);
            }
        }
    }

    /// What it holds of KVM, where it runs on that.
    pub(crate) fn tally(&self) -> Option<&Tally> {
        self.processors.as_ref().map(Processors::tally)
    }

    /// The numbers of the threads of processors, in their order; none where it has no processors.
    ///
    /// # Errors
    /// Threads that there are not.
    pub(crate) fn processor_threads(&self) -> io::Result<Vec<Pid>> {
        let processors = self.processors.as_ref();
        processors.map_or_else(|| Ok(Vec::new()), Processors::thread_ids)
    }

    fn stop(&self) {
        if let Some(processors) = &self.processors {
            processors.stop();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        // Their threads share the devices, and may not remove the sockets of these.
        drop(self.processors.take());
        // Requests in flight are finished: what the guest was told is written is in its file.
        if let Err(error) = self.hardware.reset() {
            log::warn!("{error}");
        }
    }
}

/// What opens things for the machine of `config`, even when it is in its sandbox.
fn files(config: &Config) -> Result<Files, Error> {
    let again = config.reconnecting();
    let needed = !config.allowed.is_empty() || !again.is_empty();
    let broker = (config.is_sandboxed() && needed).then(|| Broker::start(&config.allowed, again));
    let broker = broker.transpose();
    Ok(Files::new(broker?).provisional())
}

fn allocate(config: &Config) -> Result<Memory, BadOption> {
    memory::allocate(config.memory).map_err(|error| {
        let given = format!("{}M", config.memory >> 20);
        BadOption::value("-m", &given, error, "less, or more memory in the host")
    })
}

fn events() -> Result<EventManager<Subscriber>, Error> {
    EventManager::new()
        .map_err(|error| Error::Host("cannot make an event loop", io::Error::other(error)))
}
