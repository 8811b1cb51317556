//! Indirect data addressing, plain and modified.

use crate::support::*;

const LIST: u32 = 0x4000;

/// Format 1, format-2 IDAWs (64 bits).
const WIDE: u32 = FORMAT_1 | 0x0002_0000;
/// Those, of 2 KiB.
const WIDE_2K: u32 = WIDE | 0x0001_0000;
/// Format 1, modified IDAWs.
const MODIFIED: u32 = FORMAT_1 | 0x40;

fn run(guest: &Guest, control: u32, word: [u8; 8]) -> Scsw {
    guest.program(&[word]);
    assert_eq!(guest.ssch(control), Cc0);
    guest.fetch()
}

fn list<const N: usize>(guest: &Guest, words: impl IntoIterator<Item = [u8; N]>) {
    let bytes: Vec<u8> = words.into_iter().flatten().collect();
    guest.store(LIST, &bytes);
}

fn midaw(flags: u8, count: u16, address: u64) -> [u8; 16] {
    (u128::from(flags) << 80 | u128::from(count) << 64 | u128::from(address)).to_be_bytes()
}

#[test]
fn format_1_words_cover_2_kib_each() {
    let guest = Guest::new();
    let addresses = [DATA + 0x7fe, 0x1_0000, 0xa000].map(u32::to_be_bytes);
    list(&guest, addresses);
    let data: Vec<u8> = (0..2 + 0x800 + 3).map(|i| i as u8).collect();
    guest.set_readable(&data);
    let status = run(
        &guest,
        FORMAT_1,
        ccw(Toy::READ, IDA, data.len() as u16, LIST),
    );
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(guest.load::<2>(DATA + 0x7fe), data[..2]);
    assert_eq!(guest.load::<0x800>(0x1_0000), data[2..0x802]);
    assert_eq!(guest.load::<3>(0xa000), data[0x802..]);
    assert_eq!(guest.load::<1>(0xa003), [0]);
}

#[test]
fn format_2_words_cover_4_or_2_kib_each() {
    for (control, block) in [(WIDE, 0x1000u32), (WIDE_2K, 0x800)] {
        let guest = Guest::new();
        list(
            &guest,
            [0x1_0000 + block - 1, 0x2_0000].map(|a| u64::from(a).to_be_bytes()),
        );
        guest.store(0x1_0000 + block - 1, b"a");
        guest.store(0x2_0000, b"bc");
        let status = run(&guest, control, ccw(Toy::WRITE, IDA, 3, LIST));
        assert_eq!((status.subchannel, status.count), (0, 0));
        assert_eq!(guest.written(), b"abc");
    }
}

#[test]
fn indirect_lists_that_cannot_be() {
    let guest = Guest::new();
    let narrow = |address: u32, second: u32| {
        list(&guest, [address, second].map(u32::to_be_bytes));
        let status = run(&guest, FORMAT_1, ccw(Toy::WRITE, IDA, 0x801, LIST));
        (status.subchannel, status.count)
    };
    assert_eq!(narrow(DATA, DATA), (0, 0));
    assert_eq!(narrow(0x8000_0000, DATA), (PROGRAM_CHECK, 0x801));
    assert_eq!(narrow(DATA, DATA + 1), (PROGRAM_CHECK, 1));
    assert_eq!(narrow(DATA, END), (PROGRAM_CHECK, 1));
    for (control, at) in [
        (FORMAT_1, LIST + 2),
        (WIDE, LIST + 4),
        (FORMAT_1, END),
        (WIDE, END - 4),
    ] {
        let status = run(&guest, control, ccw(Toy::WRITE, IDA, 4, at));
        assert_eq!(status.subchannel, PROGRAM_CHECK, "{control:#x} {at:#x}");
    }
}

#[test]
fn wide_addresses_are_not_cut() {
    let guest = Guest::new();
    list(&guest, [(0x1_0000_0000 | u64::from(DATA)).to_be_bytes()]);
    let status = run(&guest, WIDE, ccw(Toy::WRITE, IDA, 4, LIST));
    assert_eq!((status.subchannel, status.count), (PROGRAM_CHECK, 4));
    list(&guest, [u64::MAX.to_be_bytes()]);
    let status = run(&guest, WIDE, ccw(Toy::WRITE, IDA, 4, LIST));
    assert_eq!((status.subchannel, status.count), (PROGRAM_CHECK, 4));
}

#[test]
fn modified_words_are_of_any_length_in_a_page() {
    let guest = Guest::new();
    list(
        &guest,
        [
            midaw(0, 3, (DATA + 1).into()),
            midaw(0x40, 2, END.into()),
            midaw(0x80, 1, (DATA + 0xfff).into()),
        ],
    );
    guest.set_readable(b"abcdef");
    let status = run(&guest, MODIFIED, ccw(Toy::READ, MIDA, 6, LIST));
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(&guest.load::<5>(DATA), b"\0abc\0");
    assert_eq!(&guest.load::<1>(DATA + 0xfff), b"f");
}

#[test]
fn modified_lists_that_cannot_be() {
    let guest = Guest::new();
    let data = u64::from(DATA);
    let check = |name: &str, words: &[[u8; 16]]| {
        list(&guest, words.iter().copied());
        let status = run(&guest, MODIFIED, ccw(Toy::WRITE, MIDA, 8, LIST));
        assert_eq!(status.subchannel, PROGRAM_CHECK, "{name}");
    };
    check("count 0", &[midaw(0, 0, data)]);
    check("too long", &[midaw(0x80, 9, data)]);
    check("last too early", &[midaw(0x80, 4, data)]);
    check("no last", &[midaw(0, 8, data)]);
    check("across a page", &[midaw(0x80, 8, data + 0xffc)]);
    check("reserved flag", &[midaw(0x81, 8, data)]);
    check("second", &[midaw(0, 4, data), midaw(0x80, 5, data)]);
    let mut reserved = midaw(0x80, 8, data);
    reserved[0] = 1;
    check("reserved", &[reserved]);
    for at in [LIST + 8, END] {
        let status = run(&guest, MODIFIED, ccw(Toy::WRITE, MIDA, 8, at));
        assert_eq!(status.subchannel, PROGRAM_CHECK, "{at:#x}");
    }
}

#[test]
fn a_modified_list_stays_in_its_page() {
    let guest = Guest::new();
    let at = LIST + 0xff0;
    guest.store(at, &midaw(0, 4, DATA.into()));
    guest.store(at + 16, &midaw(0x80, 4, DATA.into()));
    let status = run(&guest, MODIFIED, ccw(Toy::WRITE, MIDA, 8, at));
    assert_eq!((status.subchannel, status.count), (PROGRAM_CHECK, 8));
}
