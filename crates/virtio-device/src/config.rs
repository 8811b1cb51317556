//! The device configuration space (section 2.5) as one shared cell.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::ByteOrder;

/// The bytes of a configuration space and their generation.
///
/// Device, workers and transport share it: whoever changes bytes does so through
/// [`update`](Self::update), which raises the generation before any reader can see the new bytes,
/// so a driver that reads generation, fields, generation (section 2.5.1) never mixes old and new.
/// However often the bytes change, the generation is raised once until somebody has read again: the
/// eight bits that PCI shows of it do not come round behind a driver's back.
#[derive(Debug, Default)]
pub struct ConfigCell {
    bytes: RwLock<Box<[u8]>>,
    generation: AtomicU32,
    /// Somebody has read since the generation was raised. The lock of the bytes orders it.
    seen: AtomicBool,
    widths: &'static [u8],
}

impl ConfigCell {
    /// A configuration space with these bytes, at generation 0.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self {
            bytes: RwLock::new(bytes.into()),
            generation: AtomicU32::new(0),
            seen: AtomicBool::new(false),
            widths: &[],
        }
    }

    /// Names the widths in bytes of its fields, in turn, for drivers of another byte order; what
    /// comes after them is bytes. All else here is little-endian.
    #[must_use]
    pub fn with_widths(mut self, widths: &'static [u8]) -> Self {
        self.widths = widths;
        self
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether the device has no configuration space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `data` from byte `offset` on; bytes past the end read as 0xff.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let bytes = self.bytes();
        self.seen.store(true, Ordering::Relaxed);
        let tail = usize::try_from(offset)
            .ok()
            .and_then(|offset| bytes.get(offset..));
        for (to, from) in data.iter_mut().zip(tail.unwrap_or_default()) {
            *to = *from;
        }
    }

    /// Lets `change` edit the bytes; raises the generation if it returns true and somebody has read
    /// since the last time. Returns what `change` returned. Tell the driver by
    /// [`DeviceHost::config_changed`](crate::DeviceHost::config_changed) afterwards.
    pub fn update(&self, change: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut bytes);
        if changed && self.seen.swap(false, Ordering::Relaxed) {
            self.generation.fetch_add(1, Ordering::Release);
        }
        changed
    }

    /// Overwrites the bytes from `offset` on, as far as they are inside; that they changed, which is
    /// what it returns, raises the generation as by [`update`](Self::update).
    pub fn write(&self, offset: usize, data: &[u8]) -> bool {
        self.update(|bytes| {
            let tail = bytes.get_mut(offset..).unwrap_or_default();
            let len = tail.len().min(data.len());
            let (to, from) = (&mut tail[..len], &data[..len]);
            let changed = to != from;
            to.copy_from_slice(from);
            changed
        })
    }

    /// The generation, as the transports' `config_generation` registers show it (truncated there).
    pub fn generation(&self) -> u32 {
        self.seen.store(true, Ordering::Relaxed);
        self.generation.load(Ordering::Acquire)
    }

    /// A copy of the bytes, for saved state.
    pub fn snapshot(&self) -> Box<[u8]> {
        self.bytes().clone()
    }

    /// Turns `space`, which starts as this one does, from little-endian into `order`, or back.
    pub fn reorder(&self, space: &mut [u8], order: ByteOrder) {
        if order == ByteOrder::Little {
            return;
        }
        let mut rest = space;
        for &width in self.widths {
            let Some((field, after)) = rest.split_at_mut_checked(width.into()) else {
                return;
            };
            field.reverse();
            rest = after;
        }
    }

    fn bytes(&self) -> RwLockReadGuard<'_, Box<[u8]>> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }
}
