//! Register layouts as tables, and what a guest's access to one of them reaches.

/// One row of a layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<R> {
    pub(crate) offset: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub(crate) width: u8,
    pub(crate) register: R,
    pub(crate) writable: bool,
}

impl<R> Row<R> {
    pub(crate) const fn read_only(offset: u64, width: u8, register: R) -> Self {
        Self {
            offset,
            width,
            register,
            writable: false,
        }
    }

    pub(crate) const fn read_write(offset: u64, width: u8, register: R) -> Self {
        Self {
            offset,
            width,
            register,
            writable: true,
        }
    }
}

/// A write of the bits `mask` of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write<R> {
    pub(crate) register: R,
    /// In place: a write to the upper half of a register has its bits there.
    pub(crate) value: u64,
    pub(crate) mask: u64,
}

/// A read of any width at any offset: each register that it touches is read once and gives the
/// bytes that lie inside. Bytes without a register read as ones.
pub(crate) fn read<R: Copy>(
    rows: &[Row<R>],
    offset: u64,
    data: &mut [u8],
    mut value: impl FnMut(R) -> u64,
) {
    data.fill(0xff);
    let end = offset.saturating_add(data.len() as u64);
    let touched = |row: &&Row<R>| row.offset < end && offset < row.offset + u64::from(row.width);
    for row in rows.iter().filter(touched) {
        let bytes = value(row.register).to_le_bytes();
        let places = row.offset..row.offset + u64::from(row.width);
        for (place, byte) in places.zip(bytes) {
            let at = place.checked_sub(offset).map(|at| at as usize);
            if let Some(to) = at.and_then(|at| data.get_mut(at)) {
                *to = byte;
            }
        }
    }
}

/// The register that a write reaches. Registers are written whole, as section 4.1.3.1 asks of
/// drivers, those of 64 bits also by halves; any other write reaches none.
pub(crate) fn written<R: Copy>(rows: &[Row<R>], offset: u64, data: &[u8]) -> Option<Write<R>> {
    rows.iter()
        .filter(|row| row.writable)
        .find_map(|row| row.written(offset, data))
}

impl<R: Copy> Row<R> {
    fn written(&self, offset: u64, data: &[u8]) -> Option<Write<R>> {
        let at = offset.checked_sub(self.offset)?;
        let whole = at == 0 && data.len() == usize::from(self.width);
        let half = self.width == 8 && data.len() == 4 && (at == 0 || at == 4);
        if !whole && !half {
            return None;
        }
        let shift = 8 * at as u32;
        let ones = u64::MAX >> (64 - 8 * data.len() as u32);
        let mut bytes = [0; 8];
        bytes
            .iter_mut()
            .zip(data)
            .for_each(|(to, from)| *to = *from);
        Some(Write {
            register: self.register,
            value: u64::from_le_bytes(bytes) << shift,
            mask: ones << shift,
        })
    }
}
