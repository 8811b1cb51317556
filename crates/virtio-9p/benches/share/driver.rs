//! A guest of a shared directory.

use std::path::Path;
use std::sync::Arc;

use testkit::Segment;
use testkit::bench::{Areas, Guest, Memory};
use testkit::p9::Wire;
use virtio_9p::p9_server::{Limits, Local, SecurityModel};
use virtio_9p::{NineP, NinePProps, NinePWorker};
use virtio_device::Features;
use virtio_device::vm_memory::{Bytes, GuestAddress};

use crate::{BLOCK, options};

/// A guest with one request at a time: a chain of room for a message, for the head of its reply and for
/// the data, which Linux has read into whole pages. It never changes.
pub(crate) struct Sharer(Guest<NinePWorker<Local>>);

impl Sharer {
    pub(crate) fn new(directory: &Path, model: SecurityModel) -> Self {
        let local = Local::new(directory, options(model)).expect("a directory");
        let props = NinePProps::default().mount_tag(Some("bench".into()));
        let device = NineP::new(&props, Arc::new(local), Limits::default());
        let mut device = device.expect("a device");
        let guest = Guest::new(&mut device, 0, Features::VERSION_1, 1 << 20);
        let request = Segment {
            address: REQUEST,
            len: (REPLY - REQUEST) as u32,
            writable: false,
        };
        let [head, data] = [(REPLY, READ_DATA), (DATA, BLOCK)].map(|(address, len)| Segment {
            address,
            len: len as u32,
            writable: true,
        });
        guest.describe(0, &[request, head, data]);
        Self(guest)
    }

    /// Has the device serve `request`; the length of the reply, which stays where it is.
    pub(crate) fn serve(&mut self, request: &[u8]) -> u32 {
        let memory: Arc<Memory> = Arc::clone(self.0.memory());
        let areas = Areas::new(&memory);
        let stored = memory.write_slice(request, GuestAddress(REQUEST));
        stored.expect("in memory");
        self.0.exchange(&areas, std::iter::once(0));
        self.0.last_len(&areas)
    }
}

impl Sharer {
    /// Has the device read a block from each of `offsets` on, by the Tread `request`.
    pub(crate) fn read(&mut self, request: &[u8], offsets: impl Iterator<Item = u64>) {
        let memory: Arc<Memory> = Arc::clone(self.0.memory());
        let areas = Areas::new(&memory);
        let stored = memory.write_slice(request, GuestAddress(REQUEST));
        stored.expect("in memory");
        for offset in offsets {
            let stored = memory.write_obj(offset.to_le(), GuestAddress(REQUEST + READ_OFFSET));
            stored.expect("in memory");
            self.0.exchange(&areas, std::iter::once(0));
            assert_eq!(u64::from(self.0.last_len(&areas)), READ_DATA + BLOCK);
        }
    }
}

impl Wire for Sharer {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let mut reply = vec![0; self.serve(request) as usize];
        let read = self.0.memory().read_slice(&mut reply, GuestAddress(REPLY));
        read.expect("in memory");
        reply
    }
}

const REQUEST: u64 = 0x10000;
const DATA: u64 = 0x20000;
const REPLY: u64 = DATA - READ_DATA;
/// Where the offset is in a Tread: after size, kind, tag and fid.
const READ_OFFSET: u64 = 11;
/// Where the data begin in an Rread.
const READ_DATA: u64 = 11;
