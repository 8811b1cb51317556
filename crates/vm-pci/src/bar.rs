//! Base address registers: kinds, legal sizes, and what an address written to one decodes.
//!
//! A BAR's registers live in configuration space; the size is expressed only by which bits are
//! writable, so the sizing probe (write ones, read back) needs no code (PCI Local Bus 3.0, 6.2.5.1).

use crate::address::{IoAddr, IoRange};
use crate::config::{ConfigSpace, Register};
use crate::error::ConfigError;

/// Address space and width of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory with a 32-bit address.
    Memory32,
    /// Memory with a 64-bit address; takes two registers.
    Memory64,
}

/// A BAR that can exist: its size is legal for its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    kind: BarKind,
    prefetchable: bool,
    size: u64,
}

impl Bar {
    /// I/O BAR of `size` bytes, a power of two from 4 to 256.
    ///
    /// # Errors
    /// [`ConfigError::BarSize`] for any other size.
    pub fn io(size: u64) -> Result<Self, ConfigError> {
        Self::sized(BarKind::Io, size, 4, 0x100)
    }

    /// 32-bit memory BAR of `size` bytes, a power of two from 16 to 2 GiB.
    ///
    /// # Errors
    /// [`ConfigError::BarSize`] for any other size.
    pub fn memory32(size: u64) -> Result<Self, ConfigError> {
        Self::sized(BarKind::Memory32, size, 0x10, 1 << 31)
    }

    /// 64-bit memory BAR of `size` bytes, a power of two from 16 to 2^63.
    ///
    /// # Errors
    /// [`ConfigError::BarSize`] for any other size.
    pub fn memory64(size: u64) -> Result<Self, ConfigError> {
        Self::sized(BarKind::Memory64, size, 0x10, 1 << 63)
    }

    /// The same BAR marked prefetchable: reads have no side effects. I/O BARs stay as they are.
    pub fn prefetchable(self) -> Self {
        Self {
            prefetchable: self.kind != BarKind::Io,
            ..self
        }
    }

    /// Address space and width.
    pub fn kind(self) -> BarKind {
        self.kind
    }

    /// Whether reads have no side effects.
    pub fn is_prefetchable(self) -> bool {
        self.prefetchable
    }

    /// Size in bytes, a power of two.
    pub fn size(self) -> u64 {
        self.size
    }

    /// What a BAR holding `address` decodes while its space is enabled.
    ///
    /// Nothing for address zero (never assigned), for a range that passes the end of its space, and
    /// for one that ends at the very top of it: that is a sizing probe with decoding left on.
    pub fn decode(self, address: u64) -> Option<IoRange> {
        let top = match self.kind {
            BarKind::Io => u64::from(u16::MAX) + 1,
            BarKind::Memory32 => u64::from(u32::MAX),
            BarKind::Memory64 => u64::MAX,
        };
        let last = address.checked_add(self.size - 1)?;
        if address == 0 || last >= top {
            return None;
        }
        IoRange::new(self.at(address)?, self.size)
    }

    fn at(self, address: u64) -> Option<IoAddr> {
        match self.kind {
            BarKind::Io => u16::try_from(address).ok().map(IoAddr::Pio),
            _ => Some(IoAddr::Mmio(address)),
        }
    }

    fn sized(kind: BarKind, size: u64, min: u64, max: u64) -> Result<Self, ConfigError> {
        if !size.is_power_of_two() || size < min || size > max {
            return Err(ConfigError::BarSize { size, min, max });
        }
        Ok(Self {
            kind,
            prefetchable: false,
            size,
        })
    }

    /// Type bits in the low end of the register.
    fn flags(self) -> u32 {
        let kind = match self.kind {
            BarKind::Io => IO_SPACE,
            BarKind::Memory32 => 0,
            BarKind::Memory64 => MEMORY_64,
        };
        kind | if self.prefetchable { PREFETCHABLE } else { 0 }
    }
}

/// The BARs of one function, by index of their first register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bars([Option<Bar>; BARS]);

impl Bars {
    /// Puts `bar` at register `index` of `count` registers (6 in a type 0 header, 2 in type 1).
    ///
    /// # Errors
    /// [`ConfigError::BarIndex`] where a register it needs is taken or does not exist.
    pub fn place(&mut self, index: u8, bar: Bar, count: u8) -> Result<(), ConfigError> {
        let wrong = ConfigError::BarIndex { index };
        let width = if bar.kind == BarKind::Memory64 { 2 } else { 1 };
        let count = usize::from(count).min(BARS);
        let index = usize::from(index);
        if index + width > count || (index..index + width).any(|at| self.takes(at)) {
            return Err(wrong);
        }
        self.0.get_mut(index).ok_or(wrong)?.replace(bar);
        Ok(())
    }

    /// BAR whose first register is `index`.
    pub fn at(&self, index: u8) -> Option<Bar> {
        self.0.get(usize::from(index)).copied().flatten()
    }

    /// Index and BAR, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Bar)> + '_ {
        (0u8..)
            .zip(&self.0)
            .filter_map(|(index, bar)| bar.map(|bar| (index, bar)))
    }

    /// Adds the registers to configuration space.
    pub(crate) fn define(&self, config: &mut ConfigSpace) -> Result<(), ConfigError> {
        self.iter().try_for_each(|(index, bar)| {
            let mask = !(bar.size - 1);
            let low = Register::dword(0).value(bar.flags()).writable(mask as u32);
            config.define(register(index), &[low])?;
            if bar.kind == BarKind::Memory64 {
                let high = Register::dword(4).writable((mask >> 32) as u32);
                config.define(register(index), &[high])?;
            }
            Ok(())
        })
    }

    /// What the registers in `config` decode, with I/O and memory space enabled as given.
    pub(crate) fn decode(&self, config: &ConfigSpace, io: bool, memory: bool) -> BarMap {
        let mut map = BarMap::default();
        for ((index, bar), entry) in self.0.iter().enumerate().zip(&mut map.0) {
            let Some(bar) = bar else { continue };
            let enabled = if bar.kind == BarKind::Io { io } else { memory };
            // The index counts to 6, so it fits.
            *entry = enabled
                .then(|| bar.decode(address(config, index as u8, *bar)))
                .flatten();
        }
        map
    }

    fn takes(&self, at: usize) -> bool {
        let wide = |bar: Option<Bar>| bar.is_some_and(|bar| bar.kind == BarKind::Memory64);
        let here = self.0.get(at).copied().flatten().is_some();
        here || at
            .checked_sub(1)
            .is_some_and(|below| wide(self.0.get(below).copied().flatten()))
    }
}

/// What each BAR of a function decodes at the moment; `None` for one that decodes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BarMap([Option<IoRange>; BARS]);

impl BarMap {
    /// Range of the BAR whose first register is `index`.
    pub fn at(&self, index: u8) -> Option<IoRange> {
        self.0.get(usize::from(index)).copied().flatten()
    }

    /// Index and range of every BAR that decodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, IoRange)> + '_ {
        (0u8..)
            .zip(&self.0)
            .filter_map(|(index, range)| range.map(|range| (index, range)))
    }
}

/// Offset of the first register of BAR `index`.
pub(crate) fn register(index: u8) -> u16 {
    BAR0 + 4 * u16::from(index)
}

fn address(config: &ConfigSpace, index: u8, bar: Bar) -> u64 {
    let low = u64::from(config.u32(register(index)));
    let high = match bar.kind {
        BarKind::Memory64 => u64::from(config.u32(register(index) + 4)) << 32,
        _ => 0,
    };
    // Bits below the size are type bits or zero, and sizes are powers of two.
    (high | low) & !(bar.size - 1)
}

const BARS: usize = 6;
const BAR0: u16 = 0x10;
const IO_SPACE: u32 = 1;
const MEMORY_64: u32 = 4;
const PREFETCHABLE: u32 = 8;
