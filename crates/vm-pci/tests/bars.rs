//! BARs: legal sizes, the sizing probe, relocation and decode enable.
#![allow(missing_docs)]

mod common;

use common::{TOY, Toy};
use vm_pci::*;

fn write32(core: &FunctionCore, at: u16, value: u32) {
    let _ = core.write_config(at, &value.to_le_bytes());
}

fn read32(core: &FunctionCore, at: u16) -> u32 {
    core.with_config(|config| config.u32(at))
}

#[test]
fn only_legal_sizes_exist() {
    for size in [0, 1, 2, 3, 5, 0x1001, 0x200, u64::MAX] {
        assert!(Bar::io(size).is_err(), "{size:#x}");
    }
    for size in [0, 8, 15, 24, 1 << 32, u64::MAX] {
        assert!(Bar::memory32(size).is_err(), "{size:#x}");
    }
    for size in [0, 8, 15, 24, (1 << 63) + 1, u64::MAX] {
        assert!(Bar::memory64(size).is_err(), "{size:#x}");
    }
    assert!(!Bar::io(4).unwrap().prefetchable().is_prefetchable());
}

#[test]
fn wide_bars_need_two_free_registers() {
    let build = |header, bars: &[(u8, Bar)]| {
        let builder = FunctionCore::builder(TOY).header(header);
        bars.iter()
            .fold(builder, |builder, (index, bar)| builder.bar(*index, *bar))
            .build()
            .err()
    };
    let (wide, narrow) = (
        Bar::memory64(0x1000).unwrap(),
        Bar::memory32(0x1000).unwrap(),
    );
    let refused = |index| Some(ConfigError::BarIndex { index });
    let end = HeaderType::Endpoint;
    assert_eq!(build(end, &[(5, wide)]), refused(5));
    assert_eq!(build(end, &[(6, narrow)]), refused(6));
    assert_eq!(build(end, &[(255, wide)]), refused(255));
    assert_eq!(build(end, &[(0, wide), (1, narrow)]), refused(1));
    assert_eq!(build(end, &[(1, narrow), (0, wide)]), refused(0));
    assert_eq!(build(end, &[(0, wide), (2, wide), (4, wide)]), None);
    assert_eq!(build(HeaderType::Bridge, &[(1, wide)]), refused(1));
    assert_eq!(build(HeaderType::Bridge, &[(0, wide)]), None);
}

#[test]
fn bug_39_sizing_probe_of_every_size_and_kind() {
    let io = (2..=8).map(|bits| (Bar::io(1 << bits).unwrap(), 1));
    let low = (4..=31).map(|bits| (Bar::memory32(1 << bits).unwrap(), 0));
    let high = (4..=63).map(|bits| (Bar::memory64(1 << bits).unwrap().prefetchable(), 0xc));
    for (bar, flags) in io.chain(low).chain(high) {
        let core = FunctionCore::builder(TOY).bar(2, bar).build().unwrap();
        assert_eq!(read32(&core, 0x18), flags);
        // Probed with decoding on, as a careless guest does it: nothing may be decoded meanwhile.
        let _ = core.write_config(4, &[3]);
        write32(&core, 0x18, u32::MAX);
        write32(&core, 0x1c, u32::MAX);
        let low = u64::from(read32(&core, 0x18) & !flags);
        let wide = bar.kind() == BarKind::Memory64;
        assert_eq!(
            read32(&core, 0x18) & flags,
            flags,
            "type bits are read-only"
        );
        let high = u64::from(read32(&core, 0x1c));
        let mask = if wide {
            high << 32 | low
        } else {
            low | u64::MAX << 32
        };
        assert_eq!(mask.wrapping_neg(), bar.size(), "{bar:?}");
        assert!(wide || high == 0, "the register above is not this BAR's");
        assert_eq!(core.decode(), BarMap::default(), "{bar:?}");
    }
}

#[test]
fn bug_39_address_and_decode_enable() {
    let toy = Toy::new();
    let core = &toy.core;
    write32(core, 0x10, 0xc041);
    write32(core, 0x14, 0xc000_1234);
    write32(core, 0x20, 0x0000_4000);
    write32(core, 0x24, 0x80);
    assert_eq!(core.decode(), BarMap::default());
    assert!(core.write_config(4, &[1]).decode);
    assert_eq!(core.decode().at(0), IoRange::new(IoAddr::Pio(0xc040), 32));
    assert_eq!(core.decode().at(1), None);
    assert!(core.write_config(4, &[2]).decode);
    let map: Vec<_> = core.decode().iter().collect();
    let range = |address, size| IoRange::new(IoAddr::Mmio(address), size).unwrap();
    assert_eq!(
        map,
        [
            (1, range(0xc000_1000, 0x1000)),
            (4, range(0x80_0000_4000, 0x4000))
        ]
    );
    // The upper half alone moves it.
    assert!(core.write_config(0x24, &0x81_u32.to_le_bytes()).decode);
    assert_eq!(core.decode().at(4), Some(range(0x81_0000_4000, 0x4000)));
}

#[test]
fn addresses_that_cannot_be_decode_nothing() {
    let (io, low) = (Bar::io(32).unwrap(), Bar::memory32(0x1000).unwrap());
    let high = Bar::memory64(0x1000).unwrap();
    for (bar, address) in [
        (io, 0),
        (io, 0x1_0000),
        (io, 0xffff_ffe0),
        (low, 0),
        (low, 0xffff_f000),
        (high, 0),
        (high, u64::MAX - 0xfff),
        (high, u64::MAX),
    ] {
        assert_eq!(bar.decode(address), None, "{bar:?} {address:#x}");
    }
    assert_eq!(io.decode(0xffe0), IoRange::new(IoAddr::Pio(0xffe0), 32));
    assert_eq!(IoRange::new(IoAddr::Pio(0xfff0), 32), None);
    assert_eq!(IoRange::new(IoAddr::Mmio(1), 0), None);
}
