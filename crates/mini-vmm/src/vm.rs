//! The machine: made from a [`Config`], run until it ends, reset in place.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use std::sync::Arc;
use std::thread::JoinHandle;

use event_manager::{EventManager, EventOps, EventSet, EventSubscriber, Events, SubscriberOps};
use kvm_ioctls::{Kvm, VmFd};
use rustix::event::{PollFd, PollFlags, poll};
use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::{IoManager, PioManager};
use vm_memory::{GuestAddress, GuestAddressSpace};
use vmm_sys_util::signal::Killable;

use crate::acpi::Platform;
use crate::backends::Backends;
use crate::boot::Images;
use crate::cpu::{self, Model, ResetState};
use crate::devices::{self, Board};
use crate::error::{Error, host};
use crate::exit::{Wish, Wishes};
use crate::gate::{Gate, Order};
use crate::irq::{IrqState, Irqs};
use crate::layout::{self, Range};
use crate::memory::{self, SharedMemory};
use crate::options::{BadOption, Config};
use crate::pci::Pci;
use crate::pidfile::PidFile;
use crate::ports::{KeyboardReset, Power};
use crate::sandbox::{self, Class};
use crate::serial::SerialPort;
use crate::signals::{self, EndSignals};
use crate::vcpu::Vcpu;

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
    serials: Vec<Arc<SerialPort>>,
    irqs: Irqs,
    power_on: IrqState,
    pci: Pci,
    images: Images,
    platform: Platform,
    backends: Backends,
    memory: SharedMemory,
    pidfile: Option<PidFile>,
}

impl Machine {
    fn new(config: &Config) -> Result<Self, Error> {
        let mut platform = Platform {
            cpus: config.cpus,
            ..Default::default()
        };
        let images = Images::open(config)?;
        let kvm = open_kvm()?;
        let model = Model::new(&kvm, &config.cpu, config.cpus)?;
        let memory = memory::allocate(config.memory).map_err(|error| {
            let given = format!("{}M", config.memory >> 20);
            BadOption::value("-m", &given, error, "less, or more memory in the host")
        })?;
        let wishes = Wishes::new().map_err(host("cannot make an event"))?;
        let mut backends = Backends::open(config, &wishes)?;
        let vm = Arc::new(kvm.create_vm().map_err(host("cannot create a VM"))?);
        memory::register(&vm, &memory).map_err(host("cannot give memory to KVM"))?;
        let irqs = Irqs::create(Arc::clone(&vm)).map_err(host("cannot create interrupts"))?;
        let mut bus = IoManager::new();
        plug_board(&mut bus, &wishes)?;
        let serials = plug_serials(config, &mut bus, &irqs, &mut backends, &wishes)?;
        platform.serials = layout::SERIAL_PORTS
            .iter()
            .copied()
            .take(serials.len())
            .collect();
        let mut pci = Pci::new(&vm, config.memory)?;
        for options in &config.devices {
            let mut board = Board {
                bus: &mut bus,
                pci: &mut pci,
                backends: &mut backends,
                platform: &mut platform,
                wishes: &wishes,
            };
            devices::plug(&mut board, options)?;
        }
        pci.register(&mut bus)?;
        platform.pci_buses = pci.buses();
        platform.pci_mmio64 = Some(layout::pci_mmio64(config.memory));

        let gate = Arc::new(Gate::default());
        let bus = Arc::new(bus);
        let mut vcpus = Vec::new();
        for index in 0..config.cpus {
            let made = make_vcpu(&kvm, &vm, &model, index);
            let (fd, reset) = made.map_err(host("cannot create a vCPU"))?;
            let (bus, wishes, gate) = (Arc::clone(&bus), wishes.clone(), Arc::clone(&gate));
            vcpus.push(Vcpu {
                fd,
                index,
                reset,
                bus,
                wishes,
                gate,
            });
        }
        let power_on = irqs
            .state()
            .map_err(host("cannot read the interrupt controllers"))?;
        let pidfile = config.pidfile.as_deref().map(PidFile::create).transpose()?;
        let control = Control::new(wishes).map_err(host("cannot take signals"))?;
        let mut machine = Self {
            threads: Vec::new(),
            gate,
            events: events()?,
            control: Arc::new(control),
            serials,
            irqs,
            power_on,
            pci,
            images,
            platform,
            backends,
            memory: SharedMemory::new(memory),
            pidfile,
        };
        machine.subscribe();
        machine.launch(vcpus, config.sandbox)?;
        Ok(machine)
    }

    fn subscribe(&mut self) {
        self.events
            .add_subscriber(Arc::clone(&self.control) as Subscriber);
        for serial in &self.serials {
            self.events.add_subscriber(Arc::clone(serial) as Subscriber);
        }
    }

    /// Starts the vCPU threads, which wait at the gate, inside the sandbox.
    fn launch(&mut self, vcpus: Vec<Vcpu>, sandboxed: bool) -> Result<(), Error> {
        signals::install_kick().map_err(host("cannot take signals"))?;
        if sandboxed {
            let pidfile = self.pidfile.iter().map(PidFile::directory);
            sandbox::restrict_files(self.backends.directories().chain(pidfile))?;
        }
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

    /// Loads the guest and lets it go.
    fn start(&mut self) -> Result<(), Error> {
        let memory = self.memory.memory();
        self.pci.reset()?;
        let entry: GuestAddress = self.images.load(&memory, ecam(&self.platform))?;
        let tables = cpu::write_tables(&memory).and_then(|()| self.platform.write(&memory));
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
        for serial in &self.serials {
            serial.reset().map_err(host("cannot reset a serial port"))?;
        }
        self.irqs
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
    }
}

/// What the main thread listens to besides devices.
#[derive(Debug)]
struct Control {
    wishes: Wishes,
    signals: EndSignals,
}

impl Control {
    fn new(wishes: Wishes) -> io::Result<Self> {
        Ok(Self {
            wishes,
            signals: EndSignals::take()?,
        })
    }
}

impl EventSubscriber for Control {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(self.wishes.event(), EventSet::IN));
        let _ = ops.add(Events::new(&self.signals, EventSet::IN));
    }

    fn process(&self, events: Events, _: &mut EventOps) {
        if events.fd() == self.signals.as_raw_fd() {
            self.wishes.make(Wish::PowerOff);
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

fn plug_board(bus: &mut IoManager, wishes: &Wishes) -> Result<(), Error> {
    plug(bus, layout::POWER, 3, Arc::new(Power(wishes.clone())))?;
    plug(
        bus,
        layout::I8042_COMMAND,
        1,
        Arc::new(KeyboardReset(wishes.clone())),
    )
}

fn plug_serials(
    config: &Config,
    bus: &mut IoManager,
    irqs: &Irqs,
    backends: &mut Backends,
    wishes: &Wishes,
) -> Result<Vec<Arc<SerialPort>>, Error> {
    let mut ports = Vec::new();
    let places = layout::SERIAL_PORTS;
    let wanted: Vec<_> = config.serials.iter().flatten().collect();
    if wanted.len() > places.len() {
        let accepted = format!("{} at most", places.len());
        return Err(BadOption::new("-serial", "too many serial ports", accepted).into());
    }
    for (index, (target, (port, gsi))) in wanted.into_iter().zip(places).enumerate() {
        let chardev = backends.serial(index, target, wishes)?;
        let interrupt = irqs
            .edge(gsi)
            .map_err(host("cannot connect an interrupt"))?;
        let serial = SerialPort::new(interrupt, chardev).map_err(host("cannot make an event"))?;
        let serial = Arc::new(serial);
        plug(bus, port, 8, Arc::clone(&serial) as _)?;
        ports.push(serial);
    }
    Ok(ports)
}

fn plug(
    bus: &mut IoManager,
    port: u16,
    size: u16,
    device: Arc<dyn DevicePio + Send + Sync>,
) -> Result<(), Error> {
    let range = PioRange::new(PioAddress(port), size);
    let plugged = range.and_then(|range| bus.register_pio(range, device));
    plugged.map_err(|error| Error::Host("cannot register I/O ports", io::Error::other(error)))
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
