//! Running, paused, reset: what monitors, signals and the guest itself do to the machine.

use serde_json::json;

use super::Machine;
use crate::error::Error;
use crate::exit::Wish;
use crate::qmp::Event;

/// Whether the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It does.
    Running,
    /// It was stopped, and goes on where it was.
    Paused,
    /// It has stopped because of a request that a drive's back-end failed, which is made again when
    /// it goes on.
    IoError,
    /// It was not started yet, or was reset while it was stopped.
    Prelaunch,
}

/// Who made a wish, where it was not the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A monitor, with the command `quit`.
    Quit,
    /// A monitor, with the command `system_reset`.
    Reset,
}

impl Machine {
    /// Whether the machine runs.
    pub fn run_state(&self) -> RunState {
        self.state
    }

    /// Stops processors and devices, where they run.
    pub fn pause(&mut self) {
        self.pause_as(RunState::Paused);
    }

    /// The same, which is told like this.
    pub(super) fn pause_as(&mut self, state: RunState) {
        if self.state == RunState::Running {
            if let Some(processors) = &mut self.processors {
                processors.pause();
            }
            self.hardware.pause();
            self.state = state;
            self.tell(&Event::bare("STOP"));
        }
    }

    /// Lets processors and devices go, or go on.
    ///
    /// # Errors
    /// A guest that cannot be loaded.
    pub fn resume(&mut self) -> Result<(), Error> {
        match self.state {
            RunState::Running => return Ok(()),
            RunState::Paused | RunState::IoError => {
                self.forget_errors();
                self.hardware.resume();
                if let Some(processors) = &mut self.processors {
                    processors.resume();
                }
            }
            RunState::Prelaunch => self.start()?,
        }
        self.state = RunState::Running;
        self.tell(&Event::bare("RESUME"));
        Ok(())
    }

    /// Has the machine end, after the command that asks for it was answered.
    pub fn power_off(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.control.wishes.make(Wish::PowerOff);
    }

    /// Has the machine reset itself, after the command that asks for it was answered.
    pub fn ask_reset(&mut self) {
        self.cause = Some(Cause::Reset);
        self.control.wishes.make(Wish::Reset);
    }

    /// Puts everything back to its state at power-on. A machine that runs starts again.
    pub(super) fn reset(&mut self) -> Result<(), Error> {
        let reason = match self.cause.take() {
            Some(Cause::Reset) => "host-qmp-system-reset",
            _ => "guest-reset",
        };
        self.stop();
        self.take_away_leavers();
        self.hardware.reset()?;
        self.forget_errors();
        if let Some(processors) = &self.processors {
            processors.reset()?;
        }
        // What vCPUs asked for on their way to the gate was asked of the machine before its reset.
        self.control.wishes.take();
        match self.state {
            RunState::Running => self.start()?,
            RunState::Paused | RunState::IoError | RunState::Prelaunch => {
                self.state = RunState::Prelaunch
            }
        }
        let guest = reason == "guest-reset";
        self.tell(&Event::new(
            "RESET",
            json!({"guest": guest, "reason": reason}),
        ));
        Ok(())
    }

    /// Tells monitors what ends the machine.
    pub(super) fn say_goodbye(&mut self, wish: &Wish) {
        if *wish == Wish::GuestPanic {
            self.tell(&Event::new("GUEST_PANICKED", json!({"action": "shutdown"})));
        }
        let (guest, reason) = match (wish, self.cause.take()) {
            (Wish::PowerOff, Some(Cause::Quit)) => (false, "host-qmp-quit"),
            (Wish::PowerOff, _) if self.control.was_told_to_end() => (false, "host-signal"),
            (Wish::Reset, Some(Cause::Reset)) => (false, "host-qmp-system-reset"),
            (Wish::Reset, _) => (true, "guest-reset"),
            (Wish::GuestPanic, _) => (true, "guest-panic"),
            (Wish::Failure(_), _) => (false, "host-error"),
            (Wish::PowerOff | Wish::DebugExit(_), _) => (true, "guest-shutdown"),
        };
        self.tell(&Event::new(
            "SHUTDOWN",
            json!({"guest": guest, "reason": reason}),
        ));
    }
}
