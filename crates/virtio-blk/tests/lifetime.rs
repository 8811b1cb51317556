//! GET_LIFETIME: what the user of the device knows of its wear.

mod common;

use common::*;
use virtio_blk::virtio_device::{Features, VirtioDevice};
use virtio_blk::{Blk, BlkProps};

const GET_LIFETIME: u32 = 10;
const F_LIFETIME: Features = Features::bit(15);

fn ask(props: &BlkProps, room: u32) -> Answer {
    let mut bus = boot(props, raw(&image()));
    let header = header(GET_LIFETIME, 0);
    Answer::of(bus.request(0, &[&header], &[room, 1]))
}

#[test]
fn wear_is_told_where_it_is_known() {
    let props = BlkProps::default()
        .pre_eol_info(2)
        .lifetime_est_typ_a(11)
        .lifetime_est_typ_b(3);
    let answer = ask(&props, 6);
    assert_eq!((answer.status, answer.used), (OK, 7));
    assert_eq!(answer.data, [2, 0, 11, 0, 3, 0]);
    let short = ask(&props, 4);
    assert_eq!(
        (short.status, short.used, short.data),
        (OK, 5, vec![2, 0, 11, 0])
    );
    let more = ask(&props, 512);
    assert_eq!((more.status, more.used), (OK, 6));
}

#[test]
fn nothing_is_offered_where_nothing_is_known() {
    let unknown = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
    assert!(!unknown.info().features.contains(F_LIFETIME));
    assert_eq!(ask(&BlkProps::default(), 6).status, UNSUPP);
    let known = BlkProps::default().pre_eol_info(1);
    let known = Blk::new(&known, raw(&image())).unwrap();
    assert!(known.info().features.contains(F_LIFETIME));
}

#[test]
fn reserved_values_are_refused() {
    let props = BlkProps::default;
    for (props, name) in [
        (props().pre_eol_info(4), "x-pre-eol-info"),
        (props().lifetime_est_typ_a(12), "x-lifetime-est-typ-a"),
        (props().lifetime_est_typ_b(12), "x-lifetime-est-typ-b"),
    ] {
        let refused = Blk::new(&props, raw(&image())).err().unwrap();
        assert!(refused.to_string().contains(name), "{refused}");
    }
}
