//! The conformance suite on a toy of three queues and two workers: what of it the core, the
//! engines and the runners answer for. `status_machine` is the table of past bug 45.

use testkit::Toy;

testkit::device_suite! {
    device: || Toy::new(3, &[&[0, 2], &[1]]).0,
    traffic: |bus| {
        for queue in 0..3 {
            let response = bus.request(queue, &[b"ab", b"", b"cde"], &[1, 0, 4]);
            assert_eq!((response.len, &response.bytes[..]), (5, &b"abcde"[..]));
        }
    },
}
