//! Data that a command returns to its initiator.

use guest_io::MemoryGuard;

use crate::{Buffers, Ending, Sense};

/// Answers with `bytes`, as far as `room`, the allocation length, goes (SPC-4 section 4.2.5.6).
pub(crate) fn reply<G: MemoryGuard>(
    buffers: &mut impl Buffers<G>,
    bytes: &[u8],
    room: u32,
) -> Ending {
    if room > buffers.in_len() {
        return Ending::Overrun;
    }
    let len = bytes.len().min(room as usize);
    let bytes = bytes.get(..len).unwrap_or_default();
    match buffers.store(bytes) {
        Ok(()) => Ending::good(len as u32),
        Err(_) => Ending::BadBuffer,
    }
}

/// The parameter list of a command, all `len` bytes of it.
pub(crate) fn parameters<G: MemoryGuard>(
    buffers: &mut impl Buffers<G>,
    len: u32,
) -> Result<Vec<u8>, Ending> {
    if len > buffers.out_len() {
        return Err(Ending::Overrun);
    }
    if len > LONGEST_LIST {
        return Err(Sense::LIST_LENGTH.into());
    }
    let mut list = vec![0; len as usize];
    let fetched = buffers.fetch(0, &mut list);
    fetched.map_err(|_| Ending::BadBuffer).map(|()| list)
}

/// `text` in a field of `N` characters, filled up with spaces (SPC-4 section 4.4.1).
pub(crate) fn ascii<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let printable = |byte: u8| if byte.is_ascii_graphic() { byte } else { b' ' };
    field
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(to, from)| *to = printable(from));
    field
}

/// As long as a PARAMETER LIST LENGTH of two bytes can say.
const LONGEST_LIST: u32 = u16::MAX as u32;
