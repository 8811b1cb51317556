//! The window of the user's terminal, which consoles on it have the size of.

use super::Machine;
use crate::devices::Control;
use crate::options::ChardevKind;
use crate::terminal;

impl Machine {
    /// Tells consoles on the user's terminal of a new size, if there is one.
    pub(super) fn follow_window(&self) {
        if !self.control.take_window_change() {
            return;
        }
        let Some((cols, rows)) = terminal::window() else {
            return;
        };
        let stdio = self.config.chardevs.iter();
        let stdio = stdio.filter(|chardev| matches!(chardev.kind, ChardevKind::Stdio { .. }));
        for chardev in stdio {
            self.set_console_size(&chardev.id, cols, rows);
        }
    }

    /// Devices that have a port on the character device `id` tell their driver of this size, in
    /// characters, if they offer one.
    pub(crate) fn set_console_size(&self, id: &str, cols: u16, rows: u16) {
        for device in &self.hardware.devices {
            if let Control::Serial(handle, ports) = &device.control
                && ports.iter().any(|port| port.chardev.as_deref() == Some(id))
            {
                handle.set_size(cols, rows);
            }
        }
    }
}
