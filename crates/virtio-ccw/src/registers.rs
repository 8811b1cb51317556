//! What a transport keeps under its lock, and what each command does to it (section 4.3.2).

mod queues;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use virtio_bus::{Core, Status};
use virtio_device::{AddressSpace, Error, Features, Result};

use crate::CcwState;
use crate::bus::{self, CcwBus};
use crate::command::VirtioCommand;
use crate::config;
use crate::css::{Completion, Outcome, Sense, Transfer};
use crate::indicators::{QueueIndicators, TwoStage};
use crate::interrupt::Indicators;
use crate::revision::Revision;

/// The core of a device, and a reset that its driver waits for.
pub(crate) struct Registers<AS: AddressSpace> {
    pub(crate) core: Core<AS>,
    bus: Arc<CcwBus<AS>>,
    /// A reset is under way, or has just ended and nobody has seen to it.
    resetting: bool,
    /// What the channel program waits for that asked for the reset.
    completion: Option<Completion>,
    me: Weak<Mutex<Self>>,
}

/// A command that the device does not accept: unit check, command reject.
struct Rejected;

impl<AS: AddressSpace> Registers<AS> {
    pub(crate) fn new(core: Core<AS>, bus: Arc<CcwBus<AS>>) -> Arc<Mutex<Self>> {
        Arc::new_cyclic(|me| {
            Mutex::new(Self {
                core,
                bus,
                resetting: false,
                completion: None,
                me: me.clone(),
            })
        })
    }

    /// Executes a command of a channel program.
    pub(crate) fn execute(
        &mut self,
        command: VirtioCommand,
        transfer: &mut Transfer<'_>,
    ) -> Outcome {
        let outcome = match command {
            VirtioCommand::SetVirtioRev => self.set_revision(transfer),
            _ => self.execute_in_revision(command, transfer),
        };
        outcome.unwrap_or(Outcome::UnitCheck(Sense::COMMAND_REJECT))
    }

    /// The end of a reset, once it can be had without waiting. Whoever asked for it is told by the
    /// completion, which is to be finished without the lock on these registers.
    pub(crate) fn conclude_reset(&mut self) -> Option<Completion> {
        if !self.resetting || self.core.is_resetting() {
            return None;
        }
        self.resetting = false;
        self.bus
            .interrupt
            .change(|indicators| *indicators = Indicators::default());
        self.completion.take()
    }

    /// The channel program that waited is no more.
    pub(crate) fn forget_program(&mut self) -> Option<Completion> {
        self.completion.take()
    }

    /// The subchannel was disabled.
    pub(crate) fn forget_revision(&mut self) {
        self.bus.revisions.unset();
    }

    /// As at power-on. Waits until what is in flight is drained.
    pub(crate) fn hard_reset(&mut self) -> Option<Completion> {
        self.begin_reset();
        self.core.wait_reset();
        self.bus.revisions.unset();
        self.conclude_reset()
    }

    pub(crate) fn save(&self) -> Result<CcwState> {
        let Indicators { queues, config } = self.bus.interrupt.indicators();
        Ok(CcwState {
            version: CcwState::VERSION,
            core: self.core.save()?,
            revision: self.bus.revisions.selected().map(Revision::number),
            queue_indicators: queues,
            config_indicators: config,
        })
    }

    /// On an error, nothing has changed.
    pub(crate) fn restore(&mut self, state: &CcwState) -> Result<()> {
        if state.version != CcwState::VERSION {
            return Err(Error::State("unknown version of the transport"));
        }
        let indicators = Indicators {
            queues: state.queue_indicators,
            config: state.config_indicators,
        };
        let queues = self.core.queue_count();
        if !self.bus.interrupt.can_set(&indicators, queues) {
            return Err(Error::State("indicators that cannot be"));
        }
        // What may be negotiated depends on it.
        let before = self.bus.revisions.selected().map(Revision::number);
        if !self.bus.revisions.restore(state.revision) {
            return Err(Error::State("a revision that is not offered"));
        }
        let restored = self.core.restore(&state.core);
        if restored.is_err() {
            self.bus.revisions.restore(before);
        } else {
            self.bus.interrupt.change(|now| *now = indicators);
        }
        restored
    }

    fn execute_in_revision(
        &mut self,
        command: VirtioCommand,
        transfer: &mut Transfer<'_>,
    ) -> Result<Outcome, Rejected> {
        let revision = self.bus.revisions.in_force().ok_or(Rejected)?;
        // Its program is no more, or this one could not be here.
        drop(self.conclude_reset());
        if !command.is_in(revision) || self.resetting && !command.changes_nothing() {
            return Err(Rejected);
        }
        let done = match command {
            VirtioCommand::VdevReset => return Ok(self.reset(transfer)),
            VirtioCommand::WriteStatus => return self.write_status(revision, transfer),
            VirtioCommand::ReadStatus => self.read_status(transfer),
            VirtioCommand::ReadFeat => self.read_features(revision, transfer),
            VirtioCommand::WriteFeat => self.write_features(revision, transfer),
            VirtioCommand::ReadConf => {
                config::read(self.core.config(), revision.byte_order(), transfer);
                Some(())
            }
            VirtioCommand::WriteConf => {
                config::write(&mut self.core, revision.byte_order(), transfer);
                Some(())
            }
            VirtioCommand::ReadVqConf => self.read_queue(transfer),
            VirtioCommand::SetVq => self.set_queue(revision, transfer),
            VirtioCommand::SetInd => self.set_indicators(transfer),
            VirtioCommand::SetConfInd => self.set_config_indicators(transfer),
            VirtioCommand::SetIndAdapter => self.set_adapter_indicators(transfer),
            VirtioCommand::SetVirtioRev => None,
        };
        done.map(|()| Outcome::End).ok_or(Rejected)
    }

    fn set_revision(&mut self, transfer: &mut Transfer<'_>) -> Result<Outcome, Rejected> {
        let [a, b, c, d] = transfer.read_array().ok_or(Rejected)?;
        let (revision, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        // No revision so far has data.
        let selected = length == 0 && self.bus.revisions.select(revision);
        selected.then_some(Outcome::End).ok_or(Rejected)
    }

    /// Channel end is delayed until the reset is complete (section 4.3.3.3.1).
    fn reset(&mut self, transfer: &mut Transfer<'_>) -> Outcome {
        self.begin_reset();
        let registers = self.me.clone();
        if self.core.when_reset(move || conclude(&registers)) {
            self.completion = Some(transfer.defer());
            return Outcome::Pending;
        }
        drop(self.conclude_reset());
        Outcome::End
    }

    fn begin_reset(&mut self) {
        self.core.write_status(Status::RESET);
        self.resetting = true;
    }

    fn write_status(
        &mut self,
        revision: Revision,
        transfer: &mut Transfer<'_>,
    ) -> Result<Outcome, Rejected> {
        let [status] = transfer.read_array().ok_or(Rejected)?;
        let status = Status(status);
        if status == Status::RESET {
            return Ok(self.reset(transfer));
        }
        let agreed = self.shows_what_was_chosen(revision, status) && self.core.set_status(status);
        agreed.then_some(Outcome::End).ok_or(Rejected)
    }

    /// Whether FEATURES_OK, if `status` has it, is about features that `revision` shows.
    fn shows_what_was_chosen(&self, revision: Revision, status: Status) -> bool {
        let legacy_only = self.core.driver_features().intersects(bus::LEGACY_ONLY);
        revision.is_legacy() || !legacy_only || !status.contains(Status::FEATURES_OK)
    }

    fn read_status(&mut self, transfer: &mut Transfer<'_>) -> Option<()> {
        let status = self.core.status();
        transfer.write_all(&[status.0]).then_some(())
    }

    /// `struct virtio_feature_desc`: 32 bits of features, little-endian, and their index.
    fn read_features(&mut self, revision: Revision, transfer: &mut Transfer<'_>) -> Option<()> {
        transfer.advance(size_of::<u32>());
        let [index] = transfer.read_array()?;
        let features = bus::shown(self.core.offered(), revision).page(index.into());
        transfer.rewind();
        transfer.write_all(&features.to_le_bytes()).then_some(())
    }

    fn write_features(&mut self, revision: Revision, transfer: &mut Transfer<'_>) -> Option<()> {
        let [a, b, c, d, index] = transfer.read_array()?;
        let index = u32::from(index);
        let all = Features::from_bits(u128::MAX);
        if bus::shown(all, revision).page(index) != 0 {
            let features = u32::from_le_bytes([a, b, c, d]);
            self.core.write_driver_features(index, features);
        }
        Some(())
    }

    /// An address of 0, as of drivers that let go of a device, is none.
    fn set_indicators(&mut self, transfer: &mut Transfer<'_>) -> Option<()> {
        let address = u64::from_be_bytes(transfer.read_array()?);
        let queues = match address {
            0 => QueueIndicators::None,
            _ => QueueIndicators::Classic { address },
        };
        let before = self.bus.interrupt.indicators();
        let other_kind = matches!(before.queues, QueueIndicators::TwoStage(_));
        (!other_kind).then_some(())?;
        self.change_indicators(Indicators { queues, ..before })
    }

    fn set_config_indicators(&mut self, transfer: &mut Transfer<'_>) -> Option<()> {
        let address = u64::from_be_bytes(transfer.read_array()?);
        let config = (address != 0).then_some(address);
        let before = self.bus.interrupt.indicators();
        self.change_indicators(Indicators { config, ..before })
    }

    /// `struct virtio_thinint_area`.
    fn set_adapter_indicators(&mut self, transfer: &mut Transfer<'_>) -> Option<()> {
        let summary = u64::from_be_bytes(transfer.read_array()?);
        let address = u64::from_be_bytes(transfer.read_array()?);
        let bit = u64::from_be_bytes(transfer.read_array()?);
        let [isc] = transfer.read_array()?;
        let queues = match (summary, address) {
            (0, _) | (_, 0) => QueueIndicators::None,
            _ => QueueIndicators::TwoStage(TwoStage {
                summary,
                address,
                bit,
                isc,
            }),
        };
        let before = self.bus.interrupt.indicators();
        let other_kind = matches!(before.queues, QueueIndicators::Classic { .. });
        (self.bus.adapter_interrupts && !other_kind).then_some(())?;
        self.change_indicators(Indicators { queues, ..before })
    }

    fn change_indicators(&mut self, wanted: Indicators) -> Option<()> {
        let queues = self.core.queue_count();
        let possible = self.bus.interrupt.can_set(&wanted, queues);
        possible.then(|| self.bus.interrupt.change(|now| *now = wanted))
    }
}

/// Called on the thread of the last worker that has stopped.
fn conclude<AS: AddressSpace>(registers: &Weak<Mutex<Registers<AS>>>) {
    let Some(registers) = registers.upgrade() else {
        return;
    };
    let completion = {
        let mut registers = registers.lock().unwrap_or_else(PoisonError::into_inner);
        registers.conclude_reset()
    };
    if let Some(completion) = completion {
        completion.finish(Outcome::End);
    }
}
