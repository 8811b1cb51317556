//! Features, configuration space and properties.

mod common;

use std::fs::File;

use common::*;
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::props::{OnOffAuto, Props, apply};
use virtio_blk::virtio_device::{Features, VirtioDevice};
use virtio_blk::{Blk, BlkError, BlkProps, NullDisk, RawImage, Size};

const QEMU: &str = "008000000000000000000000fe0000002000103f00020000000000000000000001000100\
                    ffff3f000100000001000000ffff3f000100000001";

fn sized(bytes: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes).unwrap();
    file
}

fn disk(props: &BlkProps) -> Blk<RawImage> {
    Blk::new(props, raw(&sized(16 << 20))).unwrap()
}

fn hex(device: &impl VirtioDevice) -> String {
    let bytes = device.config().snapshot();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refusal(props: &BlkProps, bytes: u64) -> String {
    let refused = Blk::new(props, raw(&sized(bytes)));
    let text = refused.err().expect("a refusal").to_string();
    assert!(!text.contains('\n'));
    text
}

#[test]
fn is_to_the_byte_what_qemu_shows() {
    let device = disk(&BlkProps::default());
    assert_eq!(hex(&device), QEMU);
    assert_eq!(device.info().features.page(0), 0x6e54);
    let device = disk(&BlkProps::default().num_queues(4));
    assert_eq!(
        hex(&device),
        QEMU.replacen("01000100ffff", "01000400ffff", 1)
    );
    assert_eq!(device.info().features.page(0), 0x7e54);
    assert_eq!(device.info().queue_sizes.len(), 4);
    assert_eq!(device.info().queue_sizes[3].get(), 256);
}

#[test]
fn the_defaults_are_qemus() {
    let defaults = BlkProps::default();
    assert_eq!(defaults.num_queues, 65535);
    assert_eq!(defaults.queue_size, 256);
    assert_eq!(defaults.max_discard_sectors, 4194303);
    assert_eq!(defaults.discard_granularity, Size(4294967295));
    assert_eq!(defaults.write_cache, OnOffAuto::Auto);
    assert!(defaults.config_wce && defaults.seg_max_adjust && !defaults.share_rw);
}

#[test]
fn ends_with_the_last_valid_field() {
    let props = BlkProps::default().write_zeroes(false);
    assert_eq!(disk(&props).config().len(), 48);
    assert_eq!(disk(&props.discard(false)).config().len(), 36);
    assert_eq!(disk(&BlkProps::default().discard(false)).config().len(), 57);
}

#[test]
fn a_read_only_disk_says_so() {
    let image = raw(&sized(1 << 20)).read_only(true);
    let device = Blk::new(&BlkProps::default(), image).unwrap();
    let features = device.info().features;
    assert!(features.contains(F_RO));
    assert!(!features.intersects(Features::bit(13) | Features::bit(14)));
}

#[test]
fn shows_block_sizes_and_geometry() {
    let props = BlkProps::default()
        .logical_block_size(Size(4096))
        .physical_block_size(Size(16384))
        .min_io_size(Size(16384))
        .opt_io_size(Size(1 << 20))
        .discard_granularity(Size(65536))
        .queue_size(64)
        .cyls(100)
        .heads(4)
        .secs(32);
    let config = disk(&props).config().snapshot();
    assert_eq!(config[12..16], 62u32.to_le_bytes());
    assert_eq!(config[16..20], [100, 0, 4, 32]);
    assert_eq!(config[20..24], 4096u32.to_le_bytes());
    assert_eq!(config[24..28], [2, 0, 4, 0]);
    assert_eq!(config[28..32], 256u32.to_le_bytes());
    assert_eq!(config[44..48], 128u32.to_le_bytes());
    let props = BlkProps::default().queue_size(256).seg_max_adjust(false);
    assert_eq!(
        disk(&props).config().snapshot()[12..16],
        126u32.to_le_bytes()
    );
}

#[test]
fn is_as_large_as_the_image() {
    let device = Blk::new(&BlkProps::default(), NullDisk::new(5 << 40).unwrap()).unwrap();
    let config = device.config().snapshot();
    assert_eq!(config[..8], (5u64 << 31).to_le_bytes());
    // The geometry has no room for it.
    assert_eq!(config[16..20], [0xff, 0x3f, 16, 63]);
    let empty = Blk::new(&BlkProps::default(), raw(&sized(0))).unwrap();
    assert_eq!(empty.config().snapshot()[..8], [0; 8]);
}

#[test]
fn bad_configuration_is_named_in_a_line() {
    let good = BlkProps::default;
    let cases = [
        (good().serial(Some("x".repeat(21))), "serial"),
        (good().num_queues(0), "num-queues"),
        (good().num_queues(1025), "num-queues"),
        (good().queue_size(0), "queue-size"),
        (good().queue_size(2), "queue-size"),
        (good().queue_size(100), "queue-size"),
        (good().queue_size(2048), "queue-size"),
        (good().max_discard_sectors(0), "max-discard-sectors"),
        (
            good().max_write_zeroes_sectors(4194304),
            "max-write-zeroes-sectors",
        ),
        (good().max_discard_segments(0), "max-discard-segments"),
        (
            good().max_write_zeroes_segments(257),
            "max-write-zeroes-segments",
        ),
        (good().logical_block_size(Size(256)), "logical_block_size"),
        (good().logical_block_size(Size(1000)), "logical_block_size"),
        (
            good().physical_block_size(Size(4 << 20)),
            "physical_block_size",
        ),
        (
            good()
                .logical_block_size(Size(4096))
                .physical_block_size(Size(512)),
            "physical_block_size",
        ),
        (good().min_io_size(Size(100)), "min_io_size"),
        (good().min_io_size(Size(1 << 26)), "min_io_size"),
        (good().opt_io_size(Size(513)), "opt_io_size"),
        (good().discard_granularity(Size(100)), "discard_granularity"),
        (good().cyls(1), "heads"),
        (good().cyls(65536).heads(1).secs(1), "cyls"),
    ];
    for (props, name) in cases {
        let text = refusal(&props, 1 << 20);
        assert!(text.contains(&format!("'{name}'")), "{name}: {text}");
        assert!(text.contains("accepted"), "{text}");
    }
}

#[test]
fn an_image_that_does_not_fit_is_refused() {
    let text = refusal(&BlkProps::default(), 1000);
    assert!(text.contains("1000 bytes") && text.contains("multiple of 512"));
    let large_blocks = BlkProps::default().logical_block_size(Size(4096));
    assert!(refusal(&large_blocks, 512 * 9).contains("multiple of 4096"));
    assert!(RawImage::new(File::open("/dev/null").unwrap()).is_err());
}

#[test]
fn one_image_is_not_written_by_two() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = || {
        let file = File::options().read(true).write(true).open(&file);
        RawImage::new(file.unwrap()).unwrap()
    };
    let props = BlkProps::default();
    let first = Blk::new(&props, open()).unwrap();
    assert!(matches!(Blk::new(&props, open()), Err(BlkError::InUse)));
    let reader = open().read_only(true);
    assert!(matches!(Blk::new(&props, reader), Err(BlkError::InUse)));
    drop(first);
    let readers = [(); 2].map(|()| Blk::new(&props, open().read_only(true)).unwrap());
    assert!(matches!(Blk::new(&props, open()), Err(BlkError::InUse)));
    drop(readers);
    let shared = props.clone().share_rw(true);
    let sharers = [(); 2].map(|()| Blk::new(&shared, open()).unwrap());
    assert!(matches!(Blk::new(&props, open()), Err(BlkError::InUse)));
    drop(sharers);
}

#[test]
fn properties_are_set_by_name() {
    let mut props = BlkProps::default();
    let pairs = [
        ("logical_block_size", "4K"),
        ("opt_io_size", "1m"),
        ("min_io_size", "0x1000"),
        ("write-cache", "off"),
        ("serial", "a,b"),
    ];
    apply(pairs, &mut [&mut props]).unwrap();
    assert_eq!(props.logical_block_size, Size(4096));
    assert_eq!(props.opt_io_size, Size(1 << 20));
    assert_eq!(props.min_io_size, Size(4096));
    assert_eq!(props.write_cache, OnOffAuto::Off);
    for bad in ["", "K", "4KK", "-1", "4G", "0x", "ä", "512 "] {
        assert!(Props::set(&mut props, "opt_io_size", bad).is_err(), "{bad}");
    }
}

#[test]
fn bug_38_only_writeback_is_writable_at_whatever_offset() {
    let mut device = disk(&BlkProps::default());
    let before = device.config().snapshot();
    let offsets = (0..80).chain([u64::MAX - 8, u64::MAX - 1, u64::MAX, 1 << 63]);
    for offset in offsets {
        for len in 0..=8 {
            device.write_config(offset, &[0xaa; 8][..len]);
            // Any byte that is not 0 means on.
            assert_eq!(device.config().snapshot(), before, "{offset} {len}");
        }
    }
    device.write_config(31, &[0xff, 0, 0xff]);
    assert_eq!(device.config().snapshot()[32], 0);
    assert_eq!(device.config().snapshot()[..32], before[..32]);
    let mut fixed = disk(&BlkProps::default().config_wce(false));
    fixed.write_config(32, &[0]);
    assert_eq!(fixed.config().snapshot()[32], 1);
}

#[test]
fn a_driver_that_cannot_flush_starts_without_a_cache() {
    let mut bus = TestBus::with(disk(&BlkProps::default()), Options::default());
    assert_eq!(bus.read_config(32, 1), [1]);
    assert!(bus.negotiate(Features::VERSION_1 | F_CONFIG_WCE));
    assert_eq!(bus.read_config(32, 1), [0]);
    bus.reset();
    assert_eq!(bus.read_config(32, 1), [1]);
    assert!(bus.negotiate(Features::VERSION_1 | F_CONFIG_WCE | F_FLUSH));
    assert_eq!(bus.read_config(32, 1), [1]);
}
