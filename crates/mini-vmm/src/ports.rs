//! Small devices on I/O ports: power, reset, and what a guest reports about itself.

use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioAddressOffset};

use crate::acpi::{RESET_VALUE, SLEEP_TYPE_S5};
use crate::exit::{Wish, Wishes};
use crate::layout;

/// ACPI's sleep control, sleep status and reset registers (ACPI 6.5, 4.8.3.7 and 4.8.3.6).
#[derive(Debug)]
pub struct Power(pub Wishes);

impl DevicePio for Power {
    fn pio_read(&self, _: PioAddress, _: PioAddressOffset, data: &mut [u8]) {
        data.fill(0);
    }

    fn pio_write(&self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        match (offset, data) {
            (SLEEP_CONTROL, [value]) if *value == SLEEP_ENABLE | SLEEP_TYPE_S5 << 2 => {
                self.0.make(Wish::PowerOff);
            }
            (RESET, [RESET_VALUE]) => self.0.make(Wish::Reset),
            _ => {}
        }
    }
}

/// The keyboard controller's command port, as far as it resets the machine.
#[derive(Debug)]
pub struct KeyboardReset(pub Wishes);

impl DevicePio for KeyboardReset {
    /// Neither buffer is full: a driver that wants to write a command may.
    fn pio_read(&self, _: PioAddress, _: PioAddressOffset, data: &mut [u8]) {
        data.fill(0);
    }

    fn pio_write(&self, _: PioAddress, _: PioAddressOffset, data: &[u8]) {
        if data == [PULSE_RESET] {
            self.0.make(Wish::Reset);
        }
    }
}

/// QEMU's isa-debug-exit: a write ends the VMM, with a status made of the value.
#[derive(Debug)]
pub struct DebugExit(pub Wishes);

impl DevicePio for DebugExit {
    fn pio_read(&self, _: PioAddress, _: PioAddressOffset, data: &mut [u8]) {
        data.fill(0);
    }

    fn pio_write(&self, _: PioAddress, _: PioAddressOffset, data: &[u8]) {
        if let Some(value) = data.first() {
            self.0.make(Wish::DebugExit(*value));
        }
    }
}

/// QEMU's pvpanic (docs/specs/pvpanic): the guest says that it panicked.
#[derive(Debug)]
pub struct PvPanic(pub Wishes);

impl DevicePio for PvPanic {
    fn pio_read(&self, _: PioAddress, _: PioAddressOffset, data: &mut [u8]) {
        data.fill(PANICKED);
    }

    fn pio_write(&self, _: PioAddress, _: PioAddressOffset, data: &[u8]) {
        if data.first().is_some_and(|events| events & PANICKED != 0) {
            self.0.make(Wish::GuestPanic);
        }
    }
}

/// The reset register.
pub const RESET_PORT: u16 = layout::POWER + RESET;

const SLEEP_CONTROL: u16 = 0;
const RESET: u16 = 2;
const SLEEP_ENABLE: u8 = 1 << 5;
const PULSE_RESET: u8 = 0xfe;
const PANICKED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn wish_after(
        device: impl Fn(Wishes) -> Box<dyn DevicePio>,
        offset: u16,
        data: &[u8],
    ) -> Option<Wish> {
        let wishes = Wishes::new().unwrap();
        device(wishes.clone()).pio_write(PioAddress(0), offset, data);
        wishes.take()
    }

    #[test]
    fn only_the_right_values_have_an_effect() {
        let power = |wishes| -> Box<dyn DevicePio> { Box::new(Power(wishes)) };
        let keyboard = |wishes| -> Box<dyn DevicePio> { Box::new(KeyboardReset(wishes)) };
        for value in 0..=0xff {
            let off = (value == 0x34).then_some(Wish::PowerOff);
            assert_eq!(wish_after(power, 0, &[value]), off);
            assert_eq!(wish_after(power, 1, &[value]), None);
            assert_eq!(
                wish_after(power, 2, &[value]),
                (value == 1).then_some(Wish::Reset)
            );
            assert_eq!(
                wish_after(keyboard, 0, &[value]),
                (value == 0xfe).then_some(Wish::Reset)
            );
        }
        assert_eq!(wish_after(power, 0, &[0x34, 0]), None);
        assert_eq!(wish_after(power, 0, &[]), None);
    }

    #[test]
    fn guests_report_panics_and_statuses() {
        let panic = |wishes| -> Box<dyn DevicePio> { Box::new(PvPanic(wishes)) };
        assert_eq!(wish_after(panic, 0, &[1]), Some(Wish::GuestPanic));
        assert_eq!(wish_after(panic, 0, &[2]), None);
        let exit = |wishes| -> Box<dyn DevicePio> { Box::new(DebugExit(wishes)) };
        assert_eq!(wish_after(exit, 0, &[7, 0]), Some(Wish::DebugExit(7)));
    }
}
