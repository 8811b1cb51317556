//! A virtio device behind a subchannel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bus::{Core, DoorbellSet, Kicks, Parts};
use virtio_device::props::{PropError, PropValue};
use virtio_device::{AddressSpace, DeviceId};

use crate::bus::CcwBus;
use crate::command::VirtioCommand;
use crate::css::{
    Attachment, ChannelSubsystem, Command, ControlUnit, Outcome, Sense, SenseId, Signal,
    SubchannelId, Transfer,
};
use crate::interrupt::CcwInterrupt;
use crate::registers::Registers;
use crate::revision::Revisions;
use crate::{CcwParts, CcwProps, CcwState, Error};

/// A virtio device on channel I/O: the control unit and the device of one subchannel.
///
/// All methods take `&self` and may be called from any thread.
pub struct CcwTransport<AS: AddressSpace> {
    subchannel: Attachment,
    kicks: Arc<Kicks>,
    id: DeviceId,
    model: u8,
    registers: Arc<Mutex<Registers<AS>>>,
}

impl<AS: AddressSpace> CcwTransport<AS> {
    /// Attaches a device to `css`, where the guest finds it at once.
    ///
    /// # Errors
    /// Where the place is taken, a property does not suit the device, and as
    /// [`Core::new`].
    pub fn new(
        css: &ChannelSubsystem,
        props: &CcwProps,
        parts: CcwParts<AS>,
    ) -> Result<Arc<Self>, Error> {
        let id = parts.device.info().id;
        let model = u8::try_from(id.0)
            .map_err(|_| virtio_device::Error::Misuse("a device ID that no model number holds"))?;
        let revisions = Revisions::new(id, props.max_revision).ok_or_else(|| no_revision(props))?;
        let subchannel = css.reserve(props.place())?;
        let transport = Self::around(subchannel.clone(), model, revisions, props, parts);
        match transport {
            Ok(transport) => {
                subchannel.install(transport.clone());
                Ok(transport)
            }
            Err(error) => {
                subchannel.detach();
                Err(error)
            }
        }
    }

    /// Virtio device ID.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The subchannel.
    pub fn subchannel(&self) -> SubchannelId {
        self.subchannel.id()
    }

    /// Takes the device away from the guest, which is told so by a channel report word. Waits
    /// until what is in flight is drained.
    pub fn detach(&self) {
        self.subchannel.detach();
        self.reset();
    }

    /// Resets the device as at power-on. Waits until what is in flight is drained.
    pub fn reset(&self) {
        let completion = self.lock().hard_reset();
        if let Some(completion) = completion {
            completion.finish(Outcome::End);
        }
    }

    /// See [`Core::pause`]. A reset that the driver waits for is then over.
    pub fn pause(&self) {
        let completion = {
            let mut registers = self.lock();
            registers.core.pause();
            registers.conclude_reset()
        };
        if let Some(completion) = completion {
            completion.finish(Outcome::End);
        }
    }

    /// See [`Core::resume`].
    pub fn resume(&self) {
        self.lock().core.resume();
    }

    /// State of a device that is paused or not running. The subchannel's own state is the channel
    /// subsystem's.
    ///
    /// # Errors
    /// As [`Core::save`].
    pub fn save(&self) -> virtio_device::Result<CcwState> {
        self.lock().save()
    }

    /// Takes over a saved state, into a device in its reset state; then [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`Core::restore`]; the device is then as it was.
    pub fn restore(&self, state: &CcwState) -> virtio_device::Result<()> {
        self.lock().restore(state)
    }

    fn around(
        subchannel: Attachment,
        model: u8,
        revisions: Revisions,
        props: &CcwProps,
        parts: CcwParts<AS>,
    ) -> Result<Arc<Self>, Error> {
        let CcwParts {
            device,
            runner,
            memory,
            features,
            ioeventfds,
        } = parts;
        let bus = Arc::new(CcwBus {
            interrupt: Arc::new(CcwInterrupt::new(memory.clone(), subchannel.clone())),
            revisions,
            adapter_interrupts: props.adapter_interrupts,
            subchannel: subchannel.id(),
            doorbells: Mutex::new(DoorbellSet::new(ioeventfds.filter(|_| props.ioeventfd))),
        });
        let core = Core::new(Parts {
            device,
            runner,
            memory,
            bus: bus.clone(),
            features,
        })?;
        Ok(Arc::new(Self {
            subchannel,
            kicks: core.kicks().clone(),
            id: core.id(),
            model,
            registers: Registers::new(core, bus),
        }))
    }

    /// A panic elsewhere in the VMM has left the registers as consistent as any guest could.
    fn lock(&self) -> MutexGuard<'_, Registers<AS>> {
        self.registers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<AS: AddressSpace> ControlUnit for CcwTransport<AS> {
    fn sense_id(&self) -> SenseId {
        SenseId {
            cu_type: CONTROL_UNIT,
            cu_model: self.model,
            device_type: 0,
            device_model: 0,
            ciws: Vec::new(),
        }
    }

    fn execute(&self, command: Command, transfer: &mut Transfer<'_>) -> Outcome {
        match VirtioCommand::of(command) {
            Some(command) => self.lock().execute(command, transfer),
            None => Outcome::UnitCheck(Sense::COMMAND_REJECT),
        }
    }

    fn signal(&self, signal: Signal) {
        match signal {
            // What is in flight is drained all the same; nobody waits for it.
            Signal::Halt | Signal::Clear => drop(self.lock().forget_program()),
            Signal::Disable => self.lock().forget_revision(),
            Signal::Reset => self.reset(),
        }
    }

    /// There is no cookie, which is to say 0: an index is found as fast as it would be checked.
    fn notify(&self, queue: u64, _: u64) -> Option<u64> {
        let queue = u32::try_from(queue).ok()?;
        let there = (queue as usize) < self.kicks.fds().len();
        there.then(|| {
            self.kicks.notify(queue);
            0
        })
    }
}

fn no_revision(props: &CcwProps) -> PropError {
    PropError::Value {
        name: "max_revision",
        value: props.max_revision.show(),
        accepts: "1 or more: this device has no legacy interface",
    }
}

/// Control-unit type of virtio-ccw (section 4.3.1).
const CONTROL_UNIT: u16 = 0x3832;
