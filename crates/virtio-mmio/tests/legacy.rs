//! The legacy interface (version 1).

mod support;

use support::*;
use virtio_device::vm_memory::{Bytes, GuestAddress};

const PAGE: u32 = 4096;

/// Programs queue 0 with 8 descriptors at page `pfn`, as Linux does.
fn set_up(board: &Board, pfn: u32) {
    board.write(QUEUE_SEL, 0);
    assert_eq!(board.read(QUEUE_PFN), 0, "in use");
    assert_eq!(board.read(QUEUE_SIZE_MAX), 8);
    board.write(QUEUE_SIZE, 8);
    board.write(QUEUE_ALIGN, PAGE);
    board.write(QUEUE_PFN, pfn);
}

fn start(board: &Board, pfn: u32) {
    for status in [0, 1, 3] {
        board.write(STATUS, status);
    }
    board.write(DRIVER_FEATURES, 1);
    set_up(board, pfn);
    board.write(STATUS, 7);
}

/// One writable byte, available in a ring at `base` that lies as section 2.7.2 has it.
fn offer(board: &Board, base: u64) {
    board.poke(base, &0x8_0000u64.to_le_bytes());
    board.poke(base + 8, &[1, 0, 0, 0, 2, 0, 0, 0]);
    board.poke(base + 16 * 8 + 2, &1u16.to_le_bytes());
}

fn used(board: &Board, base: u64) -> u16 {
    let device = base + u64::from(PAGE);
    board
        .memory
        .read_obj(GuestAddress(device + 2))
        .expect("used ring")
}

#[test]
fn a_buffer_goes_round() {
    let board = Board::legacy();
    board.write(GUEST_PAGE_SIZE, PAGE);
    start(&board, 16);
    assert_eq!((board.read(STATUS), board.read(QUEUE_PFN)), (7, 16));
    offer(&board, 0x1_0000);
    board.notify(0);
    assert_eq!(
        (used(&board, 0x1_0000), board.read(INTERRUPT_STATUS)),
        (1, 1)
    );
}

#[test]
fn only_the_lower_32_features_exist() {
    let board = Board::legacy();
    let offered = board.offered();
    assert_eq!(offered >> 32, 0);
    assert_eq!(offered & (1 << 27), 1 << 27, "ANY_LAYOUT");
}

#[test]
fn a_driver_gets_what_there_is_of_what_it_asks() {
    let board = Board::legacy();
    board.write(STATUS, 3);
    board.accept(u64::MAX);
    board.write(STATUS, 7);
    assert_eq!(board.read(STATUS), 3, "VERSION_1 is not a legacy driver's");
    board.accept(u64::from(u32::MAX));
    board.write(STATUS, 7);
    assert_eq!(board.read(STATUS), 7);
}

#[test]
fn the_page_size_outlives_the_drivers_reset() {
    let board = Board::legacy();
    board.write(GUEST_PAGE_SIZE, 0x1_0000);
    board.write(GUEST_PAGE_SIZE, 3);
    start(&board, 1);
    offer(&board, 0x1_0000);
    board.notify(0);
    assert_eq!(used(&board, 0x1_0000), 1);
    board.transport.reset();
    board.write(QUEUE_SEL, 0);
    board.write(QUEUE_PFN, 16);
    let state = board.transport.save().expect("off");
    assert_eq!(
        (state.guest_page_size, state.core.queues[0].descriptor),
        (4096, 0x1_0000)
    );
}

#[test]
fn page_0_takes_a_queue_away() {
    let board = Board::legacy();
    start(&board, 16);
    board.write(QUEUE_PFN, 0);
    assert_eq!((board.read(QUEUE_PFN), board.read(STATUS)), (0, 7));
    offer(&board, 0x1_0000);
    board.notify(0);
    assert_eq!((used(&board, 0x1_0000), board.served()), (0, 0));
}

#[test]
fn bug_30_a_running_queue_does_not_move() {
    let board = Board::legacy();
    start(&board, 16);
    for register in [QUEUE_SIZE, QUEUE_ALIGN, QUEUE_PFN] {
        board.write(register, 32);
    }
    assert_eq!(board.read(QUEUE_PFN), 16);
    offer(&board, 0x1_0000);
    board.notify(0);
    assert_eq!(used(&board, 0x1_0000), 1);
}

#[test]
fn bug_31_selectors_past_the_last_queue() {
    let board = Board::legacy();
    for select in [2, 0xffff, 0x1_0000, u32::MAX] {
        board.write(QUEUE_SEL, select);
        for register in [QUEUE_SIZE, QUEUE_ALIGN, QUEUE_PFN] {
            board.write(register, 16);
        }
        assert_eq!((board.read(QUEUE_PFN), board.read(QUEUE_SIZE_MAX)), (0, 0));
    }
}

#[test]
fn bug_35_reset_takes_the_queues_away() {
    let board = Board::legacy();
    let fresh = board.transport.save().expect("fresh");
    start(&board, 16);
    board.write(STATUS, 0);
    assert_eq!(board.read(STATUS), 0);
    assert_eq!(board.transport.save().expect("reset"), fresh);
}

#[test]
fn bug_36_a_queue_outside_memory_only_needs_a_reset() {
    for (pfn, align) in [(u32::MAX, PAGE), (16, 0), (16, 1), (16, u32::MAX)] {
        let board = Board::legacy();
        board.write(GUEST_PAGE_SIZE, 1 << 31);
        board.write(GUEST_PAGE_SIZE, PAGE);
        board.write(STATUS, 3);
        board.write(QUEUE_ALIGN, align);
        board.write(QUEUE_PFN, pfn);
        board.write(STATUS, 7);
        board.notify(0);
        board.write(STATUS, 0);
        assert_eq!(board.read(STATUS), 0);
    }
}
