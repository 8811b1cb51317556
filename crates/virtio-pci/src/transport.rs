//! A virtio device on PCI: how it is made, paused, saved and restored.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bus::{Core, Kicks, Parts, Status};
use virtio_device::props::PropError;
use virtio_device::{AddressSpace, ConfigCell, DeviceId, Features, Interrupt, IrqSource};
use vm_pci::{FunctionCore, FunctionState, MsixState};

use crate::bus::PciBus;
use crate::doorbell::{Doorbells, Via};
use crate::identity::{self, MAX_VECTORS};
use crate::interfaces::Interfaces;
use crate::interrupt::{EVENTS, PciInterrupt};
use crate::layout::{self, Layout};
use crate::registers::{Registers, Selectors};
use crate::{Error, PciParts, PciProps, PciSlot, PciState};

/// A virtio device on PCI, transitional, modern or legacy (section 4.1).
///
/// Attach it to a [`RootComplex`](vm_pci::RootComplex), or any other owner of
/// [`PciFunction`](vm_pci::PciFunction)s. All methods take `&self` and may be called from any
/// thread.
pub struct PciTransport<AS: AddressSpace> {
    pub(crate) function: Arc<FunctionCore>,
    pub(crate) layout: Layout,
    /// Where PCI_CFG's data register is in configuration space.
    pub(crate) window: Option<u16>,
    pub(crate) bus: Arc<PciBus>,
    pub(crate) kicks: Arc<Kicks>,
    pub(crate) config: Arc<ConfigCell>,
    id: DeviceId,
    registers: Mutex<Registers<AS>>,
}

impl<AS: AddressSpace> PciTransport<AS> {
    /// Makes the PCI function of a device, to be plugged where `slot` says.
    ///
    /// # Errors
    /// [`Error::Property`] for properties that contradict one another, the device or the place;
    /// [`Error::Device`] for a device that PCI has no ID or no room for, or as [`Core::new`];
    /// [`Error::Function`] for a function that cannot be laid out.
    pub fn new(slot: PciSlot, props: &PciProps, parts: PciParts<AS>) -> Result<Self, Error> {
        let (info, config) = (parts.device.info(), parts.device.config());
        let queues = info.queue_sizes.len();
        let interfaces = Interfaces::of(props, slot.place, info.id)?;
        interfaces.check(parts.features)?;
        let layout = Layout {
            interfaces,
            place: slot.place,
            vectors: vectors(props, info.id, queues)?,
            config_len: config.len(),
            multiplier: match props.page_per_vq {
                true => layout::PAGE,
                false => layout::MULTIPLIER,
            },
            pio_notify: props.modern_pio_notify,
        };
        let identity =
            identity::identity(info.id, interfaces).filter(|_| queues <= Layout::MAX_QUEUES);
        let identity = identity.ok_or(virtio_device::Error::Misuse(
            "PCI has device IDs up to 63, and room for 1024 queues",
        ))?;
        let function = Arc::new(layout.build(identity, slot.msi, slot.intx)?);
        let host = slot.ioeventfds.filter(|_| props.ioeventfd);
        let bus = Arc::new(PciBus {
            interfaces,
            interrupt: Arc::new(PciInterrupt::new(function.clone(), queues)),
            doorbells: Doorbells::new(host, layout, queues),
            reset_waits: slot.reset_waits,
        });
        let core = Core::new(parts.on(bus.clone()))?;
        Ok(Self {
            function,
            layout,
            window: layout.pci_cfg_data(),
            kicks: core.kicks().clone(),
            config,
            id: info.id,
            registers: Mutex::new(Registers::new(core, bus.clone())),
            bus,
        })
    }

    /// Virtio device ID.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The way to the driver, for back-ends that signal from elsewhere.
    pub fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.bus.interrupt.clone()
    }

    /// See [`Core::pause`].
    pub fn pause(&self) {
        self.lock().core.pause();
    }

    /// See [`Core::resume`].
    pub fn resume(&self) {
        self.lock().core.resume();
    }

    /// State of a device that is paused or not running.
    ///
    /// # Errors
    /// As [`Core::save`].
    pub fn save(&self) -> Result<PciState, Error> {
        let registers = self.lock();
        let FunctionState {
            config,
            msix,
            interrupt: _,
        } = self.function.save();
        let MsixState { table, pending } = msix.unwrap_or_default();
        let Selectors {
            device_feature,
            driver_feature,
            queue,
        } = registers.selectors;
        Ok(PciState {
            version: PciState::VERSION,
            core: registers.core.save()?,
            config_space: config,
            msix_table: table,
            msix_pending: pending,
            isr: self.bus.interrupt.isr(),
            config_vector: self.bus.interrupt.vector(IrqSource::Config),
            queue_vectors: self.bus.interrupt.queue_vectors(),
            legacy: self.bus.doorbells.is_legacy(),
            device_feature_select: device_feature,
            driver_feature_select: driver_feature,
            queue_select: queue,
        })
    }

    /// Takes over a saved state, into a device in its reset state. Then have the bus look at the
    /// BARs ([`RootComplex::refresh`](vm_pci::RootComplex::refresh)), and [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::Function`] where the state does not fit this device, which is
    /// then in its reset state.
    pub fn restore(&self, state: &PciState) -> Result<(), Error> {
        let mut registers = self.lock();
        let restored = self.restore_into(&mut registers, state);
        if restored.is_err() {
            self.function.reset();
        }
        restored
    }

    fn restore_into(&self, registers: &mut Registers<AS>, state: &PciState) -> Result<(), Error> {
        let (bus, queues) = (&self.bus, usize::from(registers.core.queue_count()));
        check(state, queues, bus.interfaces)?;
        self.function
            .restore(&function_state(state, self.layout.vectors > 0))?;
        registers.core.restore(&state.core)?;
        registers.selectors = Selectors {
            device_feature: state.device_feature_select,
            driver_feature: state.driver_feature_select,
            queue: state.queue_select,
        };
        let interrupt = &bus.interrupt;
        interrupt.set_vector(IrqSource::Config, state.config_vector);
        for (queue, &vector) in (0..).zip(&state.queue_vectors) {
            interrupt.set_vector(IrqSource::Queue(queue), vector);
        }
        interrupt.restore_isr(state.isr);
        if state.core.status.contains(Status::DRIVER_OK) {
            interrupt.open();
        }
        let via = if state.legacy {
            Via::Legacy
        } else {
            Via::Modern
        };
        for (queue, saved) in (0..).zip(&state.core.queues) {
            let via = saved.enabled.then_some(via);
            bus.doorbells.set_queue(queue, via);
        }
        Ok(())
    }

    /// A panic elsewhere in the VMM has left the registers as consistent as any guest could.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Registers<AS>> {
        self.registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<AS: AddressSpace> PciParts<AS> {
    fn on(self, bus: Arc<PciBus>) -> Parts<AS> {
        let Self {
            device,
            runner,
            memory,
            features,
        } = self;
        Parts {
            device,
            runner,
            memory,
            bus,
            features,
        }
    }
}

/// The property `vectors`, with QEMU's number for "unset" as well.
fn vectors(props: &PciProps, id: DeviceId, queues: usize) -> Result<u16, PropError> {
    let asked = props.vectors.filter(|&vectors| vectors != u32::MAX);
    let vectors = asked.map_or(identity::default_vectors(id, queues), |n| n as usize);
    let vectors = u16::try_from(vectors).ok();
    let there = vectors.filter(|&n| usize::from(n) <= MAX_VECTORS);
    there.ok_or_else(|| PropError::Value {
        name: "vectors",
        value: props.vectors.unwrap_or_default().to_string(),
        accepts: "a number from 0 to 2048",
    })
}

fn check(state: &PciState, queues: usize, interfaces: Interfaces) -> virtio_device::Result<()> {
    let refuse = |why| Err(virtio_device::Error::State(why));
    let offered = if state.legacy {
        interfaces.has_legacy()
    } else {
        interfaces.has_modern()
    };
    let features = state.core.driver_features;
    let enabled = state.core.queues.iter().any(|queue| queue.enabled);
    match () {
        () if state.version != PciState::VERSION => refuse("unknown version of the transport"),
        () if state.queue_vectors.len() != queues => refuse("another number of queues"),
        () if state.isr & !EVENTS != 0 => refuse("unknown ISR status bits"),
        () if enabled && !offered => refuse("an interface that this device does not have"),
        () if state.legacy && features.contains(Features::VERSION_1) => {
            refuse("a legacy driver that chose VERSION_1")
        }
        () => Ok(()),
    }
}

fn function_state(state: &PciState, msix: bool) -> FunctionState {
    FunctionState {
        config: state.config_space.clone(),
        msix: msix.then(|| MsixState {
            table: state.msix_table.clone(),
            pending: state.msix_pending.clone(),
        }),
        interrupt: false,
    }
}
