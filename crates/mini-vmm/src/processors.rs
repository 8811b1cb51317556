//! Processors of KVM: the virtual machine, its vCPUs' threads, and what they start with.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use kvm_bindings::kvm_clock_data;
use kvm_ioctls::{Kvm, VmFd};
use rustix::thread::Pid;
use vm_device::device_manager::IoManager;
use vm_memory::{GuestAddress, GuestAddressSpace};
use vmm_sys_util::signal::Killable;

use crate::acpi::Platform;
use crate::boot::Images;
use crate::cpu::{self, Model, ResetState};
use crate::error::{Error, host};
use crate::exit::{Wish, Wishes};
use crate::gate::{Gate, Order};
use crate::irq::{IrqState, Irqs};
use crate::layout::{self, Range};
use crate::memory::{self, SharedMemory};
use crate::options::{BadOption, Config};
use crate::sandbox::{self, Class};
use crate::signals;
use crate::tally::Tally;
use crate::thread_number::ThreadNumber;
use crate::vcpu::Vcpu;
use crate::wires::Wires;

/// A virtual machine without processors.
pub struct Hypervisor {
    kvm: Kvm,
    vm: Arc<VmFd>,
    model: Model,
    irqs: Irqs,
    wires: Wires,
    tally: Arc<Tally>,
}

impl Hypervisor {
    /// Makes a virtual machine that has `memory`.
    ///
    /// # Errors
    /// A host without KVM, and features of `-cpu` that it does not have.
    pub fn open(config: &Config, memory: &SharedMemory) -> Result<Self, Error> {
        let kvm = open_kvm()?;
        let model = Model::new(&kvm, &config.cpu, config.cpus)?;
        let vm = Arc::new(kvm.create_vm().map_err(host("cannot create a VM"))?);
        let tally = Arc::new(Tally::default());
        let registered = memory::register(&vm, &memory.memory(), &tally);
        registered.map_err(host("cannot give memory to KVM"))?;
        let (wires, irqs) = Wires::kvm(&vm, &tally)?;
        Ok(Self {
            kvm,
            vm,
            model,
            irqs,
            wires,
            tally,
        })
    }

    /// The wires to its processors.
    pub fn wires(&self) -> &Wires {
        &self.wires
    }

    fn vcpu(&self, index: u8) -> io::Result<(kvm_ioctls::VcpuFd, ResetState)> {
        let fd = self.vm.create_vcpu(u64::from(index))?;
        fd.set_cpuid2(&self.model.of(index)?)?;
        cpu::limit_banks(&self.kvm, &fd)?;
        let reset = ResetState::take(&self.kvm, &fd)?;
        Ok((fd, reset))
    }
}

/// A processor's thread.
struct Thread {
    handle: JoinHandle<()>,
    number: ThreadNumber,
}

/// The processors of a machine, and what they boot.
pub struct Processors {
    waiting: Vec<Vcpu>,
    threads: Vec<Thread>,
    gate: Arc<Gate>,
    irqs: Irqs,
    power_on: IrqState,
    images: Images,
    vm: Arc<VmFd>,
    tally: Arc<Tally>,
    /// The guest's clock in nanoseconds, while they are paused.
    stopped_at: Option<u64>,
}

impl Processors {
    /// Processors on `bus`, which boot `images`. They have no threads yet.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn new(
        hypervisor: Hypervisor,
        cpus: u8,
        images: Images,
        (bus, wishes): (&Arc<IoManager>, &Wishes),
    ) -> Result<Self, Error> {
        let gate = Arc::new(Gate::default());
        let vcpus = (0..cpus).map(|index| {
            let (fd, reset) = hypervisor.vcpu(index)?;
            Ok(Vcpu {
                fd,
                index,
                reset,
                bus: Arc::clone(bus),
                wishes: wishes.clone(),
                gate: Arc::clone(&gate),
            })
        });
        let waiting = vcpus.collect::<io::Result<_>>();
        let waiting = waiting.map_err(host("cannot create a vCPU"))?;
        let irqs = hypervisor.irqs;
        let power_on = irqs.state();
        Ok(Self {
            waiting,
            threads: Vec::new(),
            gate,
            power_on: power_on.map_err(host("cannot read the interrupt controllers"))?,
            irqs,
            images,
            vm: hypervisor.vm,
            tally: hypervisor.tally,
            stopped_at: None,
        })
    }

    /// What the machine holds of KVM.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The numbers of their threads, in their order.
    ///
    /// # Errors
    /// Threads that there are not.
    pub fn thread_ids(&self) -> io::Result<Vec<Pid>> {
        self.threads.iter().map(|it| it.number.ask()).collect()
    }

    /// Starts the threads, which wait at the gate.
    ///
    /// # Errors
    /// A host without threads to give.
    pub fn launch(&mut self, sandboxed: bool) -> Result<(), Error> {
        signals::install_kick().map_err(host("cannot take signals"))?;
        for vcpu in self.waiting.drain(..) {
            let name = format!("vcpu{}", vcpu.index);
            let thread = std::thread::Builder::new().name(name).stack_size(STACK);
            let (number, teller) = ThreadNumber::new();
            let thread = thread.spawn(move || {
                teller.tell();
                let restricted = sandboxed.then(|| sandbox::restrict_calls(Class::Vcpu));
                if let Some(Err(error)) = restricted {
                    vcpu.wishes.make(Wish::Failure(error.to_string()));
                }
                vcpu.run();
            });
            let handle = thread.map_err(host("cannot start a thread"))?;
            self.threads.push(Thread { handle, number });
        }
        Ok(())
    }

    /// Loads the guest and lets it go, from the first instruction on.
    ///
    /// # Errors
    /// Images that do not fit into memory.
    pub fn start(&mut self, memory: &SharedMemory, platform: &Platform) -> Result<(), Error> {
        let memory = memory.memory();
        let entry: GuestAddress = self.images.load(&memory, ecam(platform))?;
        let tables = cpu::write_tables(&memory).and_then(|()| platform.write(&memory));
        tables.map_err(|error| Error::Host("cannot write boot tables", io::Error::other(error)))?;
        self.gate.open(Order::Start(entry));
        Ok(())
    }

    /// Stops as [`Processors::stop`], and the guest's clock with them.
    pub fn pause(&mut self) {
        self.stop();
        match self.vm.get_clock() {
            Ok(clock) => self.stopped_at = Some(clock.clock),
            Err(error) => log::debug!("the guest's clock runs on: {error}"),
        }
    }

    /// Waits until no processor is in the guest any more.
    pub fn stop(&self) {
        let kick = || {
            for thread in &self.threads {
                let _ = thread.handle.kill(signals::kick());
            }
        };
        self.gate.close(self.threads.len(), kick);
    }

    /// Lets them go on after [`Processors::pause`], the clock from where it stood.
    pub fn resume(&mut self) {
        if let Some(clock) = self.stopped_at.take() {
            let clock = kvm_clock_data {
                clock,
                ..Default::default()
            };
            if let Err(error) = self.vm.set_clock(&clock) {
                log::debug!("the guest's clock ran on: {error}");
            }
        }
        self.gate.open(Order::Continue);
    }

    /// Puts the interrupt controllers back to their state at power-on.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn reset(&self) -> Result<(), Error> {
        self.irqs
            .reset(&self.power_on)
            .map_err(host("cannot reset interrupts"))
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        self.stop();
        self.gate.open(Order::Quit);
        for thread in self.threads.drain(..) {
            let _ = thread.handle.join();
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

fn ecam(platform: &Platform) -> Range {
    Range {
        base: layout::ECAM_BASE,
        size: u64::from(platform.pci_buses) << 20,
    }
}

/// Bytes of a vCPU thread's stack: less than a huge page, or the host may spend one on it.
const STACK: usize = 256 << 10;
