//! `filter-dump`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use virtio_device::props::PropValue;

use super::{ObjectProps, Role};
use crate::backends::Backends;
use crate::net::{Dump, DumpQueue};
use crate::options::BadOption;

virtio_device::props! {
    /// Properties of a capture.
    struct DumpProps {
        /// Network back-end whose frames are captured.
        "netdev" => netdev: Option<String> = None,
        /// File that they are written to, in the format pcap; what it has is replaced.
        "file" => file: String = "qemu-vlan0.pcap".to_owned(),
        /// Bytes that are kept of a frame.
        "maxlen" => maxlen: SnapLen = SnapLen(65_536),
        /// Which frames: all, those that it receives from the guest, those that it sends there.
        "queue" => queue: DumpQueue = DumpQueue::All,
    }
}

/// Bytes of a frame, not none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SnapLen(u32);

pub(super) fn props() -> Box<dyn ObjectProps> {
    Box::new(DumpProps::default())
}

impl ObjectProps for DumpProps {
    fn object(&mut self, option: &str, backends: &mut Backends) -> Result<Role, BadOption> {
        let id = self.netdev.as_deref().unwrap_or_default();
        let netdev = backends.any_netdev(option, "netdev", id)?;
        let dump = self.open(backends).map_err(|error| {
            let accepted = "a file that can be written";
            BadOption::property(option, "file", &self.file, error, accepted)
        })?;
        netdev.add_dump(&dump);
        Ok(Role::Dump(dump))
    }
}

impl DumpProps {
    fn open(&self, backends: &Backends) -> io::Result<Arc<Dump>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let file: File = backends.host.files.open(Path::new(&self.file), flags)?;
        Dump::new(file, self.maxlen.0, self.queue).map(Arc::new)
    }
}

impl PropValue for SnapLen {
    const ACCEPTS: &'static str = "a number from 1 to 4294967295";

    fn parse(text: &str) -> Option<Self> {
        u32::parse(text).filter(|&len| len > 0).map(Self)
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl PropValue for DumpQueue {
    const ACCEPTS: &'static str = "all|rx|tx";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            "rx" => Some(Self::Receive),
            "tx" => Some(Self::Transmit),
            _ => None,
        }
    }

    fn show(&self) -> String {
        let text = match self {
            Self::All => "all",
            Self::Receive => "rx",
            Self::Transmit => "tx",
        };
        text.to_owned()
    }
}
