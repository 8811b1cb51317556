//! Channel programs: words, chaining, lengths, and what is wrong with them.

use crate::support::*;
use virtio_ccw::css::Effect;

#[test]
fn sense_id_says_what_linux_looks_for() {
    let guest = Guest::new();
    let status = guest.run(&[ccw(0xe4, SLI, 40, DATA)]);
    assert_eq!(status.control, START | ENDING);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END);
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(status.address, PROGRAM + 8);
    assert_eq!(guest.load::<7>(DATA), [0xff, 0x38, 0x32, 4, 0, 0, 0]);
}

#[test]
fn data_goes_both_ways() {
    let guest = Guest::new();
    guest.store(DATA, b"to the device");
    assert_eq!(guest.run(&[ccw(Toy::WRITE, 0, 13, DATA)]).count, 0);
    assert_eq!(guest.written(), b"to the device");
    guest.set_readable(b"from the device");
    assert_eq!(guest.run(&[ccw(Toy::READ, 0, 15, DATA)]).subchannel, 0);
    assert_eq!(&guest.load::<15>(DATA), b"from the device");
}

#[test]
fn format_0_has_24_bit_addresses() {
    let guest = Guest::new();
    guest.set_readable(b"abcd");
    guest.store(PROGRAM, &ccw0(Toy::READ, 0, 4, DATA));
    assert_eq!(guest.ssch(FORMAT_0), Cc0);
    assert_eq!(guest.fetch().control, START | ENDING);
    assert_eq!(&guest.load::<4>(DATA), b"abcd");
    // TRANSFER IN CHANNEL ignores the rest of the word.
    guest.store(PROGRAM, &ccw0(Toy::CONTROL, CC, 1, 0));
    guest.store(PROGRAM + 8, &ccw0(0x58, 0xff, 7, PROGRAM + 0x100));
    guest.store(PROGRAM + 0x100, &ccw0(Toy::READ, 0, 4, DATA));
    assert_eq!(guest.ssch(FORMAT_0), Cc0);
    let status = guest.fetch();
    assert_eq!(status.subchannel, 0);
    assert_eq!(status.address, PROGRAM + 0x108);
}

#[test]
fn commands_are_chained_until_one_is_not() {
    let guest = Guest::new();
    let status = guest.run(&[
        ccw(Toy::CONTROL, CC, 0, 0),
        tic(PROGRAM + 0x18),
        ccw(0xff, 0, 0, 0),
        ccw(Toy::WRITE, CC, 1, DATA),
        ccw(Toy::CONTROL, 0, 0, 0),
        ccw(Toy::WRITE, 0, 1, DATA),
    ]);
    assert_eq!(
        guest.toy.commands(),
        [Toy::CONTROL, Toy::WRITE, Toy::CONTROL]
    );
    assert_eq!(status.address, PROGRAM + 0x28);
}

#[test]
fn data_is_chained_across_words_and_transfers() {
    let guest = Guest::new();
    guest.store(DATA, b"abcdefgh");
    let status = guest.run(&[
        ccw(Toy::WRITE, CD, 2, DATA + 6),
        ccw(0, CD, 1, DATA),
        tic(PROGRAM + 0x20),
        [0; 8],
        ccw(0xff, 0, 3, DATA + 1),
    ]);
    assert_eq!(guest.written(), b"ghabcd");
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(status.address, PROGRAM + 0x28);
}

#[test]
fn the_command_chain_goes_on_after_chained_data() {
    let guest = Guest::new();
    guest.run(&[
        ccw(Toy::WRITE, CD, 2, DATA),
        ccw(0, CC, 2, DATA),
        ccw(Toy::CONTROL, 0, 0, 0),
    ]);
    assert_eq!(guest.toy.commands(), [Toy::WRITE, Toy::CONTROL]);
}

#[test]
fn a_selector_is_read_before_the_answer_is_written() {
    let guest = Guest::new();
    guest.store(DATA, &[0, 0, 0, 0, 7]);
    let status = guest.run(&[ccw(Toy::SELECT, 0, 5, DATA)]);
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(guest.load::<5>(DATA), [7; 5]);
    // Also across chained data.
    guest.store(DATA, &[0, 0, 0, 0, 9]);
    let status = guest.run(&[ccw(Toy::SELECT, CD, 3, DATA), ccw(0, 0, 2, DATA + 3)]);
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(guest.load::<5>(DATA), [9; 5]);
}

#[test]
fn incorrect_length_ends_the_program_unless_it_does_not_mind() {
    let guest = Guest::new();
    guest.set_readable(b"ab");
    let short = |flags| {
        let status = guest.run(&[ccw(Toy::READ, flags, 5, DATA), ccw(Toy::CONTROL, 0, 0, 0)]);
        let chained = guest.toy.commands().len() == 2;
        (status.subchannel, status.count, chained)
    };
    assert_eq!(short(0), (INCORRECT_LENGTH, 3, false));
    assert_eq!(short(SLI), (0, 3, false));
    assert_eq!(short(CC), (INCORRECT_LENGTH, 3, false));
    assert_eq!(short(CC | SLI), (0, 0, true));
    // Chaining data, it always minds.
    assert_eq!(short(CD | SLI), (INCORRECT_LENGTH, 3, false));
    assert_eq!(short(CD | CC | SLI), (INCORRECT_LENGTH, 3, false));
}

#[test]
fn a_device_that_wants_more_meets_an_incorrect_length() {
    let guest = Guest::new();
    let run = |flags| {
        let status = guest.run(&[ccw(Toy::SELECT, flags, 4, DATA)]);
        (status.device & UNIT_CHECK, status.subchannel, status.count)
    };
    assert_eq!(run(0), (UNIT_CHECK, INCORRECT_LENGTH, 0));
    assert_eq!(run(SLI), (UNIT_CHECK, 0, 0));
}

#[test]
fn data_that_ends_where_a_word_does_leaves_the_next_one() {
    let guest = Guest::new();
    guest.set_readable(b"ab");
    let status = guest.run(&[ccw(Toy::READ, CD, 2, DATA), ccw(0, 0, 4, DATA + 2)]);
    assert_eq!((status.subchannel, status.count), (INCORRECT_LENGTH, 4));
    assert_eq!(status.address, PROGRAM + 0x10);
}

#[test]
fn an_immediate_operation_has_no_length_unless_asked() {
    let guest = Guest::new();
    let run = |control, flags| {
        guest.program(&[ccw(Toy::CONTROL, flags, 4, DATA)]);
        assert_eq!(guest.ssch(control), Cc0);
        let status = guest.fetch();
        (status.subchannel, status.count)
    };
    let suppress = FORMAT_1 | 0x80;
    assert_eq!(run(FORMAT_1, 0), (INCORRECT_LENGTH, 4));
    assert_eq!(run(FORMAT_1, SLI), (0, 4));
    assert_eq!(run(FORMAT_1, CD | SLI), (INCORRECT_LENGTH, 4));
    assert_eq!(run(suppress, 0), (0, 4));
    assert_eq!(run(suppress, CD), (0, 4));
    guest.store(PROGRAM, &ccw0(Toy::CONTROL, 0, 4, DATA));
    assert_eq!(guest.ssch(FORMAT_0), Cc0);
    assert_eq!(guest.fetch().subchannel, 0);
}

#[test]
fn a_count_of_zero_transfers_nothing() {
    let guest = Guest::new();
    guest.set_readable(b"ab");
    let status = guest.run(&[ccw(Toy::READ, 0, 0, DATA)]);
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(guest.load::<2>(DATA), [0, 0]);
}

#[test]
fn skipped_data_is_counted_and_not_stored() {
    let guest = Guest::new();
    guest.set_readable(b"abcdef");
    let status = guest.run(&[ccw(Toy::READ, CD | SKIP, 2, END), ccw(0, 0, 4, DATA)]);
    assert_eq!((status.subchannel, status.count), (0, 0));
    assert_eq!(&guest.load::<5>(DATA), b"cdef\0");
}

#[test]
fn unit_check_has_sense_bytes_that_are_read_once() {
    let guest = Guest::new();
    let status = guest.run(&[ccw(0xf1, CC, 4, DATA), ccw(Toy::CONTROL, 0, 0, 0)]);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END | UNIT_CHECK);
    assert_eq!((status.subchannel, status.count), (0, 4));
    assert_eq!(status.control, START | ENDING | ALERT);
    assert_eq!(guest.toy.commands(), [0xf1]);
    guest.run(&[ccw(0x04, SLI, 32, DATA)]);
    assert_eq!(guest.load::<2>(DATA), [0x80, 0]);
    guest.run(&[ccw(0x04, SLI, 32, DATA)]);
    assert_eq!(guest.load::<2>(DATA), [0, 0]);
}

#[test]
fn concurrent_sense_comes_with_the_status() {
    let guest = Guest::new();
    let mut modified = schib(0x1880);
    modified[27] = 1;
    assert_eq!(guest.msch(modified), Effect::ConditionCode(Cc0));
    guest.program(&[ccw(0xf1, 0, 4, DATA)]);
    guest.ssch(FORMAT_1);
    let (code, irb) = guest.tsch();
    assert_eq!(code, Cc0);
    assert_eq!(irb.scsw().flags & 2, 2, "extended control");
    assert_eq!(irb.0[12..20], [0, 0x80, 0, 0, 1, 0x20, 0, 0]);
    assert_eq!(irb.0[32..34], [0x80, 0]);
    guest.run(&[ccw(0x04, SLI, 32, DATA)]);
    assert_eq!(guest.load::<1>(DATA), [0], "it was not kept as well");
}

#[test]
fn unit_exception_ends_the_program() {
    let guest = Guest::new();
    let status = guest.run(&[
        ccw(Toy::UNIT_EXCEPTION, CC, 0, 0),
        ccw(Toy::CONTROL, 0, 0, 0),
    ]);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END | 1);
    assert_eq!(status.control, START | ENDING);
    assert_eq!(guest.toy.commands(), [Toy::UNIT_EXCEPTION]);
}

#[track_caller]
fn is_program_check(guest: &Guest, words: &[[u8; 8]], at: u32) {
    let status = guest.run(words);
    assert_eq!(status.subchannel, PROGRAM_CHECK);
    assert_eq!(status.control, START | ENDING | ALERT);
    assert_eq!(status.address, at + 8);
}

#[test]
fn words_that_cannot_be() {
    let guest = Guest::new();
    for word in [
        tic(PROGRAM),
        ccw(0x00, 0, 1, DATA),
        ccw(0x70, 0, 1, DATA),
        ccw(Toy::WRITE, CD, 0, DATA),
        ccw(Toy::WRITE, 0, 1, 0x8000_0000),
        ccw(Toy::WRITE, SUSPEND, 1, DATA),
        ccw(Toy::WRITE, MIDA, 1, DATA),
    ] {
        is_program_check(&guest, &[word], PROGRAM);
    }
    assert!(
        guest.toy.commands().is_empty(),
        "nothing reached the device"
    );
}

#[test]
fn words_that_cannot_be_after_one_that_can() {
    let guest = Guest::new();
    let first = ccw(Toy::CONTROL, CC, 0, 0);
    is_program_check(&guest, &[first, ccw(0x10, 0, 0, 0)], PROGRAM + 8);
    is_program_check(&guest, &[first, tic(PROGRAM + 4)], PROGRAM + 4);
    is_program_check(&guest, &[first, tic(END)], END);
    is_program_check(&guest, &[first, tic(0x8000_0000)], 0x8000_0000);
    is_program_check(&guest, &[first, ccw(0x08, CC, 0, PROGRAM)], PROGRAM + 8);
    is_program_check(&guest, &[first, ccw(0x38, 0, 0, PROGRAM)], PROGRAM + 8);
    let two = [first, tic(PROGRAM + 16), tic(PROGRAM)];
    is_program_check(&guest, &two, PROGRAM + 16);
}

#[test]
fn chained_data_that_cannot_be() {
    let guest = Guest::new();
    let first = ccw(Toy::WRITE, CD, 1, DATA);
    for (second, at) in [
        (ccw(0, 0, 0, DATA), PROGRAM + 8),
        (ccw(0, 0, 1, 0x8000_0000), PROGRAM + 8),
        (tic(END), END),
    ] {
        is_program_check(&guest, &[first, second], at);
    }
    assert_eq!(guest.toy.commands().len(), 3);
}

#[test]
fn programs_that_are_nowhere() {
    let guest = Guest::new();
    for at in [PROGRAM + 4, END, END - 4, 0x7fff_fff8] {
        assert_eq!(guest.ssch_at(FORMAT_1, at), Cc0);
        let status = guest.fetch();
        assert_eq!(status.subchannel, PROGRAM_CHECK);
        assert_eq!(status.address, at + 8);
    }
    assert_eq!(guest.ssch_at(FORMAT_0, 1 << 24), Cc0);
    assert_eq!(guest.fetch().subchannel, PROGRAM_CHECK);
}

#[test]
fn data_that_is_nowhere_is_transferred_as_far_as_it_goes() {
    let guest = Guest::new();
    guest.store(END - 3, b"end");
    let status = guest.run(&[ccw(Toy::WRITE, CC, 8, END - 3)]);
    assert_eq!(status.subchannel, PROGRAM_CHECK);
    assert_eq!(status.device, CHANNEL_AND_DEVICE_END);
    assert_eq!(status.count, 5);
    assert_eq!(guest.written(), b"end");
    guest.set_readable(b"12345678");
    let status = guest.run(&[ccw(Toy::READ, SLI, 8, END - 2)]);
    assert_eq!((status.subchannel, status.count), (PROGRAM_CHECK, 6));
    assert_eq!(&guest.load::<2>(END - 2), b"12");
}

#[test]
fn loops_end() {
    let guest = Guest::new();
    let endless: [&[[u8; 8]]; 3] = [
        &[ccw(Toy::CONTROL, CC, 0, 0), tic(PROGRAM)],
        &[ccw(0x03, CC | SLI, 1, 0), tic(PROGRAM)],
        &[ccw(Toy::WRITE, CD, 1, DATA), tic(PROGRAM)],
    ];
    for words in endless {
        let status = guest.run(words);
        assert_eq!(status.subchannel, CHANNEL_CONTROL_CHECK);
        assert_eq!(status.control, START | ENDING | ALERT);
    }
    guest.program(endless[0]);
    guest.ssch(FORMAT_1);
    let (_, irb) = guest.tsch();
    assert_eq!(irb.scsw().flags & 0x0400, 0x0400, "subchannel logout");
    assert_eq!(irb.0[12..16], [0, 0x80, 0x40, 0]);
}
