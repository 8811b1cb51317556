//! The block driver, to an image file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use driver_tests::virtio_drivers::Error;
use driver_tests::virtio_drivers::device::blk::{BlkReq, BlkResp, SECTOR_SIZE, VirtIOBlk};
use driver_tests::{Board, Guest, GuestHal, on_every_board};
use virtio_blk::guest_io::Mode;
use virtio_blk::{Blk, BlkProps, RawImage};

on_every_board!(
    knows_its_disk,
    reads_the_image,
    writes_the_image,
    keeps_what_was_written,
    has_many_requests_in_flight,
    is_refused_past_the_end,
    is_refused_writes_on_a_read_only_disk,
    can_be_bound_again_and_again,
);

type Driver<B> = VirtIOBlk<GuestHal, <B as Board>::Driver>;

fn device(image: &File, mode: Mode, read_only: bool) -> Blk<RawImage> {
    let file = image.try_clone().expect("another handle");
    let image = RawImage::new(file).expect("image").mode(mode);
    let props = BlkProps::default().serial(Some("a disk".to_owned()));
    Blk::new(&props, image.read_only(read_only)).expect("block device")
}

/// Sectors numbered in every byte.
fn image() -> File {
    let file = tempfile::tempfile().expect("temporary file");
    for sector in 0..SECTORS {
        file.write_all_at(&contents(sector), sector as u64 * SECTOR_SIZE as u64)
            .expect("write");
    }
    file
}

fn contents(sector: usize) -> [u8; SECTOR_SIZE] {
    [sector as u8 ^ (sector >> 8) as u8; SECTOR_SIZE]
}

fn bind<B: Board>(board: &B) -> Driver<B> {
    VirtIOBlk::new(board.driver()).expect("block driver")
}

/// Runs `test` on a fresh image: without io_uring, then with it where the host has it.
fn with_disk<B: Board>(test: impl Fn(&mut Driver<B>, &File)) {
    for mode in [Mode::Sync, Mode::Auto] {
        let guest = Guest::new();
        let image = image();
        let board = B::new(&guest, device(&image, mode, false));
        test(&mut bind(&board), &image);
        assert_eq!(guest.pages_in_use(), 0);
    }
}

fn knows_its_disk<B: Board>() {
    with_disk::<B>(|disk, _| {
        assert_eq!(disk.capacity(), SECTORS as u64);
        assert!(!disk.readonly());
        let mut id = [0; 20];
        let len = disk.device_id(&mut id).expect("GET_ID");
        assert_eq!(&id[..len], b"a disk");
    });
}

fn reads_the_image<B: Board>() {
    with_disk::<B>(|disk, _| {
        for (first, count) in [(0, 1), (1, 7), (100, 64), (SECTORS - 1, 1), (0, SECTORS)] {
            let mut bytes = vec![0; count * SECTOR_SIZE];
            disk.read_blocks(first, &mut bytes).expect("read");
            let expected: Vec<u8> = (first..first + count).flat_map(contents).collect();
            assert!(bytes == expected, "{count} sectors from {first}");
        }
    });
}

fn writes_the_image<B: Board>() {
    with_disk::<B>(|disk, image| {
        disk.write_blocks(5, &[0xaa; 3 * SECTOR_SIZE])
            .expect("write");
        disk.flush().expect("flush");
        let mut bytes = [0; 5 * SECTOR_SIZE];
        image
            .read_exact_at(&mut bytes, 4 * SECTOR_SIZE as u64)
            .expect("read");
        let neighbours = [&bytes[..SECTOR_SIZE], &bytes[4 * SECTOR_SIZE..]];
        assert_eq!(neighbours, [contents(4), contents(8)]);
        assert!(
            bytes[SECTOR_SIZE..4 * SECTOR_SIZE]
                .iter()
                .all(|&b| b == 0xaa)
        );
    });
}

fn keeps_what_was_written<B: Board>() {
    with_disk::<B>(|disk, _| {
        for round in 0..300 {
            let (first, count) = (round * 7919 % (SECTORS - 16), 1 + round % 16);
            let bytes: Vec<u8> = (0..count * SECTOR_SIZE)
                .map(|n| (n * round) as u8)
                .collect();
            disk.write_blocks(first, &bytes).expect("write");
            let mut read = vec![0; bytes.len()];
            disk.read_blocks(first, &mut read).expect("read");
            assert!(read == bytes, "round {round}");
        }
    });
}

/// A request in flight, and where its parts are.
struct Request {
    token: u16,
    header: Box<BlkReq>,
    bytes: Box<[u8; SECTOR_SIZE]>,
    status: Box<BlkResp>,
}

fn start<B: Board>(disk: &mut Driver<B>, sector: usize) -> Result<Request, Error> {
    let (mut header, mut status) = (Box::<BlkReq>::default(), Box::<BlkResp>::default());
    let mut bytes = Box::new([0; SECTOR_SIZE]);
    // SAFETY: `finish` is the next to touch the three, and is called before they are dropped.
    let token = unsafe { disk.read_blocks_nb(sector, &mut header, &mut bytes[..], &mut status) }?;
    Ok(Request {
        token,
        header,
        bytes,
        status,
    })
}

fn finish<B: Board>(disk: &mut Driver<B>, request: &mut Request) -> Result<(), Error> {
    let Request {
        token,
        header,
        bytes,
        status,
    } = request;
    // SAFETY: these are what `start` has put into the request of this token.
    unsafe { disk.complete_read_blocks(*token, header, &mut bytes[..], status) }
}

fn has_many_requests_in_flight<B: Board>() {
    with_disk::<B>(|disk, _| {
        for round in 0..20 {
            let mut requests = Vec::new();
            while let Ok(request) = start::<B>(disk, round * 16 + requests.len()) {
                requests.push((round * 16 + requests.len(), request));
            }
            assert!(requests.len() >= 5, "{} in flight", requests.len());
            while !requests.is_empty() {
                let Some(token) = disk.peek_used() else {
                    std::hint::spin_loop();
                    continue;
                };
                let found = requests.iter().position(|(_, r)| r.token == token);
                let (sector, mut request) = requests.remove(found.expect("a token of ours"));
                assert_eq!(finish::<B>(disk, &mut request), Ok(()));
                assert_eq!(*request.bytes, contents(sector));
            }
        }
    });
}

fn is_refused_past_the_end<B: Board>() {
    with_disk::<B>(|disk, image| {
        let before = image.metadata().expect("metadata").len();
        for sector in [SECTORS - 1, SECTORS, usize::MAX / SECTOR_SIZE, usize::MAX] {
            let mut bytes = [0; 2 * SECTOR_SIZE];
            assert_eq!(disk.read_blocks(sector, &mut bytes), Err(Error::IoError));
            assert_eq!(disk.write_blocks(sector, &bytes), Err(Error::IoError));
        }
        assert_eq!(image.metadata().expect("metadata").len(), before);
        disk.read_blocks(0, &mut [0; SECTOR_SIZE])
            .expect("as before");
    });
}

fn is_refused_writes_on_a_read_only_disk<B: Board>() {
    let guest = Guest::new();
    let image = image();
    let board = B::new(&guest, device(&image, Mode::Auto, true));
    let mut disk = bind(&board);
    assert!(disk.readonly());
    assert!(disk.write_blocks(0, &[0xaa; SECTOR_SIZE]).is_err());
    let mut bytes = [0; SECTOR_SIZE];
    disk.read_blocks(1, &mut bytes).expect("read");
    assert_eq!(bytes, contents(1));
}

fn can_be_bound_again_and_again<B: Board>() {
    let guest = Guest::new();
    let image = image();
    let board = B::new(&guest, device(&image, Mode::Auto, false));
    for round in 0..50 {
        let mut disk = bind(&board);
        disk.write_blocks(round, &[!0; SECTOR_SIZE]).expect("write");
        let mut bytes = [0; SECTOR_SIZE];
        disk.read_blocks(round, &mut bytes).expect("read");
        assert_eq!(bytes, [!0; SECTOR_SIZE]);
        drop(disk);
        assert_eq!(guest.pages_in_use(), 0);
    }
}

const SECTORS: usize = 2048;
