//! Whatever a guest does to a whole machine: no panic, and no access outside a BAR that decodes.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;

use common::{Toy, complex};
use proptest::prelude::*;
use vm_device::bus::{MmioAddress, MmioAddressOffset, PioAddress};
use vm_device::{DeviceMmio, DevicePio};
use vm_pci::*;

#[derive(Clone, Debug)]
enum Step {
    Config {
        place: u16,
        offset: u16,
        data: Vec<u8>,
    },
    Ports {
        offset: u16,
        data: Vec<u8>,
    },
    Ecam {
        offset: u64,
        data: Vec<u8>,
    },
    Memory {
        address: u64,
        data: Vec<u8>,
    },
    Pio {
        port: u16,
        data: Vec<u8>,
    },
    Bar {
        toy: usize,
        bar: u8,
        offset: u64,
        data: Vec<u8>,
    },
    Trigger {
        toy: usize,
        vector: u16,
    },
    Interrupt {
        toy: usize,
        level: bool,
    },
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(0xff), Just(0xc0), Just(0x80), any::<u8>()];
    prop::collection::vec(byte, 0..9)
}

fn step() -> impl Strategy<Value = Step> {
    // Places where something is, and anywhere.
    let place = prop_oneof![Just(0x08u16), Just(0x10), Just(0x100), any::<u16>()];
    let offset = prop_oneof![0u16..0x40, 0x40u16..0x100, any::<u16>()];
    let memory = prop_oneof![
        0xc000_0000u64..0xc010_0000,
        0x80_0000_0000u64..0x80_0010_0000,
        any::<u64>()
    ];
    prop_oneof![
        8 => (place, offset, data()).prop_map(|(place, offset, data)| Step::Config { place, offset, data }),
        2 => (0u16..10, data()).prop_map(|(offset, data)| Step::Ports { offset, data }),
        2 => (any::<u64>(), data()).prop_map(|(offset, data)| Step::Ecam { offset, data }),
        4 => (memory, data()).prop_map(|(address, data)| Step::Memory { address, data }),
        2 => (any::<u16>(), data()).prop_map(|(port, data)| Step::Pio { port, data }),
        2 => (0usize..2, Just(1), 0u64..0x1000, data())
            .prop_map(|(toy, bar, offset, data)| Step::Bar { toy, bar, offset, data }),
        1 => (0usize..2, any::<u16>()).prop_map(|(toy, vector)| Step::Trigger { toy, vector }),
        1 => (0usize..2, any::<bool>()).prop_map(|(toy, level)| Step::Interrupt { toy, level }),
    ]
}

struct Machine {
    root: Arc<RootComplex>,
    toys: [Arc<Toy>; 2],
    ports: ConfigPorts,
    ecam: Ecam,
}

impl Machine {
    fn new() -> Self {
        let (root, toys) = (complex(), [Toy::new(), Toy::new()]);
        root.attach(BusId::ROOT, Slot::new(1, 0), toys[0].clone())
            .unwrap();
        let port = Arc::new(RootPort::new(RootPortConfig::new(2)).unwrap());
        let bus = root.attach_port(Slot::new(2, 0), port).unwrap();
        root.attach(bus, Slot::new(0, 0), toys[1].clone()).unwrap();
        root.assign_bars().unwrap();
        for place in [0x08, 0x10, 0x100] {
            root.write_config(Bdf::from_requester_id(place), 4, &[7]);
        }
        let ports = ConfigPorts::new(root.clone());
        Self {
            ecam: Ecam::new(root.clone()),
            ports,
            root,
            toys,
        }
    }

    fn run(&self, step: &Step) {
        let (mmio, pio) = (self.root.mmio_window(), self.root.pio_window());
        match step {
            Step::Config {
                place,
                offset,
                data,
            } => {
                let place = Bdf::from_requester_id(*place);
                self.root.write_config(place, *offset, data);
                self.root.read_config(place, *offset, &mut data.clone());
            }
            Step::Ports { offset, data } => {
                self.ports.pio_write(PioAddress(0xcf8), *offset, data);
                self.ports
                    .pio_read(PioAddress(0xcf8), *offset, &mut data.clone());
            }
            Step::Ecam { offset, data } => {
                self.ecam.mmio_write(MmioAddress(0), *offset, data);
                self.ecam
                    .mmio_read(MmioAddress(0), *offset, &mut data.clone());
            }
            Step::Memory { address, data } => {
                let offset: MmioAddressOffset = address / 2;
                let base = MmioAddress(address - offset);
                self.check(*address, data.len(), true);
                mmio.mmio_write(base, offset, data);
                mmio.mmio_read(base, offset, &mut data.clone());
            }
            Step::Pio { port, data } => {
                self.check((*port).into(), data.len(), false);
                pio.pio_write(PioAddress(*port), 0, data);
                pio.pio_read(PioAddress(*port), 0, &mut data.clone());
            }
            Step::Bar {
                toy,
                bar,
                offset,
                data,
            } => {
                if let Some(msix) = self.toys[*toy].core.msix().filter(|_| *bar == 1) {
                    msix.write_bar(*offset, data);
                    msix.read_bar(*offset, &mut data.clone());
                }
            }
            Step::Trigger { toy, vector } => self.toys[*toy].core.msix().unwrap().trigger(*vector),
            Step::Interrupt { toy, level } => self.toys[*toy].core.set_interrupt(*level),
        }
    }

    /// Delivers a read and compares who got it with what the functions decode themselves.
    fn check(&self, address: u64, length: usize, memory: bool) {
        self.toys.iter().for_each(|toy| drop(toy.take_accesses()));
        let mut data = vec![0; length];
        if memory {
            self.root
                .mmio_window()
                .mmio_read(MmioAddress(address), 0, &mut data);
        } else {
            self.root
                .pio_window()
                .pio_read(PioAddress(address as u16), 0, &mut data);
        }
        for toy in &self.toys {
            for (bar, offset, length) in toy.take_accesses() {
                let range = toy
                    .decode()
                    .at(bar)
                    .expect("a BAR that decodes nothing was reached");
                let start = match range.start() {
                    IoAddr::Mmio(start) if memory => start,
                    IoAddr::Pio(start) if !memory => start.into(),
                    other => panic!("{other:?} reached from the other space"),
                };
                assert_eq!(start + offset, address);
                assert!(offset + length as u64 <= range.size());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_guest_can_break_a_machine(steps in prop::collection::vec(step(), 1..80)) {
        let machine = Machine::new();
        steps.iter().for_each(|step| machine.run(step));
        // What each function was told last is where it decodes, or nowhere.
        for toy in &machine.toys {
            let told = toy.take_mapped();
            for bar in [0, 1, 4] {
                let last = told.iter().rev().find(|(of, _)| *of == bar).and_then(|(_, at)| *at);
                let decoded = toy.decode().at(bar).map(IoRange::start);
                prop_assert!(last.is_none() || last == decoded, "BAR{bar}: {last:?} {decoded:?}");
            }
        }
        // After a reset of the machine it is as new.
        machine.root.reset();
        for toy in &machine.toys {
            prop_assert_eq!(toy.core.save(), Toy::new().core.save());
            prop_assert_eq!(toy.decode(), BarMap::default());
        }
    }

    #[test]
    fn any_saved_state_is_refused_or_harmless(
        config in prop::collection::vec(any::<u8>(), 0..300),
        table in prop::collection::vec(any::<u8>(), 64..65),
        pending in prop::collection::vec(any::<u8>(), 0..3),
        length in prop_oneof![Just(4096usize), 0usize..5000],
    ) {
        let toy = Toy::new();
        let mut state = toy.core.save();
        // A header that is accepted, and anything behind it.
        state.config.truncate(0x40);
        state.config.extend(config);
        state.config.resize(length, 0xa5);
        state.msix = Some(MsixState { table, pending });
        let _ = toy.core.restore(&state);
        for vector in 0..5 {
            toy.core.msix().unwrap().trigger(vector);
        }
        let effects = toy.write_config(0x3c, &[1]);
        prop_assert!(!effects.reset);
    }
}
