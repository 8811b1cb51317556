//! The event device, as the DSDT tells it, and the power button, which is one of its events.
//!
//! The event's method reads what happened, and does for each kind of event what answers it. The
//! register is that of [`crate::event_device`].

use acpi_tables::aml::{
    And, Device, EISAName, Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, If,
    Interrupt, Local, Method, Name, Notify, OpRegion, OpRegionSpace, Path, ResourceTemplate, Store,
    ZERO,
};

use super::{Raw, bytes};
use crate::event_device::{BoardEvent, EventDevice};
use crate::layout;

/// The event device: events and the code that answers them.
pub(super) fn event_device(answers: &[(BoardEvent, Vec<u8>)]) -> Vec<u8> {
    let interrupt = Interrupt::new(true, false, false, false, layout::EVENT_GSI);
    // Reading takes the events, so it is done once.
    let mut body = bytes(&Store::new(&Local(0), &Path::new("PEND")));
    for (event, answer) in answers {
        let (bit, answer) = (*event as u8, Raw(answer.clone()));
        let happened = And::new(&ZERO, &Local(0), &bit);
        body.extend(bytes(&If::new(&happened, vec![&answer])));
    }
    bytes(&Device::new(
        Path::new("EVTS"),
        vec![
            &Name::new("_HID".into(), &"ACPI0013"),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&interrupt])),
            &ports("EVRG", &layout::EVENTS, &EventDevice::SIZE),
            &field("EVRG", FieldAccessType::Byte, [(*b"PEND", 8)]),
            &Method::new(Path::new("_EVT"), 1, true, vec![&Raw(body)]),
        ],
    ))
}

/// A power button that is a control method device (ACPI 6.5, section 4.8.3.2.2.2).
pub(super) fn power_button() -> Vec<u8> {
    bytes(&Device::new(
        Path::new(BUTTON),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C0C")),
            &Name::new("_UID".into(), &ZERO),
        ],
    ))
}

/// What its press is answered with.
pub(super) fn press() -> Vec<u8> {
    bytes(&Notify::new(&Path::new("\\_SB_.PWRB"), &PRESSED))
}

pub(super) fn ports<'a>(name: &str, first: &'a u16, size: &'a u16) -> OpRegion<'a> {
    OpRegion::new(Path::new(name), OpRegionSpace::SystemIO, first, size)
}

/// Fields of the ports called `region`: names and widths in bits.
pub(super) fn field<const N: usize>(
    region: &str,
    access: FieldAccessType,
    fields: [([u8; 4], usize); N],
) -> Field {
    let fields = fields.map(|(name, width)| FieldEntry::Named(name, width));
    let (lock, update) = (FieldLockRule::NoLock, FieldUpdateRule::WriteAsZeroes);
    Field::new(Path::new(region), access, lock, update, fields.to_vec())
}

const BUTTON: &str = "PWRB";
/// Value of a notification of a button (ACPI 6.5, table 5.193).
const PRESSED: u8 = 0x80;
