//! Captures of the frames that pass a back-end, in files of the format pcap
//! (draft-ietf-opsawg-pcap): `filter-dump`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use super::lock;

/// One capture file. It ends with the first record that the host refuses to write.
pub struct Dump {
    file: Mutex<Option<File>>,
    /// Of a frame, in bytes.
    snap_len: u32,
    queue: DumpQueue,
}

/// Which frames are captured, as seen from the back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpQueue {
    /// All.
    All,
    /// Those that it receives from the guest.
    Receive,
    /// Those that it transmits to the guest.
    Transmit,
}

/// The captures of one back-end.
#[derive(Default)]
pub(super) struct Dumps {
    /// Whether there may be any: asked for each frame.
    any: AtomicBool,
    all: Mutex<Vec<Weak<Dump>>>,
}

impl Dump {
    /// A capture of the first `snap_len` bytes of the frames of `queue`, which replaces what `file`
    /// has.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn new(mut file: File, snap_len: u32, queue: DumpQueue) -> io::Result<Self> {
        file.write_all(&file_header(snap_len))?;
        Ok(Self {
            file: Mutex::new(Some(file)),
            snap_len,
            queue,
        })
    }

    fn record(&self, queue: DumpQueue, frame: &[u8]) {
        if self.queue != DumpQueue::All && self.queue != queue {
            return;
        }
        let mut file = lock(&self.file);
        let Some(open) = &mut *file else { return };
        let record = packet_record(since_epoch(), frame, self.snap_len);
        if let Err(error) = open.write_all(&record) {
            log::error!("filter-dump: {error}; the capture ends here");
            *file = None;
        }
    }
}

impl Dumps {
    /// Adds one, which ends with its last owner.
    pub(super) fn add(&self, dump: &Arc<Dump>) {
        lock(&self.all).push(Arc::downgrade(dump));
        self.any.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Captures a frame of `queue`.
    pub(super) fn record(&self, queue: DumpQueue, frame: &[u8]) {
        let mut all = lock(&self.all);
        all.retain(|dump| match dump.upgrade() {
            Some(dump) => {
                dump.record(queue, frame);
                true
            }
            None => false,
        });
        self.any.store(!all.is_empty(), Ordering::Relaxed);
    }
}

/// The File Header.
fn file_header(snap_len: u32) -> Vec<u8> {
    bytes(&[MAGIC, VERSION, 0, 0, snap_len, LINKTYPE_ETHERNET]).collect()
}

/// A Packet Record. Seconds are counted in 32 bits, up to the year 2106.
fn packet_record(time: Duration, frame: &[u8], snap_len: u32) -> Vec<u8> {
    let original = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let captured = original.min(snap_len);
    let seconds = time.as_secs() as u32;
    let header = [seconds, time.subsec_micros(), captured, original];
    let frame = frame.iter().take(captured as usize);
    bytes(&header).chain(frame.copied()).collect()
}

fn bytes(fields: &[u32]) -> impl Iterator<Item = u8> {
    fields.iter().flat_map(|field| field.to_le_bytes())
}

fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Of files whose times are in microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
/// 2.4, each half in 16 bits.
const VERSION: u32 = 4 << 16 | 2;
const LINKTYPE_ETHERNET: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_and_its_length_kept() {
        let record = packet_record(Duration::from_micros(5_000_007), b"frame", 3);
        let header = [5, 7, 3, 5].map(u32::to_le_bytes).concat();
        assert_eq!(record, [&header, &b"fra"[..]].concat());
    }

    #[test]
    fn frames_are_captured_until_the_capture_is_dropped() {
        let file = vmm_sys_util::tempfile::TempFile::new().unwrap();
        let open = || file.as_file().try_clone().unwrap();
        let dumps = Dumps::default();
        assert!(!dumps.are_any());
        let dump = Arc::new(Dump::new(open(), 64, DumpQueue::Transmit).unwrap());
        dumps.add(&dump);
        dumps.record(DumpQueue::Receive, b"not this one");
        dumps.record(DumpQueue::Transmit, b"this one");
        drop(dump);
        dumps.record(DumpQueue::Transmit, b"nor this one");
        assert!(!dumps.are_any());
        let capture = std::fs::read(file.as_path()).unwrap();
        let header = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\x40\0\0\0\x01\0\0\0";
        assert_eq!(capture.split_at(24).0, header);
        assert_eq!(capture.split_at(24 + 16).1, b"this one");
    }

    #[test]
    fn a_full_disk_ends_a_capture() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let full = full.unwrap();
        let refused = Dump::new(full.try_clone().unwrap(), 64, DumpQueue::All);
        assert!(refused.is_err());
        let dump = Dump {
            file: Mutex::new(Some(full)),
            snap_len: 64,
            queue: DumpQueue::All,
        };
        dump.record(DumpQueue::Receive, b"lost");
        assert!(lock(&dump.file).is_none());
    }
}
