//! Devices on I/O ports.

use std::sync::Arc;

use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::PioManager;

use super::table::Kind;
use super::{Board, Plug};
use crate::options::{BadOption, KeyVals};
use crate::ports::{DebugExit, PvPanic};

/// `isa-debug-exit`.
pub(super) const DEBUG_EXIT: Kind = Kind::Board {
    properties: &[
        ("iobase", "<port> first I/O port (default 0x501)"),
        ("iosize", "<number> of I/O ports, 1 to 4 (default 2)"),
    ],
    make: debug_exit,
};

/// `pvpanic`.
pub(super) const PVPANIC: Kind = Kind::Board {
    properties: &[("ioport", "<port> I/O port (default 0x505)")],
    make: pvpanic,
};

fn debug_exit(_: Option<String>, mut properties: KeyVals) -> Result<Plug, BadOption> {
    let base = properties.take_number("iobase", PORTS)?;
    let ports = Ports {
        key: "iobase",
        base: base.unwrap_or(DEBUG_EXIT_PORT),
        size: properties.take_number("iosize", 1..=4)?.unwrap_or(2),
        option: properties.option().to_owned(),
    };
    Ok(Plug::Board(Box::new(move |board| {
        let device = Arc::new(DebugExit(board.wishes.clone()));
        ports.plug(board, device).map(|_| None)
    })))
}

fn pvpanic(_: Option<String>, mut properties: KeyVals) -> Result<Plug, BadOption> {
    let base = properties.take_number("ioport", PORTS)?;
    let ports = Ports {
        key: "ioport",
        base: base.unwrap_or(PVPANIC_PORT),
        size: 1,
        option: properties.option().to_owned(),
    };
    Ok(Plug::Board(Box::new(move |board| {
        let device = Arc::new(PvPanic(board.wishes.clone()));
        let port = ports.plug(board, device)?;
        board.buses.pc(&ports.option)?.platform.pvpanic = Some(port);
        Ok(None)
    })))
}

/// Ports, and the property of the option that chose them.
struct Ports {
    key: &'static str,
    base: u64,
    size: u64,
    option: String,
}

impl Ports {
    /// Registers `device`; returns its first port.
    fn plug(
        &self,
        board: &mut Board<'_>,
        device: Arc<dyn DevicePio + Send + Sync>,
    ) -> Result<u16, BadOption> {
        let bus = &mut *board.buses.pc(&self.option)?.bus;
        let port = u16::try_from(self.base).ok();
        let range = port
            .zip(u16::try_from(self.size).ok())
            .and_then(|(base, size)| PioRange::new(PioAddress(base), size).ok());
        let plugged = range.and_then(|range| bus.register_pio(range, device).ok());
        plugged.and(port).ok_or_else(|| {
            let value = format!("{:#x}", self.base);
            BadOption::property(&self.option, self.key, &value, "taken", "a free I/O port")
        })
    }
}

const PORTS: std::ops::RangeInclusive<u64> = 0..=0xffff;
const DEBUG_EXIT_PORT: u64 = 0x501;
const PVPANIC_PORT: u64 = 0x505;
