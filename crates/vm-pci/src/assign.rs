//! Addresses without firmware: numbers the buses, opens the windows of the ports, places every BAR.
//!
//! What a PC's firmware would have done before the kernel starts; a kernel that finds it done keeps
//! it. Decoding stays off, as after reset: enabling is the driver's decision.

use std::ops::RangeInclusive;

use vm_allocator::{AddressAllocator, AllocPolicy};

use crate::address::{Bdf, Slot};
use crate::bar::{self, Bar, BarKind};
use crate::bus::Bus;
use crate::error::BusError;
use crate::header::*;
use crate::root::RootComplex;

impl RootComplex {
    /// Numbers the buses behind the ports from 1 on and gives every BAR an address in the windows:
    /// 64-bit prefetchable ones in `mmio64` where there is such a window, other memory in `mmio32`.
    ///
    /// May be called again after [`reset`](RootComplex::reset), or with more functions attached; the
    /// result depends only on what is attached. The guest must not run meanwhile.
    ///
    /// # Errors
    /// [`BusError::NoRoom`] or [`BusError::Full`]; BARs placed until then keep their addresses.
    pub fn assign_bars(&self) -> Result<(), BusError> {
        let topology = self.topology();
        let mut spaces = Spaces::new(self)?;
        for (port, number) in topology.ports.iter().zip(1u16..) {
            let number = u8::try_from(number).map_err(|_| BusError::Full)?;
            let at = Bdf::new(0, port.slot);
            self.write_config(at, PRIMARY_BUS, &[0, number, number]);
            self.open_windows(at, number, &port.bus, &mut spaces)?;
        }
        let mut bars = bars(0, &topology.root);
        // Large ones first: what is left between them is aligned for the small ones.
        bars.sort_by_key(|found| std::cmp::Reverse(found.bar.size()));
        bars.iter().try_for_each(|found| {
            let space = spaces.of(found.bar).ok_or(NO_SPACE)?;
            let address = space.allocate(found.bar.size(), found.bar.size())?;
            self.set_bar(found, address);
            Ok(())
        })
    }

    /// Opens the port's windows just wide enough for what is behind it.
    fn open_windows(
        &self,
        at: Bdf,
        number: u8,
        bus: &Bus,
        spaces: &mut Spaces,
    ) -> Result<(), BusError> {
        let mut bars = bars(number, bus);
        bars.sort_by_key(|found| std::cmp::Reverse(found.bar.size()));
        for window in [Window::Io, Window::Memory, Window::Prefetchable] {
            let mine = || bars.iter().filter(|found| Window::of(found.bar) == window);
            let size: u64 = mine().fold(0, |sum, found| found.bar.size().saturating_add(sum));
            let Some(largest) = mine().map(|found| found.bar.size()).max() else {
                self.write_window(at, window, window.closed());
                continue;
            };
            let step = window.granularity();
            let size = size.checked_next_multiple_of(step).unwrap_or(u64::MAX);
            let space = spaces.behind(window).ok_or(NO_SPACE)?;
            let base = space.allocate(size, largest.max(step))?;
            self.write_window(at, window, (base, base + (size - 1)));
            // Sorted by size, powers of two: each lands on a multiple of its own size.
            mine().fold(base, |address, found| {
                self.set_bar(found, address);
                address + found.bar.size()
            });
        }
        Ok(())
    }

    fn set_bar(&self, found: &Found, address: u64) {
        let (low, high) = (address as u32, (address >> 32) as u32);
        let register = bar::register(found.index);
        self.write_config(found.at, register, &low.to_le_bytes());
        if found.bar.kind() == BarKind::Memory64 {
            self.write_config(found.at, register + 4, &high.to_le_bytes());
        }
    }

    fn write_window(&self, at: Bdf, window: Window, (base, limit): (u64, u64)) {
        let word = |value: u64, shift: u32| ((value >> shift) as u16).to_le_bytes();
        let dword = |value: u64| ((value >> 32) as u32).to_le_bytes();
        match window {
            Window::Io => {
                self.write_config(at, IO_BASE, &[(base >> 8) as u8, (limit >> 8) as u8]);
                self.write_config(at, IO_BASE_UPPER, &word(base, 16));
                self.write_config(at, IO_LIMIT_UPPER, &word(limit, 16));
            }
            Window::Memory => {
                self.write_config(at, MEMORY_BASE, &word(base, 16));
                self.write_config(at, MEMORY_LIMIT, &word(limit, 16));
            }
            Window::Prefetchable => {
                self.write_config(at, PREFETCHABLE_BASE, &word(base, 16));
                self.write_config(at, PREFETCHABLE_LIMIT, &word(limit, 16));
                self.write_config(at, PREFETCHABLE_BASE_UPPER, &dword(base));
                self.write_config(at, PREFETCHABLE_LIMIT_UPPER, &dword(limit));
            }
        }
    }
}

/// A BAR that needs an address.
struct Found {
    at: Bdf,
    index: u8,
    bar: Bar,
}

fn bars(number: u8, bus: &Bus) -> Vec<Found> {
    let of = |(slot, function): (Slot, &std::sync::Arc<dyn crate::PciFunction>)| {
        let bars = function.info().bars;
        let found: Vec<_> = bars
            .iter()
            .map(|(index, bar)| Found {
                at: Bdf::new(number, slot),
                index,
                bar,
            })
            .collect();
        found
    };
    bus.iter().flat_map(of).collect()
}

/// The three windows of a bridge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Window {
    Io,
    Memory,
    Prefetchable,
}

impl Window {
    fn of(bar: Bar) -> Self {
        match bar.kind() {
            BarKind::Io => Self::Io,
            BarKind::Memory64 if bar.is_prefetchable() => Self::Prefetchable,
            _ => Self::Memory,
        }
    }

    fn granularity(self) -> u64 {
        if self == Self::Io { 0x1000 } else { 0x10_0000 }
    }

    /// Base above limit forwards nothing.
    fn closed(self) -> (u64, u64) {
        if self == Self::Io {
            (0xf000, 0)
        } else {
            (0xfff0_0000, 0)
        }
    }
}

/// What is left of the windows of the complex.
struct Spaces {
    io: Option<Space>,
    low: Option<Space>,
    high: Option<Space>,
}

impl Spaces {
    fn new(root: &RootComplex) -> Result<Self, BusError> {
        let windows = root.windows();
        let pio = windows
            .pio
            .as_ref()
            .map(|w| u64::from(*w.start())..=u64::from(*w.end()));
        Ok(Self {
            io: Space::new("I/O", pio)?,
            low: Space::new("MMIO32", windows.mmio32.clone())?,
            high: Space::new("MMIO64", windows.mmio64.clone())?,
        })
    }

    fn of(&mut self, bar: Bar) -> Option<&mut Space> {
        match bar.kind() {
            BarKind::Memory64 if self.high.is_some() => self.high.as_mut(),
            BarKind::Io => self.io.as_mut(),
            _ => self.low.as_mut(),
        }
    }

    fn behind(&mut self, window: Window) -> Option<&mut Space> {
        match window {
            Window::Io => self.io.as_mut(),
            Window::Prefetchable if self.high.is_some() => self.high.as_mut(),
            _ => self.low.as_mut(),
        }
    }
}

/// One window of the complex and its free addresses.
struct Space {
    name: &'static str,
    free: AddressAllocator,
}

impl Space {
    fn new(
        name: &'static str,
        window: Option<RangeInclusive<u64>>,
    ) -> Result<Option<Self>, BusError> {
        let Some(window) = window else {
            return Ok(None);
        };
        // Address zero means "not assigned" in a BAR.
        let start = (*window.start()).max(1);
        // No window is all of its space, so its length has room.
        let size = window.end().checked_sub(start).map_or(0, |last| last + 1);
        let free = AddressAllocator::new(start, size).map_err(|_| BusError::Window(name))?;
        Ok(Some(Self { name, free }))
    }

    fn allocate(&mut self, size: u64, align: u64) -> Result<u64, BusError> {
        let no_room = BusError::NoRoom {
            window: self.name,
            size,
        };
        let range = self
            .free
            .allocate(size, align, AllocPolicy::FirstMatch)
            .map_err(|_| no_room)?;
        Ok(range.start())
    }
}

const NO_SPACE: BusError = BusError::Window("for a BAR's kind");
