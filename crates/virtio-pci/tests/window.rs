//! The window from configuration space into the BARs (PCI_CFG).

mod support;

use support::*;
use virtio_pci::vm_pci::PciFunction;

#[test]
fn bug_34_the_window_reaches_every_bar() {
    let board = Board::new();
    board.aim(4, 0x12, 2);
    assert_eq!(board.look(2), 2, "num_queues");
    board.aim(4, 0x14, 1);
    let _ = board.transport.write_config(WINDOW + 16, &[3]);
    assert_eq!(board.status(), 3);
    board.aim(4, DEVICE as u32, 4);
    assert_eq!(board.look(4), u32::from_le_bytes(*b"a to"));
    board.aim(0, 0x0c, 2);
    assert_eq!(board.look(2), 8, "legacy queue size");
    board.aim(1, 0x0c, 4);
    assert_eq!(board.look(4), 1, "vector 0 is masked");
}

#[test]
fn bug_34_the_window_stays_inside_its_bar() {
    let board = Board::new();
    board.set_common(QUEUE_SELECT, 1);
    for (bar, offset, length) in [
        (4, 0x4000, 4),
        (4, 0x3ffe, 4),
        (4, u32::MAX, 1),
        (4, 0x15, 2),
        (4, 0x10, 0),
        (4, 0x10, 3),
        (4, 0x10, 8),
        (4, 0x10, u32::MAX),
        (3, 0, 4),
        (5, 0, 4),
        (6, 0, 4),
        (255, 0, 4),
    ] {
        board.aim(bar, offset, length);
        let _ = board.transport.write_config(WINDOW + 16, &[0xa5; 4]);
        assert_eq!(board.look(4), 0xa5a5_a5a5, "{bar} {offset:#x} {length}");
    }
    assert_eq!(board.common(QUEUE_SELECT), 1);
    assert_eq!(board.status(), 0);
}

#[test]
fn bug_34_a_forged_window_cannot_aim_at_itself() {
    let board = Board::new();
    board.aim(4, 0x14, 1);
    let mut all = [0; 0x100];
    board.transport.read_config(0, &mut all);
    let _ = board.transport.write_config(0, &all);
    let _ = board.transport.write_config(WINDOW, &[0xff; 20]);
    assert_eq!(board.status(), 0);
}
