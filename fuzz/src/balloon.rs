//! The memory balloon.

use std::io;

use arbitrary::{Arbitrary, Unstructured};
use testkit::TestBus;
use virtio_balloon::{Balloon, BalloonHandle, BalloonProps, PAGE, Reclaim};
use virtio_device::vm_memory::VolatileSlice;
use virtio_device::vm_memory::bitmap::BitmapSlice;

use crate::device::{Subject, play};
use crate::forge::{Few, Place};

/// The memory balloon, on a host with pages of some size, whose VMM changes its mind.
pub fn balloon(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if let Ok(look) = u.arbitrary() {
        play(Skin::new(look), &mut u);
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Look {
    hints: bool,
    reports: bool,
    poison: bool,
    large_pages: bool,
}

struct Skin {
    look: Look,
    handle: Option<BalloonHandle>,
}

/// Leaves memory as it is: a guest may well give up its rings, and then nothing can be checked.
struct Looker(u64);

#[derive(Arbitrary, Debug)]
pub(crate) enum Words {
    Pages(Few<Place>),
    Neighbours(Place, u8),
    Command(u32),
    /// The one that counts.
    Wanted,
    Stats(Few<(u16, u64)>),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Event {
    Target(u32),
    Request,
    End,
    Interval(u8),
}

impl Skin {
    fn new(look: Look) -> Self {
        Self { look, handle: None }
    }
}

impl Subject for Skin {
    type Device = Balloon<Looker>;
    type Words = Words;
    type Host = Event;

    fn device(&mut self) -> Self::Device {
        let Look {
            hints,
            reports,
            poison,
            large_pages,
        } = self.look;
        let props = BalloonProps::default()
            .free_page_hint(hints)
            .free_page_reporting(reports)
            .page_poison(poison);
        let looker = Looker(if large_pages { 16 * PAGE } else { PAGE });
        let device = Balloon::new(&props, looker).expect("a timer");
        self.handle = Some(device.handle());
        device
    }

    fn words(&self, words: Words) -> Vec<u8> {
        let number = |address: u64| ((address / PAGE) as u32).to_le_bytes();
        match words {
            Words::Pages(places) => places
                .0
                .iter()
                .flat_map(|place| number(place.address()))
                .collect(),
            Words::Neighbours(place, count) => (0..u64::from(count))
                .flat_map(|next| number(place.address().wrapping_add(next * PAGE)))
                .collect(),
            Words::Command(command) => command.to_le_bytes().to_vec(),
            Words::Wanted => 0x8000_0000_u32.to_le_bytes().to_vec(),
            Words::Stats(entries) => entries
                .0
                .iter()
                .flat_map(|(tag, value)| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat())
                .collect(),
        }
    }

    fn host(&mut self, event: Event) {
        let Some(handle) = &self.handle else { return };
        match event {
            Event::Target(pages) => handle.set_target(pages),
            Event::Request => handle.request_hints(|address, len| {
                let end = address.checked_add(len);
                assert!(
                    end.is_some_and(|end| end <= testkit::END),
                    "a hint of no memory"
                );
            }),
            Event::End => handle.end_hints(),
            Event::Interval(seconds) => handle.set_interval(seconds.into()).expect("a timer"),
        }
    }

    fn probe(&mut self, bus: &mut TestBus) {
        let numbers = [8192_u32, 8193].map(u32::to_le_bytes).concat();
        for queue in [0, 1] {
            assert_eq!(bus.request(queue, &[&numbers], &[]).len, 0);
        }
    }
}

impl Reclaim for Looker {
    fn page_size(&self) -> u64 {
        self.0
    }

    fn reclaim<B: BitmapSlice>(&mut self, memory: &VolatileSlice<'_, B>) -> io::Result<()> {
        assert!(!memory.is_empty(), "nothing is reclaimed");
        if memory.len().is_multiple_of(3) {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(())
    }
}
