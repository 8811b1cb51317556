//! READ_CONF and WRITE_CONF (section 4.3.2.5): the configuration space, whole.

use virtio_bus::Core;
use virtio_device::{AddressSpace, ByteOrder, ConfigCell};

use crate::css::Transfer;

/// Transfers the configuration space from its start, as far as the driver has room.
pub(crate) fn read(config: &ConfigCell, order: ByteOrder, transfer: &mut Transfer<'_>) {
    transfer.write(&in_order(config, order));
}

/// The driver transmits the space from its start up to the field that it changes. The device is
/// told of the words that are not as it has shown them, from the first to the last: writing the
/// others is not what the driver is after.
pub(crate) fn write<AS: AddressSpace>(
    core: &mut Core<AS>,
    order: ByteOrder,
    transfer: &mut Transfer<'_>,
) {
    let mut written = in_order(core.config(), order);
    transfer.read(&mut written);
    core.config().reorder(&mut written, order);
    if let Some((offset, data)) = difference(&core.config().snapshot(), &written) {
        core.write_config(offset as u64, data);
    }
}

/// The space as a driver of this byte order sees it.
fn in_order(config: &ConfigCell, order: ByteOrder) -> Box<[u8]> {
    let mut space = config.snapshot();
    config.reorder(&mut space, order);
    space
}

/// The aligned words of `written` that differ from `shown`, from the first to the last, and the
/// offset in bytes of the first.
fn difference<'a>(shown: &[u8], written: &'a [u8]) -> Option<(usize, &'a [u8])> {
    let words = || shown.chunks(WORD).zip(written.chunks(WORD));
    let differ = |(shown, written)| shown != written;
    let first = words().position(differ)? * WORD;
    let last = words().rposition(differ)? * WORD;
    let end = written.len().min(last + WORD);
    written.get(first..end).map(|data| (first, data))
}

/// Fields that drivers write start at multiples of it, in bytes.
const WORD: usize = 4;

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn only_words_that_differ_are_written() {
        let shown = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        type Difference = Option<(usize, &'static [u8])>;
        let rows: &[(&[u8], Difference)] = &[
            (&shown, None),
            (&[9, 1, 2, 3, 4, 5, 6, 7, 8, 9], Some((0, &[9, 1, 2, 3]))),
            (&[0, 1, 2, 3, 4, 9, 6, 7, 8, 9], Some((4, &[4, 9, 6, 7]))),
            (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 0], Some((8, &[8, 0]))),
            (
                &[0, 1, 0, 3, 4, 5, 0, 7, 8, 9],
                Some((0, &[0, 1, 0, 3, 4, 5, 0, 7])),
            ),
        ];
        for (written, expected) in rows {
            assert_eq!(difference(&shown, written), *expected, "{written:?}");
        }
    }
}
