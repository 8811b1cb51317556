//! A 16550 serial port between the I/O bus and a character device.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use rustix::event::PollFlags;
use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioAddressOffset};
use vm_superio::Trigger;
use vm_superio::serial::{Serial, SerialEvents, SerialState};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::chardev::{Chardev, is_ready};

/// A serial port.
pub struct SerialPort {
    uart: Mutex<Serial<Interrupt, Arc<Inlet>, Outlet>>,
    inlet: Arc<Inlet>,
    chardev: Arc<Chardev>,
}

impl SerialPort {
    /// A port that raises its interrupt through `interrupt`, connected to `chardev`.
    ///
    /// # Errors
    /// Where the host has no event to give.
    pub fn new(interrupt: EventFd, chardev: Arc<Chardev>) -> io::Result<Self> {
        let inlet = Arc::new(Inlet::new()?);
        let outlet = Outlet {
            chardev: Arc::clone(&chardev),
            stalled: false,
        };
        let uart = Serial::with_events(Interrupt(interrupt), Arc::clone(&inlet), outlet);
        Ok(Self {
            uart: Mutex::new(uart),
            inlet,
            chardev,
        })
    }

    /// Puts the registers back to their state at power-on.
    ///
    /// # Errors
    /// Where the host has no descriptor to give.
    pub fn reset(&self) -> io::Result<()> {
        let mut uart = self.uart();
        let interrupt = Interrupt(uart.interrupt_evt().0.try_clone()?);
        let outlet = Outlet {
            chardev: Arc::clone(&self.chardev),
            stalled: false,
        };
        let state = SerialState::default();
        *uart = Serial::from_state(&state, interrupt, Arc::clone(&self.inlet), outlet)
            .map_err(io::Error::other)?;
        drop(uart);
        self.inlet.make_room();
        Ok(())
    }

    fn uart(&self) -> MutexGuard<'_, Serial<Interrupt, Arc<Inlet>, Outlet>> {
        self.uart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands input to the guest as far as its FIFO has room.
    fn fill(&self) -> Input {
        loop {
            let mut uart = self.uart();
            let mut buffer = [0; FIFO];
            let room = uart.fifo_capacity().min(FIFO);
            let Some(free) = buffer.get_mut(..room).filter(|free| !free.is_empty()) else {
                self.inlet.full.store(true, Ordering::Release);
                return Input::Full;
            };
            match self.chardev.read(free) {
                Ok(0) => return Input::Ended,
                // The FIFO has room: only the interrupt can fail, and it has no one to tell.
                Ok(read) => drop(uart.enqueue_raw_bytes(free.get(..read).unwrap_or_default())),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Input::Empty,
                Err(_) => return Input::Ended,
            }
        }
    }
}

impl DevicePio for SerialPort {
    fn pio_read(&self, _: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        match data {
            [byte] => *byte = self.uart().read(offset as u8),
            _ => data.fill(0xff),
        }
    }

    fn pio_write(&self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        if let [byte] = data {
            // A byte that the host does not take is lost, as on a line without flow control.
            let _ = self.uart().write(offset as u8, *byte);
        }
    }
}

impl EventSubscriber for SerialPort {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::with_data(&self.inlet.room, ROOM, EventSet::IN));
        self.watch(ops);
    }

    fn process(&self, events: Events, ops: &mut EventOps) {
        if events.data() == ROOM {
            let _ = self.inlet.room.read();
            self.watch(ops);
            return;
        }
        match self.fill() {
            Input::Empty => {}
            // Not waited for until the guest has made room: no wake-ups without work.
            Input::Full | Input::Ended => self.unwatch(ops),
        }
    }
}

impl SerialPort {
    fn watch(&self, ops: &mut EventOps) {
        let _ = ops.add(self.input());
    }

    fn unwatch(&self, ops: &mut EventOps) {
        let _ = ops.remove(self.input());
    }

    fn input(&self) -> Events {
        Events::with_data_raw(self.chardev.input().as_raw_fd(), INPUT, EventSet::IN)
    }
}

enum Input {
    Empty,
    Full,
    Ended,
}

/// Tells the input side that the guest has emptied a full FIFO.
#[derive(Debug)]
struct Inlet {
    room: EventFd,
    full: AtomicBool,
}

impl Inlet {
    fn new() -> io::Result<Self> {
        Ok(Self {
            room: EventFd::new(EFD_NONBLOCK)?,
            full: AtomicBool::new(false),
        })
    }

    fn make_room(&self) {
        if self.full.swap(false, Ordering::AcqRel) {
            let _ = self.room.write(1);
        }
    }
}

impl SerialEvents for Inlet {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}
    fn in_buffer_empty(&self) {
        self.make_room();
    }
}

#[derive(Debug)]
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;
    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Output: a slow reader holds the guest up for a bounded time, once; then bytes are lost until
/// it reads again.
#[derive(Debug)]
struct Outlet {
    chardev: Arc<Chardev>,
    stalled: bool,
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.chardev.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
            result => return result,
        }
        self.chardev.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outlet {
    fn wait(&mut self) -> io::Result<()> {
        let timeout = if self.stalled { 0 } else { PATIENCE };
        let ready = is_ready(self.chardev.output(), PollFlags::IN, timeout);
        self.stalled = !ready;
        if ready {
            Ok(())
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }
}

const FIFO: usize = 64;
const INPUT: u32 = 0;
const ROOM: u32 = 1;
/// Milliseconds.
const PATIENCE: u32 = 200;

#[cfg(test)]
#[path = "serial_tests.rs"]
mod tests;
