//! Configuration space as data: bytes, and per byte what a guest may write or clear.
//!
//! A register is a row of a const table ([`Register`]); the access rules follow from its masks, so
//! no code path knows a register by its number. What a write *means* (a BAR moved, a function was
//! reset) is found by comparing before and after, in [`FunctionCore`](crate::FunctionCore).

use crate::error::ConfigError;

/// Size of a function's configuration space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigSize {
    /// 256 bytes, as on a conventional bus.
    #[default]
    Conventional,
    /// 4096 bytes, as for PCI Express; extended capabilities start at 0x100.
    Express,
}

impl ConfigSize {
    /// Size in bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Conventional => 0x100,
            Self::Express => 0x1000,
        }
    }
}

/// One row of a register table: place, value after reset, and access masks.
///
/// A bit that is neither writable nor clearable is read-only. Little-endian, as all of PCI.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    offset: u16,
    width: u8,
    value: u32,
    writable: u32,
    clearable: u32,
}

impl Register {
    /// A read-only register of 8 bits with value zero.
    pub const fn byte(offset: u16) -> Self {
        Self::of_width(offset, 1)
    }

    /// A read-only register of 16 bits with value zero.
    pub const fn word(offset: u16) -> Self {
        Self::of_width(offset, 2)
    }

    /// A read-only register of 32 bits with value zero.
    pub const fn dword(offset: u16) -> Self {
        Self::of_width(offset, 4)
    }

    /// The same register with this value after reset.
    pub const fn value(self, value: u32) -> Self {
        Self { value, ..self }
    }

    /// The same register with these bits readable and writable (RW).
    pub const fn writable(self, writable: u32) -> Self {
        Self { writable, ..self }
    }

    /// The same register with these bits cleared by writing ones (RW1C).
    pub const fn clearable(self, clearable: u32) -> Self {
        Self { clearable, ..self }
    }

    /// Offset past the last byte.
    pub(crate) fn end(&self) -> u16 {
        self.offset.saturating_add(self.width.into())
    }

    const fn of_width(offset: u16, width: u8) -> Self {
        Self {
            offset,
            width,
            value: 0,
            writable: 0,
            clearable: 0,
        }
    }
}

/// The bytes of one function's configuration space with their access rules.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: Box<[u8]>,
    after_reset: Box<[u8]>,
    writable: Box<[u8]>,
    clearable: Box<[u8]>,
}

impl ConfigSpace {
    /// An empty space: every register is reserved, so it reads zero and ignores writes.
    pub fn new(size: ConfigSize) -> Self {
        let zeroes = || vec![0; usize::from(size.bytes())].into_boxed_slice();
        Self {
            bytes: zeroes(),
            after_reset: zeroes(),
            writable: zeroes(),
            clearable: zeroes(),
        }
    }

    /// Adds rows of a register table, their offsets counted from `base`.
    ///
    /// # Errors
    /// [`ConfigError::OutOfSpace`] for a row past the end of the space; the rows before it stay.
    pub fn define(&mut self, base: u16, registers: &[Register]) -> Result<(), ConfigError> {
        registers
            .iter()
            .try_for_each(|register| self.define_one(base, register))
    }

    /// Guest read of any width at any offset; bytes past the end read as ones.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        data.fill(0xff);
        let present = self.bytes.get(usize::from(offset)..).unwrap_or_default();
        data.iter_mut()
            .zip(present)
            .for_each(|(to, from)| *to = *from);
    }

    /// Guest write of any width at any offset, through the masks; bytes past the end are ignored.
    pub fn write(&mut self, offset: u16, data: &[u8]) {
        for (at, &value) in (usize::from(offset)..self.bytes.len()).zip(data) {
            self.write_byte(at, value);
        }
    }

    /// Current value of a byte, as the device sees it; zero past the end.
    pub fn u8(&self, offset: u16) -> u8 {
        self.array::<1>(offset)[0]
    }

    /// Current value of 16 bits, as the device sees them; bytes past the end are zero.
    pub fn u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    /// Current value of 32 bits, as the device sees them; bytes past the end are zero.
    pub fn u32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    /// Sets bytes from the device's side, past the masks, until the next reset.
    pub fn set(&mut self, offset: u16, data: &[u8]) {
        let present = self
            .bytes
            .get_mut(usize::from(offset)..)
            .unwrap_or_default();
        present
            .iter_mut()
            .zip(data)
            .for_each(|(to, from)| *to = *from);
    }

    /// Sets or clears bits of a 16-bit register from the device's side.
    pub fn set_bits(&mut self, offset: u16, bits: u16, on: bool) {
        let old = self.u16(offset);
        let new = if on { old | bits } else { old & !bits };
        self.set(offset, &new.to_le_bytes());
    }

    /// Puts every register back to its value after reset.
    pub fn reset(&mut self) {
        let Self {
            bytes,
            after_reset,
            writable: _,
            clearable: _,
        } = self;
        bytes.copy_from_slice(after_reset);
    }

    /// Every byte, for a snapshot.
    pub fn save(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Takes back what a guest can change from a snapshot, which is untrusted input.
    ///
    /// # Errors
    /// [`ConfigError::SavedState`] where length or header identity (the first 16 bytes but command
    /// and status, and the capability pointer) are those of another function; nothing has changed then.
    pub fn restore(&mut self, saved: &[u8]) -> Result<(), ConfigError> {
        let fixed = |at: &usize| !(0x04..0x08).contains(at) && !(0x0c..0x0e).contains(at);
        let identity = (0..0x10).filter(fixed).chain([0x34]);
        let same = |at| saved.get(at) == self.bytes.get(at);
        if saved.len() != self.bytes.len() || !identity.into_iter().all(same) {
            return Err(ConfigError::SavedState);
        }
        let masks = self.writable.iter().zip(&self.clearable);
        for ((byte, &value), (&rw, &w1c)) in self.bytes.iter_mut().zip(saved).zip(masks) {
            *byte = *byte & !(rw | w1c) | value & (rw | w1c);
        }
        Ok(())
    }

    /// Size in bytes.
    pub fn size(&self) -> u16 {
        // Made from a ConfigSize, so this is 256 or 4096.
        self.bytes.len() as u16
    }

    fn define_one(&mut self, base: u16, register: &Register) -> Result<(), ConfigError> {
        let offset = base
            .checked_add(register.offset)
            .ok_or(ConfigError::OutOfSpace { at: base })?;
        let from = usize::from(offset);
        let range = from..from + usize::from(register.width);
        for (bytes, value) in [
            (&mut self.bytes, register.value),
            (&mut self.after_reset, register.value),
            (&mut self.writable, register.writable),
            (&mut self.clearable, register.clearable),
        ] {
            let bytes = bytes
                .get_mut(range.clone())
                .ok_or(ConfigError::OutOfSpace { at: offset })?;
            bytes
                .iter_mut()
                .zip(value.to_le_bytes())
                .for_each(|(to, from)| *to = from);
        }
        Ok(())
    }

    /// Patches one byte of the reset image too: how a capability is linked into a list.
    pub(crate) fn link(&mut self, at: u16, value: &[u8]) {
        self.set(at, value);
        let image = self
            .after_reset
            .get_mut(usize::from(at)..)
            .unwrap_or_default();
        image
            .iter_mut()
            .zip(value)
            .for_each(|(to, from)| *to = *from);
    }

    fn write_byte(&mut self, at: usize, value: u8) {
        let masks = (self.writable.get(at), self.clearable.get(at));
        if let (Some(byte), (Some(rw), Some(w1c))) = (self.bytes.get_mut(at), masks) {
            *byte = (*byte & !rw | value & rw) & !(value & w1c);
        }
    }

    fn array<const N: usize>(&self, offset: u16) -> [u8; N] {
        let mut out = [0; N];
        let present = self.bytes.get(usize::from(offset)..).unwrap_or_default();
        out.iter_mut()
            .zip(present)
            .for_each(|(to, from)| *to = *from);
        out
    }
}
