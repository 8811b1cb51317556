//! A virtqueue at rest: where its areas are, what was negotiated, and how far it has got.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::chain::{Extent, Ticket, Token};
use crate::in_order::InOrder;
use crate::live::LiveSet;
use crate::wrap::{WRAP, Wrap};
use crate::{ByteOrder, Chain, Features, QueueError};

/// A queue size in descriptors: 1 to 32768 (section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueSize(u16);

impl QueueSize {
    /// The largest: 32768 descriptors.
    pub const MAX: Self = Self(1 << 15);

    /// `size` descriptors.
    ///
    /// # Errors
    /// Where `size` is 0 or above 32768.
    pub const fn new(size: u16) -> Result<Self, QueueError> {
        if size == 0 || size > Self::MAX.0 {
            Err(QueueError::Size(size))
        } else {
            Ok(Self(size))
        }
    }

    /// `size` descriptors, which must be a power of two: for tables of constants.
    ///
    /// # Panics
    /// At compile time, if used in a constant with a size that is not 1, 2, 4, ... 32768.
    pub const fn of(size: u16) -> Self {
        assert!(size.is_power_of_two(), "a power of two");
        Self(size)
    }

    /// Number of descriptors.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The layout of a virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFormat {
    /// Split virtqueue (section 2.7).
    Split,
    /// Packed virtqueue (section 2.8).
    Packed,
}

/// One of the three areas of a virtqueue (section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingArea {
    /// Descriptor area: descriptor table or descriptor ring.
    Descriptor,
    /// Driver area: available ring or driver event suppression.
    Driver,
    /// Device area: used ring or device event suppression.
    Device,
}

/// Where a virtqueue lies and how it is used: what the driver chose before it enabled the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// Number of descriptors. A power of two for a split ring.
    pub size: QueueSize,
    /// Guest address of the descriptor area (descriptor table or descriptor ring).
    pub descriptor: u64,
    /// Guest address of the driver area (available ring or driver event suppression).
    pub driver: u64,
    /// Guest address of the device area (used ring or device event suppression).
    pub device: u64,
    /// The negotiated features, of which the ring uses RING_PACKED, INDIRECT_DESC, EVENT_IDX and
    /// IN_ORDER.
    pub features: Features,
    /// The byte order of the ring. Packed rings are little-endian.
    pub order: ByteOrder,
}

impl RingConfig {
    /// Split or packed, as negotiated.
    pub fn format(&self) -> RingFormat {
        match self.features.contains(Features::RING_PACKED) {
            true => RingFormat::Packed,
            false => RingFormat::Split,
        }
    }

    /// Whether size and alignment are those that the specification asks for (sections 2.7 and
    /// 2.8). Whether the areas are guest memory shows when the ring is used.
    ///
    /// # Errors
    /// [`QueueError::Size`] or [`QueueError::RingMemory`].
    pub fn check(&self) -> Result<(), QueueError> {
        let size = self.size.get();
        let (driver_align, device_align) = match self.format() {
            RingFormat::Split if !size.is_power_of_two() => return Err(QueueError::Size(size)),
            RingFormat::Split => (2, 4),
            RingFormat::Packed => (4, 4),
        };
        let areas = [
            (RingArea::Descriptor, self.descriptor, 16),
            (RingArea::Driver, self.driver, driver_align),
            (RingArea::Device, self.device, device_align),
        ];
        match areas
            .iter()
            .find(|(_, address, align)| address % align != 0)
        {
            Some(&(area, ..)) => Err(QueueError::RingMemory(area)),
            None => Ok(()),
        }
    }
}

/// How far a ring has got, in the form that saved states and vhost use.
///
/// Split: free-running 16-bit indices. Packed: position in bits 0-14, wrap counter in bit 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RingPosition {
    /// Where the device looks for the next available buffer.
    pub avail: u16,
    /// Where the device puts the next used buffer.
    pub used: u16,
}

/// A virtqueue between wake-ups: owned by a job while the device runs, by the bus otherwise.
///
/// It holds no memory reference. For the length of one wake-up it becomes a
/// [`Virtqueue`](crate::Virtqueue).
#[derive(Debug)]
pub struct Ring {
    pub(crate) config: RingConfig,
    pub(crate) event_idx: bool,
    pub(crate) in_order: bool,
    pub(crate) indirect: bool,
    pub(crate) live: LiveSet,
    // Counters are 32 bits wide although the rings count in 16: a counter that is stored narrow
    // and loaded together with its neighbour stalls the pipeline.
    /// Split: free-running index. Packed: position.
    pub(crate) next_avail: u32,
    pub(crate) avail_wrap: Wrap,
    /// Split: free-running index. Packed: position.
    pub(crate) next_used: u32,
    pub(crate) used_wrap: Wrap,
    /// Used buffers (split) or descriptors (packed) since the driver was last considered for an
    /// interrupt. Of another width than its neighbours, with which it would be counted in one go.
    pub(crate) unsignalled: u64,
    /// How many of these may wait for more at the end of a wake-up.
    pub(crate) may_wait: u64,
    /// Descriptors that are not in flight (packed).
    pub(crate) room: u32,
    /// Ticket of the next chain popped.
    pub(crate) ticket: Ticket,
    pub(crate) order: InOrder,
    pub(crate) suppressed: bool,
    /// Interrupts wait until the worker lets them go.
    pub(crate) held: bool,
    pub(crate) drained: bool,
    pub(crate) more: bool,
    pub(crate) broken: Option<QueueError>,
}

/// Nothing was popped: the ring is drained or broken, and knows which.
///
/// A pop that carried the error itself would pay for its packing at every success.
#[derive(Debug)]
pub(crate) struct NoChain;

impl Ring {
    /// A new ring, at its start.
    ///
    /// # Errors
    /// As [`RingConfig::check`].
    pub fn new(config: RingConfig) -> Result<Self, QueueError> {
        config.check()?;
        let start = match config.format() {
            RingFormat::Split => 0,
            RingFormat::Packed => WRAP,
        };
        Self::at(
            config,
            RingPosition {
                avail: start,
                used: start,
            },
        )
    }

    /// A ring that goes on at `position`, with nothing in flight: after a restore, or taken over
    /// from vhost.
    ///
    /// # Errors
    /// As [`RingConfig::check`]; for a packed ring also where a position is not below the size.
    pub fn at(config: RingConfig, position: RingPosition) -> Result<Self, QueueError> {
        config.check()?;
        let size = config.size.get();
        let (mask, ids) = match config.format() {
            RingFormat::Split => (u16::MAX, usize::from(size)),
            RingFormat::Packed => (!WRAP, 1 << 16),
        };
        let (next_avail, next_used) = (position.avail & mask, position.used & mask);
        if let Some(&index) = [next_avail, next_used]
            .iter()
            .find(|&&i| mask != u16::MAX && i >= size)
        {
            return Err(QueueError::DescriptorIndex { index, size });
        }
        let ticket = Ticket::first(EPOCH.fetch_add(1, Ordering::Relaxed));
        Ok(Self {
            config,
            event_idx: config.features.contains(Features::EVENT_IDX),
            in_order: config.features.contains(Features::IN_ORDER),
            indirect: config.features.contains(Features::INDIRECT_DESC),
            live: LiveSet::new(ids),
            next_avail: next_avail.into(),
            avail_wrap: Wrap::of(position.avail),
            next_used: next_used.into(),
            used_wrap: Wrap::of(position.used),
            unsignalled: 0,
            may_wait: 0,
            room: size.into(),
            ticket,
            order: InOrder::new(ticket),
            suppressed: false,
            held: false,
            drained: false,
            more: false,
            broken: None,
        })
    }

    /// Where it lies and what was negotiated.
    pub fn config(&self) -> &RingConfig {
        &self.config
    }

    /// A number that the next ring in this one's place, or any other, does not have: by it a worker
    /// sees that a queue was reset.
    pub fn identity(&self) -> u64 {
        self.ticket.epoch()
    }

    /// How far it has got. Meaningful for a save once nothing is in flight.
    pub fn position(&self) -> RingPosition {
        let wrap = |wrap: Wrap| match self.config.format() {
            RingFormat::Packed => wrap.bit(),
            RingFormat::Split => 0,
        };
        RingPosition {
            avail: self.next_avail as u16 | wrap(self.avail_wrap),
            used: self.next_used as u16 | wrap(self.used_wrap),
        }
    }

    /// Chains popped and not yet pushed.
    pub fn in_flight(&self) -> u32 {
        self.live.len() as u32
    }

    /// What the driver did wrong, if that has stopped the ring for good.
    pub fn broken(&self) -> Option<QueueError> {
        self.broken
    }

    /// Stops the ring for good.
    #[cold]
    pub(crate) fn fail(&mut self, error: QueueError) -> NoChain {
        self.broken = Some(error);
        NoChain
    }

    /// Notes that it has been seen empty.
    pub(crate) fn drain(&mut self) -> NoChain {
        self.drained = true;
        NoChain
    }

    /// Makes what was put into the storage of `chain` a chain in flight, with this head index or
    /// buffer id, that occupies `descriptors` of the ring.
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        chain: &mut Chain,
        extent: Extent,
        id: u16,
        descriptors: u32,
    ) -> Result<(), QueueError> {
        if !self.live.insert(id) {
            return Err(QueueError::InFlight { id });
        }
        chain.set(extent, Token::new(self.ticket, id, descriptors));
        self.ticket = self.ticket.next();
        Ok(())
    }

    /// Undoes the pop that gave out `token`, if that was the last one and the chain is in flight.
    #[cold]
    pub(crate) fn untake(&mut self, token: Token) -> bool {
        if token.ticket.next() != self.ticket || !self.live.remove(token.id()) {
            return false;
        }
        self.ticket = token.ticket;
        match self.config.format() {
            RingFormat::Split => self.next_avail = self.next_avail.wrapping_sub(1),
            RingFormat::Packed => self.retreat(token.descriptors()),
        }
        self.drained = false;
        true
    }

    /// Puts a packed ring `by` descriptors back.
    fn retreat(&mut self, by: u32) {
        self.room += by;
        if self.next_avail < by {
            self.next_avail += u32::from(self.config.size.get());
            self.avail_wrap.turn();
        }
        self.next_avail -= by;
    }

    /// Whether a worker ran out of budget on it since this was last asked, so that it must be
    /// called again without waiting for a notification.
    pub fn take_more(&mut self) -> bool {
        std::mem::take(&mut self.more)
    }

    /// From now on up to `most` used buffers (descriptors, in a packed ring) wait for more of them
    /// when a wake-up ends, before the driver is considered for an interrupt. Arming a queue does not
    /// wait.
    pub fn let_wait(&mut self, most: u64) {
        self.may_wait = most;
    }

    /// Whether used buffers wait that way.
    pub fn is_waiting(&self) -> bool {
        self.unsignalled != 0 && !self.held
    }

    /// Whether a worker has seen it empty since it was last armed, so that it waits for the
    /// driver's next notification.
    pub fn is_drained(&self) -> bool {
        self.drained
    }
}

/// Tells one ring's chains from another's.
static EPOCH: AtomicU32 = AtomicU32::new(0);
