//! `_OSC` of the host bridge: which features of PCI Express the guest may drive itself (PCI
//! Firmware 3.3, section 4.5).
//!
//! Granted are the PCI Express capability and native hot-plug. The rest is kept: no port reports
//! errors or power management events, and a driver that looks for them would cost exits.

use acpi_tables::aml::{
    And, Arg, CreateDWordField, Else, Equal, If, Local, Method, NotEqual, ONE, Or, Path, Return,
    Store, Uuid, ZERO,
};

use super::bytes;

/// Operating system capabilities: the method.
pub(super) fn capabilities() -> Vec<u8> {
    let [status, wanted] = ["CDW1", "CDW3"].map(Path::new);
    let say = |bits| Or::new(&status, &status, bits);
    bytes(&Method::new(
        "_OSC".into(),
        4,
        true,
        vec![
            &CreateDWordField::new(&status, &Arg(3), &ZERO),
            &If::new(
                &Equal::new(&Arg(0), &Uuid::new(PCI_HOST_BRIDGE)),
                vec![
                    &CreateDWordField::new(&wanted, &Arg(3), &CONTROL_AT),
                    &And::new(&Local(0), &wanted, &GRANTED),
                    &If::new(&NotEqual::new(&Arg(1), &ONE), vec![&say(&UNKNOWN_REVISION)]),
                    &If::new(&NotEqual::new(&wanted, &Local(0)), vec![&say(&MASKED)]),
                    &Store::new(&wanted, &Local(0)),
                ],
            ),
            &Else::new(vec![&say(&UNKNOWN_UUID)]),
            &Return::new(&Arg(3)),
        ],
    ))
}

const PCI_HOST_BRIDGE: &str = "33DB4D5B-1FF7-401C-9657-7441C03DD766";
/// Offset of the control field in the buffer, after status and support.
const CONTROL_AT: u8 = 8;
const NATIVE_HOTPLUG: u8 = 1 << 0;
const EXPRESS_CAPABILITY: u8 = 1 << 4;
const GRANTED: u8 = NATIVE_HOTPLUG | EXPRESS_CAPABILITY;
/// Bits of the status field.
const UNKNOWN_UUID: u8 = 1 << 2;
const UNKNOWN_REVISION: u8 = 1 << 3;
const MASKED: u8 = 1 << 4;
