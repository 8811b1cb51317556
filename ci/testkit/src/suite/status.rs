//! The device status field (section 2.1).

use virtio_bus::Status;
use virtio_device::{Features, VirtioDevice};

use super::Subject;

/// Bits come in order, stay until a reset, and the driver cannot set the device's own.
pub fn status_machine<D: VirtioDevice>(subject: &Subject<D>) {
    let (ack, driver) = (Status::ACKNOWLEDGE, Status::ACKNOWLEDGE | Status::DRIVER);
    let settled = driver | Status::FEATURES_OK;
    let ready = settled | Status::DRIVER_OK;
    // What is written in turn, with VERSION_1 as the driver's features, and what is read then.
    let rows: &[(&[Status], Status)] = &[
        (&[], Status::RESET),
        (&[ack], ack),
        (&[driver], driver),
        (&[Status::FEATURES_OK], Status::RESET),
        (&[Status::DRIVER_OK], Status::RESET),
        (&[driver | Status::DRIVER_OK], driver),
        (&[settled], settled),
        (&[settled, ready], ready),
        (&[ready], ready),
        (&[settled, ack], settled),
        (&[settled, Status::FEATURES_OK], settled),
        (&[driver | Status::FAILED], driver | Status::FAILED),
        (&[driver | Status::DEVICE_NEEDS_RESET], driver),
        (&[Status(16 | 32)], Status::RESET),
        (&[settled, ready, Status::RESET], Status::RESET),
    ];
    for (written, read) in rows {
        let mut bus = subject.bus();
        bus.core()
            .write_driver_features(1, Features::VERSION_1.page(1));
        written
            .iter()
            .for_each(|&status| bus.core().write_status(status));
        assert_eq!(bus.core().status(), *read, "after writing {written:?}");
        assert_eq!(bus.kicks_assigned(), read.contains(Status::DRIVER_OK));
    }
}
