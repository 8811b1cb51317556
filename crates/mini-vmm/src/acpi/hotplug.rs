//! PCI hot-plug by ACPI, as the DSDT tells it: a method that looks what happened, and slots whose
//! devices the guest can let go.
//!
//! The event's method reads which devices came and which are to leave, and notifies their slots;
//! `_EJ0` of a slot writes where its device is let go. The registers are in [`crate::hotplug`].

use acpi_tables::aml::{
    And, Arg, Device, FieldAccessType, If, Local, Method, MethodCall, Name, Notify, Path, Store,
    ZERO,
};

use super::events::{field, ports};
use super::{Raw, bytes};
use crate::hotplug::PciHotplug;
use crate::layout;

/// What belongs into the scope of the host bridge: the slots of its bus, and the method that looks
/// what happened in them.
pub(super) fn slots() -> Vec<u8> {
    let mut aml = registers();
    SLOTS.for_each(|number| aml.extend(slot(number)));
    aml.extend(notify_slots());
    let [up, down] = ["PCIU", "PCID"].map(Path::new);
    let notify = |slots, what| MethodCall::new(Path::new(NOTIFY), vec![slots, what]);
    aml.extend(bytes(&Method::new(
        Path::new(LOOK),
        0,
        true,
        vec![
            &notify(&up, &DEVICE_CHECK),
            &Store::new(&Local(0), &down),
            // Acknowledges what was read, so that each request is made once.
            &Store::new(&down, &Local(0)),
            &notify(&Local(0), &EJECT_REQUEST),
        ],
    )));
    aml
}

/// What an event is answered with, by the host bridge called `bridge`: it looks what happened.
pub(super) fn look(bridge: &str) -> Vec<u8> {
    bytes(&Path::new(&format!("\\_SB_.{bridge}.{LOOK}")))
}

fn registers() -> Vec<u8> {
    let fields = [*b"PCIU", *b"PCID", *b"PCEJ"].map(|name| (name, 32));
    let region = ports("HPRG", &layout::PCI_HOTPLUG, &PciHotplug::SIZE);
    let fields = field("HPRG", FieldAccessType::DWord, fields);
    [bytes(&region), bytes(&fields)].concat()
}

fn slot(number: u8) -> Vec<u8> {
    let (ejected, mask) = (Path::new("PCEJ"), bit(number));
    let eject = Store::new(&ejected, &mask);
    bytes(&Device::new(
        slot_path(number),
        vec![
            &Name::new("_ADR".into(), &(u32::from(number) << 16)),
            &Name::new("_SUN".into(), &number),
            &Method::new("_EJ0".into(), 1, true, vec![&eject]),
        ],
    ))
}

/// A method that notifies each slot whose bit is set in its first argument of the second one.
fn notify_slots() -> Vec<u8> {
    let mut body = Vec::new();
    for number in SLOTS {
        let (mask, slot) = (bit(number), slot_path(number));
        let (wanted, notify) = (And::new(&ZERO, &Arg(0), &mask), Notify::new(&slot, &Arg(1)));
        body.extend(bytes(&If::new(&wanted, vec![&notify])));
    }
    bytes(&Method::new(Path::new(NOTIFY), 2, true, vec![&Raw(body)]))
}

fn slot_path(number: u8) -> Path {
    Path::new(&format!("SL{number:02X}"))
}

fn bit(number: u8) -> u32 {
    1 << number
}

/// All devices of the bus but the host bridge.
const SLOTS: std::ops::Range<u8> = 1..32;
/// Notifies slots.
const NOTIFY: &str = "NTFY";
/// Looks what happened in which slots.
const LOOK: &str = "LOOK";
/// Values of a notification (ACPI 6.5, table 5.192).
const DEVICE_CHECK: u8 = 1;
const EJECT_REQUEST: u8 = 3;
