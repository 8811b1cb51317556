//! However a driver cuts a request into buffers, the result is the same (section 2.7.4.3).

mod common;

use common::*;
use proptest::prelude::*;
use testkit::TestBus;
use virtio_blk::BlkProps;
use virtio_blk::guest_io::Mode;
use virtio_blk::virtio_device::Features;

/// `bytes` cut at these places, which may be the same: a buffer may be empty.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|at| at.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut parts = Vec::new();
    let mut start = 0;
    for at in places.into_iter().chain([bytes.len()]) {
        parts.push(&bytes[start..at]);
        start = at;
    }
    parts
}

fn send(bus: &mut TestBus, readable: &[u8], writable: usize, cuts: &Cuts) -> Answer {
    let room = vec![0; writable];
    let lens: Vec<_> = cut(&room, &cuts.1)
        .iter()
        .map(|part| part.len() as u32)
        .collect();
    Answer::of(bus.request(0, &cut(readable, &cuts.0), &lens))
}

type Cuts = (Vec<prop::sample::Index>, Vec<prop::sample::Index>);

fn cuts() -> impl Strategy<Value = Cuts> {
    let places = || prop::collection::vec(any::<prop::sample::Index>(), 0..12);
    (places(), places())
}

fn ring() -> impl Strategy<Value = Features> {
    prop::sample::select(all_rings().to_vec())
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(all_modes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn bug_23_any_segmentation_gives_the_same(
        ring in ring(),
        mode in mode(),
        sector in 0..SECTORS,
        sectors in 0usize..12,
        cuts in prop::collection::vec(cuts(), 4),
    ) {
        let file = image();
        let props = BlkProps::default()
            .serial(Some("a serial number".into()))
            .max_write_zeroes_segments(4);
        let mut bus = boot_with(&props, raw(&file).mode(mode), ring);
        let fits = sector + sectors as u64 <= SECTORS;
        let (start, len) = (sector as usize * SECTOR, sectors * SECTOR);
        let mut disk = pattern(SECTORS as usize * SECTOR);

        let answer = send(&mut bus, &header(IN, sector), len + 1, &cuts[0]);
        prop_assert_eq!(answer.status, if fits { OK } else { IOERR });
        if fits {
            prop_assert_eq!(&answer.data[..], &disk[start..start + len]);
            prop_assert_eq!(answer.used as usize, len + 1);
        }

        let data: Vec<u8> = pattern(len).iter().map(|byte| byte ^ 0x5a).collect();
        let out = [header(OUT, sector), data.clone()].concat();
        let answer = send(&mut bus, &out, 1, &cuts[1]);
        prop_assert_eq!((answer.status, answer.used), (if fits { OK } else { IOERR }, 1));
        if fits {
            disk[start..start + len].copy_from_slice(&data);
        }
        prop_assert_eq!(contents(&file), &disk[..]);

        let zeroes = [header(WRITE_ZEROES, 0), range(1, 2, 0), range(9, 1, 1)].concat();
        prop_assert_eq!(send(&mut bus, &zeroes, 1, &cuts[2]).status, OK);
        for first in [1, 2, 9] {
            disk[first * SECTOR..(first + 1) * SECTOR].fill(0);
        }
        prop_assert_eq!(contents(&file), &disk[..]);

        let answer = send(&mut bus, &header(GET_ID, 0), 21, &cuts[3]);
        prop_assert_eq!(&answer.data[..], b"a serial number\0\0\0\0\0");
        prop_assert_eq!((answer.status, answer.used), (OK, 21));
    }

    #[test]
    fn anything_at_all_is_answered_and_harms_nothing(
        ring in ring(),
        readable in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..40), 0..6),
        writable in prop::collection::vec(0u32..600, 0..6),
        kind in 0u32..20,
    ) {
        let file = image();
        let mut bus = boot_with(&BlkProps::default(), raw(&file).read_only(true), ring);
        let mut readable: Vec<&[u8]> = readable.iter().map(|part| &part[..]).collect();
        let header = header(kind, 0);
        readable.insert(0, &header);
        let writable_len: u32 = writable.iter().sum();
        let answer = bus.request(0, &readable, &writable);
        prop_assert!(answer.len <= writable_len);
        prop_assert!(!bus.needs_reset());
        prop_assert_eq!(contents(&file), pattern(SECTORS as usize * SECTOR));
    }
}
