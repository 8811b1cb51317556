//! What only a device of the host can say of zones.

use super::*;

const LAYOUT: ZoneLayout = ZoneLayout {
    size: 4096,
    capacity: 3072,
    conventional: 0,
    max_open: 1,
    max_active: 1,
};

/// Two zones, the first of which is said to be in `state` with 1024 bytes.
fn table(state: ZoneState) -> Table {
    let mut table = Table::new(LAYOUT, 2 * 4096);
    let zone = Zone {
        start: 0,
        capacity: 3072,
        write_pointer: 1024,
        state,
    };
    table.put(0, zone);
    table.put(2, zone);
    table
}

fn bytes(offset: u64, len: u64) -> FileRange {
    FileRange::new(offset, len).unwrap()
}

#[test]
fn what_the_device_says_of_a_zone_counts() {
    let mut table = table(ZoneState::ExplicitlyOpen);
    assert_eq!(table.zone(0).write_pointer, 1024);
    assert_eq!(table.readable(bytes(0, 3072)).unwrap(), 1024);
    let second = table.write(bytes(4096, 512));
    assert!(matches!(second, Err(ZoneError::ActiveLimit)), "one is open");
    table.write(bytes(1024, 2048)).unwrap();
    assert_eq!(table.zone(0).state, ZoneState::Full);
    table.write(bytes(4096, 512)).unwrap();
}

#[test]
fn zones_that_have_failed_are_left_alone() {
    for state in [ZoneState::ReadOnly, ZoneState::Offline] {
        let mut table = table(state);
        let invalid = |done| matches!(done, Err(ZoneError::Invalid));
        assert!(invalid(table.write(bytes(1024, 512))));
        assert!(invalid(table.append(0, 512).map(drop)));
        for action in [
            ZoneAction::Open,
            ZoneAction::Close,
            ZoneAction::Finish,
            ZoneAction::Reset,
        ] {
            assert!(invalid(table.act(action, 0)), "{state:?}: {action:?}");
        }
        let readable = table.readable(bytes(0, 512));
        assert_eq!(readable.is_ok(), state == ZoneState::ReadOnly);
        assert_eq!(table.zone(0).state, state);
        table.write(bytes(4096, 512)).unwrap();
    }
}

#[test]
fn the_last_zone_may_be_smaller_than_the_others() {
    let size = 2 * 4096 + 2048;
    let mut zones = Zones::new(LAYOUT, size, None).unwrap();
    assert_eq!(zones.count(), 3);
    let last = zones.zone(2).unwrap();
    assert_eq!((last.start, last.capacity), (8192, 2048));
    let beyond = zones.write(bytes(8192, 2560));
    assert!(matches!(beyond, Err(ZoneError::Invalid)));
    zones.write(bytes(8192, 2048)).unwrap();
    assert_eq!(zones.zone(2).unwrap().state, ZoneState::Full);
    let saved = zones.save();
    let reset = zones.act(ZoneAction::Reset, 8192).unwrap();
    assert_eq!(reset, Some(bytes(8192, 2048)));
    assert_eq!(zones.reset_all().unwrap(), Some(bytes(0, size)));
    zones.restore(&saved).unwrap();
    assert_eq!(zones.zone(2).unwrap().state, ZoneState::Full);

    let smaller = Zones::new(LAYOUT, size - 512, None).unwrap();
    assert!(
        smaller.restore(&saved).is_err(),
        "more is written than it has"
    );
    zones = Zones::new(
        ZoneLayout {
            conventional: 3,
            ..LAYOUT
        },
        size,
        None,
    )
    .unwrap();
    assert_eq!(zones.zone(2).unwrap().capacity, 2048);
    assert!(Zones::new(LAYOUT, size + 1, None).is_err());
}
