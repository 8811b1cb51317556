//! The machine: made from a [`Config`], run until it ends, reset in place.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use event_manager::{EventManager, EventSubscriber, SubscriberOps};
use kvm_ioctls::{Kvm, VmFd};
use rustix::event::{PollFd, PollFlags, poll};
use vm_memory::{GuestAddress, GuestAddressSpace};
use vmm_sys_util::signal::Killable;

use crate::acpi::Platform;
use crate::backends::Backends;
use crate::boot::Images;
use crate::control::Control;
use crate::cpu::{self, Model, ResetState};
use crate::error::{Error, host};
use crate::exit::{Wish, Wishes};
use crate::gate::{Gate, Order};
use crate::hardware::{Hardware, Kit};
use crate::irq::IrqState;
use crate::layout::{self, Range};
use crate::memory::{self, SharedMemory};
use crate::options::{BadOption, Config};
use crate::pidfile::PidFile;
use crate::sandbox::{self, Class};
use crate::signals;
use crate::vcpu::Vcpu;
use crate::workers::{Launcher, Workers};

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
    if let Some(wish) = machine.wait_for_clients()? {
        return Ok(wish);
    }
    machine.hardware.reset()?;
    machine.start()?;
    loop {
        match machine.wait()? {
            Wish::Reset if !config.no_reboot => machine.reset()?,
            wish => return Ok(wish),
        }
    }
}

type Subscriber = Arc<dyn EventSubscriber + Send + Sync>;

/// A machine.
struct Machine {
    threads: Vec<JoinHandle<()>>,
    gate: Arc<Gate>,
    events: EventManager<Subscriber>,
    control: Arc<Control>,
    power_on: IrqState,
    hardware: Hardware,
    images: Images,
    backends: Backends,
    memory: SharedMemory,
    pidfile: Option<PidFile>,
}

impl Machine {
    fn new(config: &Config) -> Result<Self, Error> {
        let images = Images::open(config)?;
        let wishes = Wishes::new().map_err(host("cannot make an event"))?;
        let mut backends = Backends::open(config, &wishes)?;
        let kit = Kit::new(config, &mut backends, &wishes)?;
        let kvm = open_kvm()?;
        let model = Model::new(&kvm, &config.cpu, config.cpus)?;
        let vm = Arc::new(kvm.create_vm().map_err(host("cannot create a VM"))?);
        let memory = make_memory(config, &vm)?;
        let control = Control::new(wishes.clone()).map_err(host("cannot take signals"))?;
        let (workers, launcher) = Workers::new(config.poll, config.sandbox, &wishes);
        let hardware = Hardware::new(config, kit, (&vm, &memory), (&workers, &wishes))?;
        let gate = Arc::new(Gate::default());
        let vcpus = (0..config.cpus).map(|index| {
            let (fd, reset) = make_vcpu(&kvm, &vm, &model, index)?;
            Ok(Vcpu {
                fd,
                index,
                reset,
                bus: Arc::clone(&hardware.bus),
                wishes: wishes.clone(),
                gate: Arc::clone(&gate),
            })
        });
        let vcpus = vcpus.collect::<io::Result<Vec<_>>>();
        let vcpus = vcpus.map_err(host("cannot create a vCPU"))?;
        let mut machine = Self {
            threads: Vec::new(),
            gate,
            events: events()?,
            control: Arc::new(control),
            power_on: hardware
                .irqs
                .state()
                .map_err(host("cannot read the interrupt controllers"))?,
            hardware,
            images,
            backends,
            memory,
            pidfile: config.pidfile.as_deref().map(PidFile::create).transpose()?,
        };
        machine.subscribe();
        machine.launch(launcher, vcpus, config.sandbox)?;
        Ok(machine)
    }

    fn subscribe(&mut self) {
        self.events
            .add_subscriber(Arc::clone(&self.control) as Subscriber);
        for serial in &self.hardware.serials {
            self.events.add_subscriber(Arc::clone(serial) as Subscriber);
        }
    }

    /// Starts the launcher and the vCPU threads, which wait at the gate, inside the sandbox.
    fn launch(
        &mut self,
        launcher: Launcher,
        vcpus: Vec<Vcpu>,
        sandboxed: bool,
    ) -> Result<(), Error> {
        signals::install_kick().map_err(host("cannot take signals"))?;
        if sandboxed {
            let pidfile = self.pidfile.iter().map(PidFile::directory);
            sandbox::restrict_files(self.backends.directories().chain(pidfile))?;
        }
        launcher.start().map_err(host("cannot start a thread"))?;
        for vcpu in vcpus {
            let name = format!("vcpu{}", vcpu.index);
            let thread = std::thread::Builder::new().name(name).stack_size(STACK);
            let thread = thread.spawn(move || {
                match sandboxed
                    .then(|| sandbox::restrict_calls(Class::Vcpu))
                    .transpose()
                {
                    Ok(_) => {}
                    Err(error) => vcpu.wishes.make(Wish::Failure(error.to_string())),
                }
                vcpu.run();
            });
            self.threads
                .push(thread.map_err(host("cannot start a thread"))?);
        }
        if sandboxed {
            sandbox::restrict_calls(Class::Main)?;
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
        let (memory, platform) = (self.memory.memory(), &self.hardware.platform);
        let entry: GuestAddress = self.images.load(&memory, ecam(platform))?;
        let tables = cpu::write_tables(&memory).and_then(|()| platform.write(&memory));
        tables.map_err(|error| Error::Host("cannot write boot tables", io::Error::other(error)))?;
        self.gate.open(Order::Start(entry));
        Ok(())
    }

    /// Handles events until somebody wants something of the machine.
    fn wait(&mut self) -> Result<Wish, Error> {
        loop {
            let run = self.events.run();
            run.map_err(|error| Error::Host("cannot wait for events", io::Error::other(error)))?;
            if let Some(wish) = self.control.wishes.take() {
                return Ok(wish);
            }
        }
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.stop();
        self.hardware.reset()?;
        self.hardware
            .irqs
            .reset(&self.power_on)
            .map_err(host("cannot reset interrupts"))?;
        // What vCPUs asked for on their way to the gate was asked of the machine before its reset.
        self.control.wishes.take();
        self.start()
    }

    fn stop(&self) {
        let kick = || {
            for thread in &self.threads {
                let _ = thread.kill(signals::kick());
            }
        };
        self.gate.close(self.threads.len(), kick);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        self.gate.open(Order::Quit);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Requests in flight are finished: what the guest was told is written is in its file.
        if let Err(error) = self.hardware.reset() {
            log::warn!("{error}");
        }
    }
}

fn open_kvm() -> Result<Kvm, BadOption> {
    Kvm::new().map_err(|error| {
        BadOption::new(
            "-accel kvm",
            format_args!("/dev/kvm: {error}"),
            "a host with KVM, and the right to use it",
        )
    })
}

fn events() -> Result<EventManager<Subscriber>, Error> {
    EventManager::new()
        .map_err(|error| Error::Host("cannot make an event loop", io::Error::other(error)))
}

fn ecam(platform: &Platform) -> Range {
    Range {
        base: layout::ECAM_BASE,
        size: u64::from(platform.pci_buses) << 20,
    }
}

fn make_memory(config: &Config, vm: &VmFd) -> Result<SharedMemory, Error> {
    let memory = memory::allocate(config.memory).map_err(|error| {
        let given = format!("{}M", config.memory >> 20);
        BadOption::value("-m", &given, error, "less, or more memory in the host")
    })?;
    memory::register(vm, &memory).map_err(host("cannot give memory to KVM"))?;
    Ok(SharedMemory::new(memory))
}

fn make_vcpu(
    kvm: &Kvm,
    vm: &VmFd,
    model: &Model,
    index: u8,
) -> io::Result<(kvm_ioctls::VcpuFd, ResetState)> {
    let fd = vm.create_vcpu(u64::from(index))?;
    fd.set_cpuid2(&model.of(index)?)?;
    let reset = ResetState::take(kvm, &fd)?;
    Ok((fd, reset))
}

/// Bytes of a vCPU thread's stack: less than a huge page, or the host may spend one on it.
const STACK: usize = 256 << 10;
