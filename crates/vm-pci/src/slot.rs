//! Hot-plug elements of a port's slot: presence, attention button, power controller, indicators, and
//! what the port tells of them (PCI Express Base 5.0, sections 6.7.1 to 6.7.3 and 7.5.3.9 to
//! 7.5.3.11).
//!
//! Here are the rules, on the registers alone; [`RootPort`](crate::RootPort) has the interrupt. A
//! command takes effect at once, so it is completed when its write is.

use crate::config::{ConfigSpace, Register};
use crate::pcie::LINK_STATUS;

/// Power of a slot, as its controls are set by the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotPower {
    /// Power is on.
    On,
    /// The power indicator blinks: the guest is about to turn the slot on or off.
    Changing,
    /// Power and indicator are off: what is in the slot may be taken out.
    Off,
}

/// What a write to the port's registers did to the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commanded {
    /// Power went off.
    pub(crate) lost_power: bool,
    /// The guest has let go of what is in the slot.
    pub(crate) ejects: bool,
}

/// The slot registers of a port, in its configuration space.
pub(crate) struct SlotRegisters<'a> {
    config: &'a mut ConfigSpace,
    /// Offset of the PCI Express capability.
    at: u16,
    /// Whether there are hot-plug elements; otherwise there is only presence.
    hot_plug: bool,
}

impl<'a> SlotRegisters<'a> {
    pub(crate) fn of(config: &'a mut ConfigSpace, at: u16, hot_plug: bool) -> Self {
        Self {
            config,
            at,
            hot_plug,
        }
    }

    /// The state after power-on, over registers that are reset: a slot that is occupied is on.
    pub(crate) fn start(&mut self, present: bool) {
        self.show(present);
        if self.hot_plug {
            self.set(CONTROL, ATTENTION_OFF, true);
            let power = if present { POWER_ON } else { POWER_OFF };
            self.set(CONTROL, power, true);
        }
        self.follow_link();
        self.set(STATUS, EVENTS as u16, false);
    }

    /// Something came, or is gone, whether or not the guest had let it go. Who brings something
    /// presses the button, too: without it, a guest that has a button waits for it.
    pub(crate) fn set_present(&mut self, present: bool) {
        if self.present() == present {
            return;
        }
        self.show(present);
        if self.hot_plug {
            let button = if present { ATTENTION_PRESSED } else { 0 };
            self.set(STATUS, PRESENCE_CHANGED | button, true);
        }
        self.follow_link();
    }

    pub(crate) fn press_attention_button(&mut self) {
        self.set(STATUS, ATTENTION_PRESSED, self.hot_plug);
    }

    /// After a guest's write to the port's registers. `before` is [`control`](Self::control) from before it;
    /// a `command` is a write to slot control.
    pub(crate) fn written(&mut self, before: u16, command: bool) -> Commanded {
        if !(self.hot_plug && command) {
            return Commanded::default();
        }
        self.follow_link();
        self.set(STATUS, COMMAND_COMPLETED, true);
        let now = self.control();
        Commanded {
            lost_power: is_powered(before) && !is_powered(now),
            ejects: self.present() && is_off(now) && !is_off(before),
        }
    }

    /// Slot control.
    pub(crate) fn control(&self) -> u16 {
        self.config.u16(self.at + CONTROL)
    }

    /// Whether what is in the slot has power.
    pub(crate) fn powered(&self) -> bool {
        !self.hot_plug || is_powered(self.control())
    }

    pub(crate) fn power(&self) -> SlotPower {
        match self.control() {
            _ if !self.hot_plug => SlotPower::On,
            control if control & INDICATOR == INDICATOR_BLINKS => SlotPower::Changing,
            control if is_off(control) => SlotPower::Off,
            _ => SlotPower::On,
        }
    }

    /// Whether the port interrupts: an event that is enabled has not been cleared.
    pub(crate) fn interrupts(&self) -> bool {
        let (control, status) = (self.control(), self.config.u16(self.at + STATUS));
        let wanted = control & SAME_BIT_EVENTS & status != 0;
        let link = control & LINK_CHANGE_ENABLE != 0 && status & LINK_CHANGED != 0;
        control & INTERRUPT_ENABLE != 0 && (wanted || link)
    }

    fn present(&self) -> bool {
        self.config.u16(self.at + STATUS) & PRESENT != 0
    }

    fn show(&mut self, present: bool) {
        self.set(STATUS, PRESENT, present);
    }

    /// The link is up while there is something at its other end that has power.
    fn follow_link(&mut self) {
        let up = self.present() && self.powered();
        let was_up = self.config.u16(self.at + LINK_STATUS) & LINK_ACTIVE != 0;
        self.set(LINK_STATUS, LINK_ACTIVE, up);
        if self.hot_plug && up != was_up {
            self.set(STATUS, LINK_CHANGED, true);
        }
    }

    fn set(&mut self, register: u16, bits: u16, on: bool) {
        self.config.set_bits(self.at + register, bits, on);
    }
}

/// Slot capabilities, control and status, as rows of the capability's table.
pub(crate) fn registers(number: u16, hot_plug: bool) -> [Register; 3] {
    let number = u32::from(number & 0x1fff) << 19;
    let (elements, writable) = match hot_plug {
        true => (HOT_PLUG, HOT_PLUG_CONTROL),
        false => (NO_COMMAND_COMPLETED, PLAIN_CONTROL),
    };
    [
        Register::dword(CAPABILITIES).value(elements | number),
        Register::word(CONTROL).writable(writable),
        Register::word(STATUS).clearable(EVENTS),
    ]
}

/// Whether a write of `length` bytes at `offset` of configuration space reaches slot control of the
/// capability at `at`.
pub(crate) fn is_command(at: u16, offset: u16, length: usize) -> bool {
    let control = usize::from(at + CONTROL);
    let offset = usize::from(offset);
    offset < control + 2 && control < offset.saturating_add(length)
}

fn is_powered(control: u16) -> bool {
    control & POWER_CONTROL == 0
}

fn is_off(control: u16) -> bool {
    control & POWER_OFF == POWER_OFF
}

const CAPABILITIES: u16 = 0x14;
const CONTROL: u16 = 0x18;
const STATUS: u16 = 0x1a;

/// Attention button, power controller, both indicators, surprise removal, hot-plug.
const HOT_PLUG: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6;
const NO_COMMAND_COMPLETED: u32 = 1 << 18;
/// A slot without elements stores what is written, without effect.
const PLAIN_CONTROL: u32 = 0x1fff;
/// All but the electromechanical interlock, which there is none of.
const HOT_PLUG_CONTROL: u32 = 0x17ff;
/// Events whose enable bit in control is their bit in status: button, power fault, latch, presence,
/// command.
const SAME_BIT_EVENTS: u16 = 0x1f;
const INTERRUPT_ENABLE: u16 = 1 << 5;
const ATTENTION_OFF: u16 = 0b11 << 6;
const INDICATOR: u16 = 0b11 << 8;
const INDICATOR_ON: u16 = 0b01 << 8;
const INDICATOR_BLINKS: u16 = 0b10 << 8;
const INDICATOR_OFF: u16 = 0b11 << 8;
/// Set turns power off.
const POWER_CONTROL: u16 = 1 << 10;
const POWER_ON: u16 = INDICATOR_ON;
const POWER_OFF: u16 = POWER_CONTROL | INDICATOR_OFF;
const LINK_CHANGE_ENABLE: u16 = 1 << 12;

const ATTENTION_PRESSED: u16 = 1 << 0;
const PRESENCE_CHANGED: u16 = 1 << 3;
const COMMAND_COMPLETED: u16 = 1 << 4;
const PRESENT: u16 = 1 << 6;
const LINK_CHANGED: u16 = 1 << 8;
/// Attention button, power fault, latch, presence and link state changes, command completed.
const EVENTS: u32 = 0x11f;
const LINK_ACTIVE: u16 = 1 << 13;
