//! The slot of a root port: what comes, what the guest lets go, and how it hears of it.
#![allow(missing_docs)]

mod common;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use common::{Event, Sink, Toy, Wire, complex_with, read32, write16, write32};
use vm_pci::*;

/// A complex with one port, and what is known of it from outside.
struct Machine {
    root: Arc<RootComplex>,
    port: Arc<RootPort>,
    bus: BusId,
    wire: Arc<Wire>,
    ejected: Arc<Mutex<Vec<BusId>>>,
}

const PORT: Bdf = Bdf::new(0, Slot::new(3, 0));
const BEHIND: Bdf = Bdf::new(1, Slot::new(0, 0));

impl Machine {
    /// With an empty slot, in its state after power-on.
    fn new(hot_plug: bool) -> Self {
        Self::with(hot_plug, None)
    }

    fn with(hot_plug: bool, msi: Option<Arc<dyn MsiSink>>) -> Self {
        let (wire, ejected) = (Wire::new(), Arc::<Mutex<Vec<BusId>>>::default());
        let seen = Arc::clone(&ejected);
        let root = complex_with(|root| root.on_eject(move |bus| seen.lock().unwrap().push(bus)));
        let config = RootPortConfig {
            hot_plug,
            msi,
            intx: Some((InterruptPin::A, wire.clone())),
            ..RootPortConfig::new(3)
        };
        let port = Arc::new(RootPort::new(config).unwrap());
        let bus = root.attach_port(PORT.slot(), Arc::clone(&port)).unwrap();
        let machine = Self {
            root,
            port,
            bus,
            wire,
            ejected,
        };
        machine.start();
        machine
    }

    /// A reset, and what firmware does after it.
    fn start(&self) {
        self.root.reset();
        self.root.assign_bars().unwrap();
    }

    fn plug(&self) -> Arc<Toy> {
        let toy = Toy::new();
        let slot = Slot::new(0, 0);
        self.root.attach(self.bus, slot, toy.clone()).unwrap();
        toy
    }

    fn control(&self, value: u16) {
        write16(&self.root, PORT, CONTROL, value);
    }

    /// Slot control and slot status.
    fn control_bits(&self) -> (u16, u16) {
        let both = read32(&self.root, PORT, CONTROL);
        (both as u16, (both >> 16) as u16)
    }

    fn status(&self) -> u16 {
        self.control_bits().1
    }

    /// Reads the events and clears them, as a driver does.
    fn take_events(&self) -> u16 {
        let events = self.status() & EVENTS;
        write16(&self.root, PORT, STATUS, events);
        events
    }

    fn link_is_up(&self) -> bool {
        read32(&self.root, PORT, 0x54 + 0x10) >> 16 & 0x2000 != 0
    }

    fn is_reached(&self) -> bool {
        read32(&self.root, BEHIND, 0) == 0x5678_1234
    }

    fn take_ejected(&self) -> Vec<BusId> {
        std::mem::take(&mut self.ejected.lock().unwrap())
    }
}

#[test]
fn what_is_there_at_power_on_is_on_and_no_event() {
    let machine = Machine::new(true);
    let capabilities = read32(&machine.root, PORT, 0x54 + 0x14);
    assert_eq!(capabilities, 3 << 19 | 0x7b, "no latch, no interlock");
    assert_eq!(machine.control_bits(), (ATTENTION_OFF | OFF, 0));
    assert_eq!(machine.port.slot_power(), SlotPower::Off);
    machine.plug();
    machine.start();
    assert_eq!(machine.control_bits(), (ATTENTION_OFF | ON, PRESENT));
    assert!(machine.link_is_up() && machine.is_reached());
    assert_eq!(machine.port.slot_power(), SlotPower::On);
    assert_eq!(machine.wire.take(), []);
}

#[test]
fn what_comes_is_told_and_has_no_power_until_the_guest_gives_it() {
    let machine = Machine::new(true);
    machine.control(ATTENTION_OFF | OFF | BUTTON | COMPLETED | LINK << 4 | INTERRUPTS);
    machine.take_events();
    machine.wire.take();
    machine.plug();
    assert_eq!(machine.wire.take(), [true]);
    assert!(!machine.link_is_up() && !machine.is_reached());
    assert_eq!(machine.take_events(), BUTTON | PRESENCE);
    assert_eq!(machine.wire.take(), [false]);
    machine.control(ATTENTION_OFF | ON | INTERRUPTS | LINK << 4);
    assert!(machine.link_is_up() && machine.is_reached());
    assert_eq!(machine.take_events(), COMPLETED | LINK);
    assert_eq!(machine.wire.take(), [true, false]);
}

#[test]
fn the_guest_lets_go_of_what_it_is_asked_for() {
    let machine = Machine::new(true);
    let toy = machine.plug();
    machine.start();
    let enabled = ATTENTION_OFF | BUTTON | COMPLETED | INTERRUPTS;
    machine.control(enabled | ON);
    machine.take_events();
    let resets = || toy.resets.swap(0, Ordering::Relaxed);
    machine.port.press_attention_button();
    assert_eq!(machine.take_events(), BUTTON);
    machine.control(enabled | BLINKS);
    assert_eq!(machine.port.slot_power(), SlotPower::Changing);
    assert!(machine.is_reached());
    resets();
    machine.control(enabled | BLINKS | NO_POWER);
    assert_eq!(resets(), 1, "what has no power loses its state");
    assert!(!machine.is_reached() && !machine.link_is_up());
    assert_eq!(machine.take_ejected(), []);
    assert_eq!(machine.take_events(), COMPLETED | LINK);
    machine.control(enabled | OFF);
    assert_eq!(machine.take_ejected(), [machine.bus]);
    assert_eq!(machine.take_events(), COMPLETED | PRESENCE);
    assert_eq!(machine.status() & PRESENT, 0);
    machine.control(enabled | ON);
    assert!(!machine.is_reached(), "it is out");
    assert_eq!(Arc::strong_count(&toy), 1, "nobody holds it");
}

#[test]
fn turning_off_twice_does_not_eject_what_came_in_between() {
    let machine = Machine::new(true);
    machine.plug();
    for value in [OFF, OFF | ATTENTION_OFF, NO_POWER | OFF] {
        machine.control(value);
        assert_eq!(machine.take_ejected(), [], "{value:#x}");
    }
    machine.control(ON);
    assert!(machine.is_reached());
    // Each half of it alone lets nothing go.
    for value in [ON | NO_POWER, ON, 0x300, ON] {
        machine.control(value);
        assert_eq!(machine.take_ejected(), [], "{value:#x}");
    }
    machine.control(OFF);
    assert_eq!(machine.take_ejected(), [machine.bus]);
}

#[test]
fn what_is_torn_out_is_told() {
    let machine = Machine::new(true);
    machine.plug();
    machine.start();
    machine.control(ATTENTION_OFF | ON | LINK << 4 | INTERRUPTS);
    machine.take_events();
    machine.wire.take();
    machine.root.detach(machine.bus, 0).unwrap();
    assert_eq!(machine.wire.take(), [true]);
    assert!(!machine.link_is_up() && !machine.is_reached());
    assert_eq!(machine.take_events(), PRESENCE | LINK);
    assert_eq!(machine.take_ejected(), [], "not the guest's doing");
    machine.control(ATTENTION_OFF | OFF);
    assert_eq!(machine.take_ejected(), [], "there is nothing left to eject");
}

#[test]
fn a_command_is_a_write_to_any_byte_of_slot_control() {
    let machine = Machine::new(true);
    for (offset, data, command) in [
        (CONTROL, &[0xc0, 7][..], true),
        (CONTROL + 1, &[7][..], true),
        (CONTROL, &[0xc0][..], true),
        (CONTROL, &[0xc0, 7, 0, 0][..], true),
        (CONTROL - 1, &[0, 0xc0][..], true),
        (CONTROL - 2, &[0, 0][..], false),
        (STATUS, &[0, 0][..], false),
        (CONTROL, &[][..], false),
    ] {
        machine.take_events();
        machine.root.write_config(PORT, offset, data);
        let completed = machine.take_events() & COMPLETED != 0;
        assert_eq!(completed, command, "{offset:#x} {data:?}");
    }
    // The events that a write clears are those from before its command.
    machine.control(ATTENTION_OFF | OFF);
    let both = u32::from(EVENTS) << 16 | u32::from(ATTENTION_OFF | OFF);
    write32(&machine.root, PORT, CONTROL, both);
    assert_eq!(machine.take_events(), COMPLETED);
}

#[test]
fn events_interrupt_while_they_are_enabled() {
    let machine = Machine::new(true);
    machine.port.press_attention_button();
    assert_eq!(machine.wire.take(), []);
    machine.control(OFF | INTERRUPTS);
    assert_eq!(machine.wire.take(), [], "the button is not enabled");
    machine.control(OFF | INTERRUPTS | BUTTON);
    assert_eq!(machine.wire.take(), [true]);
    machine.control(OFF | BUTTON);
    assert_eq!(machine.wire.take(), [false]);
    machine.control(OFF | INTERRUPTS | BUTTON);
    machine.port.press_attention_button();
    machine.root.reset();
    assert_eq!(machine.wire.take(), [true, false]);
}

#[test]
fn an_event_is_one_message_until_all_are_cleared() {
    let sink = Sink::new();
    let machine = Machine::with(true, Some(sink.clone()));
    machine
        .port
        .write_bar(0, 0, &[0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 7, 0, 0, 0]);
    machine.port.write_bar(0, 12, &[0; 4]);
    write16(&machine.root, PORT, 0x48 + 2, 1 << 15);
    machine.control(OFF | INTERRUPTS | BUTTON);
    let fired = || {
        sink.take()
            .iter()
            .filter(|event| **event == Event::Fire(0))
            .count()
    };
    assert_eq!(fired(), 0);
    for _ in 0..3 {
        machine.port.press_attention_button();
    }
    assert_eq!(fired(), 1);
    machine.take_events();
    machine.port.press_attention_button();
    assert_eq!(fired(), 1);
    assert_eq!(machine.wire.take(), [], "messages are enabled");
}

#[test]
fn a_slot_without_hot_plug_shows_presence_and_nothing_else() {
    let machine = Machine::new(false);
    assert_eq!(read32(&machine.root, PORT, 0x54 + 0x14), 3 << 19 | 1 << 18);
    machine.plug();
    assert!(machine.link_is_up() && machine.is_reached());
    machine.port.press_attention_button();
    machine.control(0xffff);
    machine.control(OFF | INTERRUPTS);
    assert!(machine.is_reached());
    assert_eq!(machine.status(), PRESENT);
    assert_eq!(machine.port.slot_power(), SlotPower::On);
    assert_eq!(
        (machine.take_ejected(), machine.wire.take()),
        (vec![], vec![])
    );
}

const CONTROL: u16 = 0x54 + 0x18;
const STATUS: u16 = 0x54 + 0x1a;
const BUTTON: u16 = 1 << 0;
const PRESENCE: u16 = 1 << 3;
const COMPLETED: u16 = 1 << 4;
const LINK: u16 = 1 << 8;
const EVENTS: u16 = 0x11f;
const PRESENT: u16 = 1 << 6;
const INTERRUPTS: u16 = 1 << 5;
const ATTENTION_OFF: u16 = 0xc0;
const NO_POWER: u16 = 1 << 10;
const ON: u16 = 1 << 8;
const BLINKS: u16 = 2 << 8;
const OFF: u16 = NO_POWER | 3 << 8;
