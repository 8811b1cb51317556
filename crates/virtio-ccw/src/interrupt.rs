//! From the device to the driver: indicators, then an interruption (section 4.3.3.1).

use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{AddressSpace, Interrupt, IrqSource};

use crate::css::{Attachment, Isc};
use crate::indicators::{self, QueueIndicators};

/// Notifies the driver in the way that it has asked for.
pub(crate) struct CcwInterrupt<AS> {
    memory: AS,
    subchannel: Attachment,
    /// Shared while bits are set, so that whoever takes indicators away knows that nothing is
    /// written there any more.
    indicators: RwLock<Indicators>,
}

/// Where the driver has its indicators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indicators {
    pub(crate) queues: QueueIndicators,
    /// Guest address of the 64-bit word for changes of the configuration.
    pub(crate) config: Option<u64>,
}

/// How to interrupt the driver once the bits are set.
enum Interruption {
    None,
    Subchannel,
    Adapter(Isc),
}

impl<AS: AddressSpace> CcwInterrupt<AS> {
    pub(crate) fn new(memory: AS, subchannel: Attachment) -> Self {
        Self {
            memory,
            subchannel,
            indicators: RwLock::default(),
        }
    }

    pub(crate) fn indicators(&self) -> Indicators {
        *self.read()
    }

    /// The driver wants to be told otherwise. Bits of before are not set after this.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Indicators)) {
        change(&mut self.write());
    }

    /// Whether a device of `queues` queues can set these.
    pub(crate) fn can_set(&self, wanted: &Indicators, queues: u16) -> bool {
        let memory = self.memory.memory();
        let word = |address| indicators::is_word::<AS::M>(&memory, address);
        let queues = match wanted.queues {
            QueueIndicators::None => true,
            QueueIndicators::Classic { address } => {
                queues <= indicators::CLASSIC_QUEUES && word(address)
            }
            QueueIndicators::TwoStage(two_stage) => two_stage.is_valid::<AS::M>(&memory, queues),
        };
        queues && wanted.config.is_none_or(word)
    }

    fn indicate(&self, source: IrqSource) -> Interruption {
        let memory = self.memory.memory();
        let memory: &AS::M = &memory;
        let indicators = self.read();
        let set = match (source, indicators.queues) {
            (IrqSource::Queue(queue), QueueIndicators::TwoStage(two_stage)) => {
                return match (two_stage.set(memory, queue), Isc::new(two_stage.isc)) {
                    (true, Some(isc)) => Interruption::Adapter(isc),
                    _ => Interruption::None,
                };
            }
            (IrqSource::Queue(queue), QueueIndicators::Classic { address }) => {
                indicators::set_in_word(memory, address, queue)
            }
            (IrqSource::Queue(_), QueueIndicators::None) => false,
            (IrqSource::Config, _) => indicators
                .config
                .is_some_and(|address| indicators::set_in_word(memory, address, 0)),
        };
        match set {
            true => Interruption::Subchannel,
            false => Interruption::None,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Indicators> {
        self.indicators
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Indicators> {
        self.indicators
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<AS: AddressSpace> Interrupt for CcwInterrupt<AS> {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        match self.indicate(source) {
            Interruption::None => {}
            Interruption::Subchannel => self.subchannel.alert(),
            Interruption::Adapter(isc) => self.subchannel.adapter_interrupt(isc),
        }
        Ok(())
    }

    /// None: an interruption without its indicators tells the driver nothing.
    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}
