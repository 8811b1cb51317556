//! Task management and events.

mod common;

use common::*;
use testkit::TestBus;

fn buffer(bus: &mut TestBus) -> testkit::Request {
    let request = bus.submit(EVENT, &[], &[16]);
    bus.notify(EVENT);
    bus.run();
    request
}

/// What an event buffer says, which must be the next that is used.
fn told(bus: &mut TestBus, buffer: &testkit::Request) -> Option<testkit::Response> {
    let used = bus.queue(EVENT).collect()?;
    assert_eq!(used.id, buffer.id);
    Some(bus.response(buffer, used))
}

#[test]
fn functions_say_what_they_have_come_to() {
    let (mut bus, _) = ready(&image());
    let unit = lun_field(1, 0);
    for (function, response) in [
        (0, OK),
        (1, OK),
        (2, REJECTED),
        (3, OK),
        (6, OK),
        (7, OK),
        (8, REJECTED),
        (u32::MAX, REJECTED),
    ] {
        assert_eq!(manage(&mut bus, function, unit, 9), response, "{function}");
    }
    assert_eq!(manage(&mut bus, 5, lun_field(2, 0), 0), BAD_TARGET);
    assert_eq!(manage(&mut bus, 5, lun_field(1, 1), 0), INCORRECT_LUN);
    assert_eq!(manage(&mut bus, 5, [9; 8], 0), BAD_TARGET);
}

/// Firmware uses one request queue of many.
#[test]
fn functions_end_where_not_all_queues_are_used() {
    use virtio_scsi::virtio_device::Features;
    let scsi = virtio_scsi::Scsi::new(&virtio_scsi::ScsiProps::default().num_queues(4)).unwrap();
    scsi.handle().add(at(1, 0), disk(&image())).unwrap();
    let mut bus = TestBus::new(scsi);
    assert!(bus.negotiate(Features::VERSION_1));
    (CONTROL..=REQUEST).for_each(|queue| bus.set_up_queue(queue, 16));
    bus.driver_ok();
    settle(&mut bus, 1, 0);
    assert_eq!(manage(&mut bus, 1, lun_field(1, 0), 0), OK);
    assert_eq!(manage(&mut bus, 5, lun_field(1, 0), 0), OK);
    assert_eq!(command(&mut bus, &[0; 6], &[], 0).refused(), (6, 0x2903));
}

#[test]
fn resets_are_told_by_unit_attentions() {
    let (mut bus, handle) = ready(&image());
    handle.add(at(1, 1), disk(&image())).unwrap();
    settle(&mut bus, 1, 0);
    settle(&mut bus, 1, 1);
    assert_eq!(manage(&mut bus, 5, lun_field(1, 0), 0), OK);
    assert_eq!(command(&mut bus, &[0; 6], &[], 0).refused(), (6, 0x2903));
    command_to(&mut bus, 1, 1, &[0; 6], &[], 0).good();
    // Of the whole target, whichever unit is named.
    assert_eq!(manage(&mut bus, 4, lun_field(1, 7), 0), OK);
    for lun in 0..2 {
        let answer = command_to(&mut bus, 1, lun, &[0; 6], &[], 0);
        assert_eq!(answer.refused(), (6, 0x2907));
    }
}

#[test]
fn asynchronous_notifications_are_none() {
    let (mut bus, _) = ready(&image());
    for kind in [1_u32, 2] {
        let mut request = kind.to_le_bytes().to_vec();
        request.extend(lun_field(1, 0));
        request.extend([0xff; 4]);
        let answer = bus.request(CONTROL, &[&request], &[5]);
        assert_eq!((answer.len, answer.bytes), (5, vec![0; 5]));
    }
    let answer = bus.request(CONTROL, &[&99_u32.to_le_bytes()], &[1]);
    assert_eq!(answer.bytes, [FAILURE]);
    assert_eq!(bus.request(CONTROL, &[&[0]], &[1]).bytes, [FAILURE]);
}

#[test]
fn units_that_come_go_and_change_are_told() {
    let (mut bus, handle) = ready(&image());
    let (first, second, third) = (buffer(&mut bus), buffer(&mut bus), buffer(&mut bus));
    let place = handle.add(at(3, 300), disk(&image())).unwrap();
    assert_eq!(place, address(3, 300));
    bus.run();
    let event = told(&mut bus, &first).expect("an event");
    assert_eq!(
        event.bytes,
        [1, 0, 0, 0, 1, 3, 0x41, 44, 0, 0, 0, 0, 1, 0, 0, 0]
    );
    handle.resize(address(1, 0), 512 * 1024).unwrap();
    bus.run();
    let event = told(&mut bus, &second).expect("an event");
    assert_eq!(
        event.bytes,
        [3, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0x2a, 9, 0, 0]
    );
    assert!(handle.remove(place));
    assert!(!handle.remove(place));
    bus.run();
    let event = told(&mut bus, &third).expect("an event");
    assert_eq!(event.bytes[12], 2);
    assert_eq!(event.len, 16);
    let answer = command(&mut bus, &[0; 6], &[], 0);
    assert_eq!(answer.refused(), (6, 0x2a09));
    let answer = command_to(&mut bus, 3, 300, &[0; 6], &[], 0);
    assert_eq!(answer.response, BAD_TARGET);
}

#[test]
fn a_driver_without_buffers_hears_what_it_has_missed() {
    let (mut bus, handle) = ready(&image());
    for _ in 0..70 {
        let place = handle.add(at(9, 0), disk(&image())).unwrap();
        handle.remove(place);
    }
    bus.run();
    let first = buffer(&mut bus);
    let event = told(&mut bus, &first).expect("an event");
    assert_eq!(event.bytes[..4], [1, 0, 0, 0x80], "some events were missed");
    for _ in 1..64 {
        let next = buffer(&mut bus);
        assert_eq!(
            told(&mut bus, &next).expect("an event").bytes[..4],
            [1, 0, 0, 0]
        );
    }
    // A buffer that is too short costs an event.
    handle.add(at(9, 0), disk(&image())).unwrap();
    let short = bus.request(EVENT, &[], &[15]);
    assert_eq!(short.len, 0);
    let last = buffer(&mut bus);
    assert_eq!(
        told(&mut bus, &last).expect("an event").bytes[..4],
        [0, 0, 0, 0x80]
    );
}

#[test]
fn without_the_features_nothing_is_told() {
    use virtio_scsi::virtio_device::Features;
    let (scsi, handle) = device(&image());
    let mut bus = TestBus::new(scsi);
    bus.boot(Features::VERSION_1);
    let given = buffer(&mut bus);
    handle.add(at(3, 0), disk(&image())).unwrap();
    handle.resize(address(1, 0), 512).unwrap();
    handle.remove(address(3, 0));
    bus.run();
    assert!(told(&mut bus, &given).is_none());
}

#[test]
fn addresses_are_given_once() {
    let (_, handle) = device(&image());
    assert!(handle.add(at(1, 0), disk(&image())).is_err());
    let any = |target, lun| virtio_scsi::Wish { target, lun };
    let first = handle.add(any(None, None), disk(&image())).unwrap();
    assert_eq!(first, address(0, 0));
    let next = handle.add(any(Some(1), None), disk(&image())).unwrap();
    assert_eq!(next, address(1, 1));
    let last = handle.add(at(255, 16383), disk(&image())).unwrap();
    assert_eq!(last.encode(), [1, 255, 0x7f, 0xff, 0, 0, 0, 0]);
}

#[test]
fn a_unit_that_is_removed_lets_go_of_its_image() {
    let file = image();
    let (mut bus, handle) = ready(&file);
    command(&mut bus, &read10(0, 1), &[], 512).good();
    let unit = handle.unit(address(1, 0)).unwrap();
    assert!(handle.remove(address(1, 0)));
    bus.run();
    assert_eq!(std::sync::Arc::strong_count(&unit), 1, "nobody else has it");
}
