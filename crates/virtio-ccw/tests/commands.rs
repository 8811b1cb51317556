//! Every command of the channel I/O chapter, its lengths, and when it is rejected.

mod machine;

use machine::*;
use testkit::channel::{Ccw, Status as Ending};
use virtio_bus::Status;
use virtio_ccw::CcwProps;
use virtio_device::Features;
use virtio_rng::{HostRandom, Rng, RngProps};

fn rng() -> Rng<HostRandom> {
    Rng::new(&RngProps::default(), HostRandom).expect("an entropy device")
}

fn toy(queues: usize) -> Toy {
    Toy::new(queues, &[&[0]]).0
}

fn limited(max_revision: u32) -> Options {
    Options {
        props: CcwProps::default().max_revision(max_revision),
        ..Options::default()
    }
}

/// A machine whose driver has selected revision 2.
fn machine() -> Machine {
    let machine = Machine::new(toy(2));
    machine.select(2);
    machine
}

#[test]
fn sense_id_names_the_device() {
    let machine = Machine::new(rng());
    let mut id = [0xee; 7];
    assert!(machine.channel.command(0xe4, 0, &mut id).is_good());
    assert_eq!(id, [0xff, 0x38, 0x32, 4, 0, 0, 0]);
}

#[test]
fn a_revision_is_selected_once_until_the_subchannel_is_disabled() {
    let machine = Machine::new(rng());
    for unknown in [3_u16, 0x100, u16::MAX] {
        let [a, b] = unknown.to_be_bytes();
        assert!(machine.rejects(SET_VIRTIO_REV, [a, b, 0, 0]), "{unknown}");
    }
    machine.select(2);
    for again in 0..3 {
        assert!(machine.rejects(SET_VIRTIO_REV, [0, again, 0, 0]));
    }
    machine.command(VDEV_RESET, []);
    assert!(
        machine.rejects(SET_VIRTIO_REV, [0, 1, 0, 0]),
        "no reset of the revision"
    );
    machine.channel.disable();
    machine.channel.enable();
    machine.select(1);
}

#[test]
fn a_revision_with_data_of_another_length_is_rejected() {
    let machine = Machine::new(rng());
    assert!(machine.rejects(SET_VIRTIO_REV, [0, 2, 0, 1]));
    assert!(machine.rejects(SET_VIRTIO_REV, [0, 2, 0, 1, 0]));
    assert!(machine.rejects(SET_VIRTIO_REV, [0, 2, 0]));
    machine.select(2);
}

#[test]
fn max_revision_limits_what_is_offered() {
    for max in 0..=2 {
        let machine = Machine::with(rng(), limited(max));
        for revision in (max as u8 + 1..4).rev() {
            assert!(machine.rejects(SET_VIRTIO_REV, [0, revision, 0, 0]));
        }
        machine.select(max as u16);
    }
}

/// The toy's device ID is none of those that a legacy interface exists for.
#[test]
fn a_device_without_a_legacy_interface_rejects_revision_0() {
    let machine = Machine::new(toy(1));
    assert!(machine.rejects(SET_VIRTIO_REV, [0, 0, 0, 0]));
    assert!(machine.rejects(READ_FEAT, [0; 5]), "a legacy driver");
    assert!(machine.rejects(VDEV_RESET, []));
    machine.select(1);
}

#[test]
fn a_driver_that_selects_no_revision_is_a_legacy_one() {
    let machine = Machine::new(rng());
    machine.command(VDEV_RESET, []);
    assert!(machine.rejects(SET_VIRTIO_REV, [0, 2, 0, 0]));
    assert!(machine.rejects(READ_STATUS, [0]));
    let [_, _, _, high, _] = machine.command(READ_FEAT, [0; 5]);
    assert_ne!(high & 1 << 3, 0, "ANY_LAYOUT is for it");
    assert_eq!(machine.command(READ_FEAT, [0, 0, 0, 0, 1]), [0, 0, 0, 0, 1]);
}

#[test]
fn commands_of_later_revisions_are_rejected() {
    for (revision, rejected) in [(0, true), (1, true), (2, false)] {
        let machine = Machine::new(rng());
        machine.select(revision);
        assert_eq!(machine.rejects(READ_STATUS, [0]), rejected, "{revision}");
    }
}

#[test]
fn commands_that_are_not_virtios_are_rejected() {
    let known = [
        SET_VQ,
        VDEV_RESET,
        SET_IND,
        SET_CONF_IND,
        SET_IND_ADAPTER,
        READ_FEAT,
        WRITE_FEAT,
        READ_CONF,
        WRITE_CONF,
        WRITE_STATUS,
        READ_VQ_CONF,
        SET_VIRTIO_REV,
        READ_STATUS,
    ];
    // NO-OPERATION, SENSE, SENSE ID; low nibbles of 0 and 8 are no commands or TRANSFER IN CHANNEL.
    let channel = |code: u8| [0x03, 0x04, 0xe4].contains(&code) || code & 7 == 0;
    let machine = machine();
    for code in 0..=255 {
        if !known.contains(&code) && !channel(code) {
            assert!(machine.rejects(code, [0; 4]), "{code:02x}");
        }
    }
}

/// Section 4.3.1.3: too short is an error in any case; too long is one unless suppressed.
#[test]
fn lengths_are_checked_unless_that_is_suppressed() {
    let commands: &[(u8, &[u8])] = &[
        (READ_FEAT, &[0, 0, 0, 0, 0]),
        (WRITE_FEAT, &[0, 0, 0, 0, 0]),
        (READ_VQ_CONF, &[0, 0, 0, 0]),
        (READ_STATUS, &[0]),
        (WRITE_STATUS, &[0]),
        (SET_CONF_IND, &CONFIG_INDICATORS.to_be_bytes()),
        (SET_IND, &INDICATORS.to_be_bytes()),
        (SET_VQ, &[0; 32]),
    ];
    let machine = machine();
    for &(command, data) in commands {
        let run = |flags, len: usize| {
            let mut buffer = [0; 40];
            buffer[..data.len()].copy_from_slice(data);
            machine.channel.command(command, flags, &mut buffer[..len])
        };
        assert!(run(0, data.len()).is_good(), "{command:02x}");
        assert!(run(Ccw::SLI, data.len()).is_good(), "{command:02x}");
        let long = run(0, data.len() + 3);
        assert_eq!(
            (long.subchannel, long.residual),
            (Ending::INCORRECT_LENGTH, 3),
            "{command:02x}"
        );
        let long = run(Ccw::SLI, data.len() + 3);
        assert_eq!(
            (long.device, long.subchannel),
            (Ending::END, 0),
            "{command:02x}"
        );
        assert_eq!(long.residual, 3, "{command:02x}");
        if data.len() > 1 {
            let short = run(0, data.len() - 1);
            assert_ne!(
                short.subchannel & Ending::INCORRECT_LENGTH,
                0,
                "{command:02x}"
            );
            let short = run(Ccw::SLI, data.len() - 1);
            assert_ne!(short.device & Ending::UNIT_CHECK, 0, "{command:02x}");
        }
    }
}

#[test]
fn the_status_is_set_whole_or_rejected_and_left() {
    let machine = machine();
    let driver = Status::ACKNOWLEDGE | Status::DRIVER;
    machine.write_status(Status::ACKNOWLEDGE);
    assert_eq!(machine.status(), Status::ACKNOWLEDGE);
    machine.write_status(driver);
    // Without VERSION_1, with a bit that was not offered, with a bit that does not exist.
    for (features, status) in [
        (Features::NONE, SETTLED),
        (Features::VERSION_1 | Features::bit(100), SETTLED),
        (Features::VERSION_1, driver | Status::DRIVER_OK),
        (Features::VERSION_1, driver | Status(16)),
        (Features::VERSION_1, Status::ACKNOWLEDGE),
    ] {
        machine.write_features(features);
        assert!(
            machine.rejects(WRITE_STATUS, [status.0]),
            "{features:?} {status:?}"
        );
        assert_eq!(machine.status(), driver);
    }
    machine.write_features(Features::VERSION_1);
    machine.write_status(SETTLED);
    assert_eq!(machine.status(), SETTLED);
    machine.write_status(Status::RESET);
    assert_eq!(machine.status(), Status::RESET);
}

#[test]
fn features_are_shown_by_revision() {
    let offer = |revision| {
        let machine = Machine::new(rng());
        machine.select(revision);
        machine.offered()
    };
    let ring = Features::INDIRECT_DESC | Features::EVENT_IDX;
    assert_eq!(offer(0), ring | Features::ANY_LAYOUT);
    let modern = ring | Features::VERSION_1 | Features::RING_PACKED;
    assert_eq!((offer(1), offer(2)), (modern, modern));
}

/// Section 4.3.4: reserved for future use over channel I/O.
#[test]
fn what_the_transport_has_no_words_for_is_not_offered() {
    let reserved = Features::RING_RESET | Features::ADMIN_VQ | Features::NOTIFICATION_DATA;
    let options = Options {
        features: Options::default().features | reserved,
        ..Options::default()
    };
    let machine = Machine::with(rng(), options);
    machine.select(2);
    assert!(!machine.offered().intersects(reserved));
}

/// A modern driver is not shown ANY_LAYOUT, so it cannot choose it.
#[test]
fn a_modern_driver_cannot_choose_what_it_is_not_shown() {
    let machine = Machine::new(rng());
    machine.select(2);
    machine.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
    machine.write_features(Features::VERSION_1 | Features::ANY_LAYOUT);
    assert!(machine.rejects(WRITE_STATUS, [SETTLED.0]));
    machine.write_features(Features::VERSION_1);
    machine.write_status(SETTLED);
}

#[test]
fn the_configuration_is_read_and_written_from_its_start() {
    let machine = machine();
    assert_eq!(machine.command(READ_CONF, [0; 4]), [1, 2, 3, 4]);
    assert_eq!(machine.command(READ_CONF, [0; 2]), [1, 2]);
    machine.command(WRITE_CONF, [1, 9]);
    assert_eq!(machine.command(READ_CONF, [0; 4]), [1, 9, 3, 4]);
    let mut long = [0xee; 6];
    let status = machine.channel.command(READ_CONF, Ccw::SLI, &mut long);
    assert!(status.is_good() && status.residual == 2);
    assert_eq!(long, [1, 9, 3, 4, 0xee, 0xee]);
    let status = machine.channel.command(READ_CONF, 0, &mut long);
    assert_eq!(status.subchannel, Ending::INCORRECT_LENGTH);
}

#[test]
fn queues_are_described_and_set() {
    let mut machine = machine();
    let sizes = [0, 1, 2, 0x8000, u16::MAX].map(|queue| machine.queue_size(queue));
    assert_eq!(sizes, [16, 16, 0, 0, 0]);
    machine.channel.disable();
    machine.channel.enable();
    machine.boot(2, Features::VERSION_1);
    assert_eq!(machine.request(0, b"over channel I/O", 20), 16);
}

#[test]
fn queues_that_cannot_be_are_rejected() {
    let mut machine = machine();
    let space = machine.space();
    let ring = testkit::DriverQueue::new(space, machine.heap.clone(), 16, Features::VERSION_1);
    let good = vq_info(0, ring.config());
    let with = |at: usize, value: u16| {
        let mut info = good;
        info[at..at + 2].copy_from_slice(&value.to_be_bytes());
        info
    };
    machine.command(SET_VQ, good);
    machine.command(SET_VQ, with(14, 8));
    for wrong in [
        with(12, 2),
        with(12, u16::MAX),
        with(14, 0),
        with(14, 17),
        with(14, u16::MAX),
    ] {
        assert!(machine.rejects(SET_VQ, wrong), "{wrong:02x?}");
    }
    // Taken back, whatever else it says.
    machine.command(SET_VQ, [0; 32]);
    drop(ring);
    machine.channel.disable();
    machine.channel.enable();
    machine.boot(2, Features::VERSION_1);
    assert!(machine.rejects(SET_VQ, good), "it runs");
    assert!(machine.rejects(SET_VQ, [0; 32]));
    assert_eq!(machine.request(0, b"x", 4), 1);
}

#[test]
fn the_two_kinds_of_indicators_exclude_one_another() {
    let machine = machine();
    let two_stage = thinint(0x200, 0x300, 7, 3);
    machine.command(SET_IND, INDICATORS.to_be_bytes());
    assert!(machine.rejects(SET_IND_ADAPTER, two_stage));
    machine.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
    machine.command(VDEV_RESET, []);
    machine.command(SET_IND_ADAPTER, two_stage);
    assert!(machine.rejects(SET_IND, INDICATORS.to_be_bytes()));
    machine.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
    // As Linux takes them back.
    machine.command(SET_IND_ADAPTER, thinint(0x200, 0, 0, 3));
    machine.command(SET_IND, INDICATORS.to_be_bytes());
    machine.command(SET_IND, [0; 8]);
    machine.command(SET_IND_ADAPTER, two_stage);
}

#[test]
fn a_host_without_adapter_interrupts_offers_classic_ones() {
    let options = Options {
        props: CcwProps::default().adapter_interrupts(false),
        ..Options::default()
    };
    let machine = Machine::with(toy(1), options);
    machine.select(2);
    assert!(machine.rejects(SET_IND_ADAPTER, thinint(0x200, 0x300, 7, 3)));
    machine.command(SET_IND, INDICATORS.to_be_bytes());
}

#[test]
fn indicators_that_cannot_be_set_are_rejected() {
    let machine = machine();
    let beyond = testkit::END;
    assert!(machine.rejects(SET_IND, beyond.to_be_bytes()));
    assert!(machine.rejects(SET_IND, (beyond - 7).to_be_bytes()));
    assert!(machine.rejects(SET_CONF_IND, u64::MAX.to_be_bytes()));
    for wrong in [
        thinint(beyond, 0x300, 0, 3),
        thinint(0x200, beyond, 0, 3),
        thinint(0x200, beyond - 1, 7, 3),
        thinint(0x200, 0x300, u64::MAX, 3),
        thinint(0x200, 0x300, 0, 8),
    ] {
        assert!(machine.rejects(SET_IND_ADAPTER, wrong), "{wrong:02x?}");
    }
    let many = Machine::new(toy(65));
    many.select(2);
    assert!(many.rejects(SET_IND, INDICATORS.to_be_bytes()), "64 bits");
    many.command(SET_IND_ADAPTER, thinint(0x200, 0x300, 3, 3));
}

#[test]
fn notifications_are_answered() {
    let mut machine = Machine::new(toy(2));
    for (queue, answer) in [(0, 0), (1, 0), (2, -22), (u64::MAX, -22), (1 << 32, -22)] {
        for cookie in [0, 1, u64::MAX] {
            assert_eq!(machine.channel.notify(queue, cookie), answer, "{queue}");
        }
    }
    assert!(!machine.run(), "nothing is served before DRIVER_OK");
    machine.boot(2, Features::VERSION_1);
    assert_eq!(machine.request(0, b"cookie", 8), 6);
}

/// Section 4.3.3.2.1.
#[test]
fn the_left_half_of_a_subchannel_id_is_ignored() {
    let mut machine = Machine::new(toy(1));
    machine.boot(2, Features::VERSION_1);
    let word = u64::from(machine.transport.subchannel().word());
    for left in [0, 1, 0x8000_0000, 0xffff_ffff_u64] {
        assert_eq!(machine.channel.diagnose(left << 32 | word, 0, 0), 0);
        assert!(machine.run(), "the device was told");
    }
    for wrong in [0, word + 1, word | 1 << 17, word & 0xffff] {
        assert_eq!(machine.channel.diagnose(wrong, 0, 0), -22, "{wrong:x}");
    }
}
