//! The layout of the configuration space (section 5.3.4).

use virtio_device::ConfigCell;

/// A configuration space without a size; its last field is there if `emergency_write`.
pub(crate) fn new(max_ports: u16, emergency_write: bool) -> ConfigCell {
    let len = if emergency_write {
        EMERG_WR + 4
    } else {
        EMERG_WR
    };
    let config = ConfigCell::new(vec![0; len]).with_widths(WIDTHS);
    let bytes = u32::from(max_ports).to_le_bytes();
    config.update(|space| {
        let field = space.get_mut(MAX_NR_PORTS..).into_iter().flatten();
        field.zip(bytes).for_each(|(to, from)| *to = from);
        // Nobody has read anything yet: still generation 0.
        false
    });
    config
}

/// Sets the size, in characters; true if that changed it.
pub(crate) fn set_size(config: &ConfigCell, cols: u16, rows: u16) -> bool {
    config.write(COLS, &encode_size(cols, rows))
}

/// The size, in characters: columns, then rows.
pub(crate) fn size(config: &ConfigCell) -> [u16; 2] {
    let mut size = [0; 4];
    config.read(COLS as u64, &mut size);
    let [a, b, c, d] = size;
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

/// The character of a write of `data` at `offset`, if it is one to `emerg_wr`.
pub(crate) fn emergency(offset: u64, data: &[u8]) -> Option<u8> {
    data.first().copied().filter(|_| offset == EMERG_WR as u64)
}

fn encode_size(cols: u16, rows: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (cols.to_le_bytes(), rows.to_le_bytes());
    [a, b, c, d]
}

/// Of `cols`, `rows`, `max_nr_ports` and `emerg_wr`, in bytes.
const WIDTHS: &[u8] = &[2, 2, 4, 4];
const COLS: usize = 0;
const MAX_NR_PORTS: usize = 4;
const EMERG_WR: usize = 8;
