//! A virtqueue for the length of one wake-up: pop, push, publish, arm.

use std::sync::atomic::{Ordering, fence};

use vm_memory::GuestMemory;

use crate::chain::Token;
use crate::packed::PackedAreas;
use crate::ring::{NoChain, Ring, RingFormat};
use crate::split::SplitAreas;
use crate::{ByteOrder, Chain, GuestView, Interrupt, IrqSource, QueueError};

/// A [`Ring`] whose areas are resolved and bounds-checked: what a worker pops from and pushes to.
///
/// One wake-up takes at most as many chains as the queue has descriptors; the rest waits for the
/// next call, which whoever runs the worker makes at once, so that a driver that never stops
/// cannot keep a worker from its other duties.
pub struct Virtqueue<'a, M: GuestMemory> {
    index: u16,
    ring: &'a mut Ring,
    areas: Areas<'a, M>,
    view: GuestView<'a, M>,
    /// Indirect tables and buffers may lie in different regions; each remembers its own.
    tables: GuestView<'a, M>,
    interrupt: &'a dyn Interrupt,
    /// Chains that may be popped before the next look at what there is to do.
    share: u32,
    /// Chains that this wake-up may still take beyond `share`.
    budget: u32,
    /// Chains to push before the driver is shown those that it cannot see yet.
    until_exposed: u32,
}

enum Areas<'a, M: GuestMemory> {
    Split(SplitAreas<'a, M>),
    Big(SplitAreas<'a, M, true>),
    Packed(PackedAreas<'a, M>),
}

impl<'a, M: GuestMemory> Virtqueue<'a, M> {
    /// Resolves the areas of `ring`, which is queue `index` of its device.
    ///
    /// # Errors
    /// Where the ring is broken, or an area does not lie in one piece of guest memory, which
    /// breaks it.
    #[inline]
    pub fn attach(
        index: u16,
        ring: &'a mut Ring,
        memory: &'a M,
        interrupt: &'a dyn Interrupt,
    ) -> Result<Self, QueueError> {
        if let Some(error) = ring.broken {
            return Err(error);
        }
        let mut view = GuestView::new(memory);
        let areas = match ring.config.format() {
            RingFormat::Split if ring.config.order == ByteOrder::Big => {
                SplitAreas::resolve(&ring.config, &mut view).map(Areas::Big)
            }
            RingFormat::Split => SplitAreas::resolve(&ring.config, &mut view).map(Areas::Split),
            RingFormat::Packed => PackedAreas::resolve(&ring.config, &mut view).map(Areas::Packed),
        };
        let areas = areas.inspect_err(|&error| ring.broken = Some(error))?;
        let budget = ring.config.size.get().into();
        let tables = view.clone();
        Ok(Self {
            index,
            ring,
            areas,
            view,
            tables,
            interrupt,
            share: 0,
            budget,
            until_exposed: EXPOSE_EVERY,
        })
    }

    /// Index of the queue in its device.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The ring at rest.
    pub fn ring(&self) -> &Ring {
        self.ring
    }

    /// Guest memory as this wake-up sees it.
    pub fn view(&mut self) -> &mut GuestView<'a, M> {
        &mut self.view
    }

    /// Takes the next available chain into `chain`, validated as a whole. False where there is
    /// none, or where this wake-up has had its share.
    ///
    /// # Errors
    /// Where the driver broke the rules; the queue then stops for good.
    #[inline]
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, QueueError> {
        if chain.is_live() {
            self.complete_lost(chain);
        }
        if self.share == 0 && !self.look() {
            return self.not_popped(chain);
        }
        let popped = match &mut self.areas {
            Areas::Split(areas) => areas.pop(self.ring, &mut self.tables, chain),
            Areas::Big(areas) => pop_big(areas, self.ring, &mut self.tables, chain),
            Areas::Packed(areas) => areas.pop(self.ring, &mut self.tables, chain),
        };
        if popped.is_err() {
            return self.not_popped(chain);
        }
        self.share -= 1;
        Ok(true)
    }

    /// Gives `chain` back to the driver, with the number of bytes that the device wrote into its
    /// writable part from the start (clipped to the part). Does nothing for a chain that is not
    /// live or belongs to another ring.
    ///
    /// The driver sees it within a few more pushes, at the latest when the queue is dropped.
    #[inline]
    pub fn push(&mut self, chain: &mut Chain, written: u32) {
        let written = written.min(chain.writable_len());
        let token = chain.take_token();
        self.complete(token, written);
    }

    /// Gives `chains` back as [`push`](Self::push) does, each with the number of bytes written, so
    /// that the driver sees either none of them or all: buffers that belong together.
    pub fn push_together<'c>(
        &mut self,
        mut chains: impl ExactSizeIterator<Item = (&'c mut Chain, u32)>,
    ) {
        let count = chains.len() as u32;
        if count <= 1 {
            if let Some((chain, written)) = chains.next() {
                self.push(chain, written);
            }
            return;
        }
        self.expose();
        self.until_exposed = count + 1;
        for (chain, written) in chains {
            self.push(chain, written);
        }
        self.expose();
    }

    /// Makes `chain`, the last that was popped of those in flight, available again, as if it had
    /// not been popped. Does nothing for any other chain.
    ///
    /// The queue then counts as not drained: nobody asks the driver to notify. A worker does this
    /// when it waits for something else, or stops.
    pub fn unpop(&mut self, chain: &mut Chain) {
        if self.owns(chain) && self.ring.untake(chain.token()) {
            self.budget += std::mem::take(&mut self.share) + 1;
            chain.clear();
        }
    }

    /// Whether `chain` was popped from this ring, since it was last reset, and not given back yet.
    pub fn owns(&self, chain: &Chain) -> bool {
        let token = chain.token();
        token.is_live() && token.ticket.is_kin(self.ring.ticket)
    }

    /// Holds interrupts back from now on, across wake-ups as well, or lets them go: notification
    /// coalescing. Used buffers are visible all the same; those that the driver has not been
    /// considered for an interrupt for are counted by [`unsignalled`](Self::unsignalled).
    pub fn hold_interrupts(&mut self, hold: bool) {
        self.ring.held = hold;
    }

    /// Used buffers (descriptors, in a packed ring) since the driver was last considered for an
    /// interrupt.
    pub fn unsignalled(&self) -> u64 {
        self.ring.unsignalled
    }

    /// Lets the driver see every pushed chain and notifies it if it wants to be, unless that
    /// [may wait](Ring::let_wait).
    pub fn publish(&mut self) {
        self.expose();
        if self.ring.unsignalled > self.ring.may_wait {
            fence(Ordering::SeqCst);
            self.signal();
        }
    }

    /// Notifies the driver of what was used since it was last considered, if it wants to be. What
    /// it wants is read after what was used is visible: see the fences.
    fn signal(&mut self) {
        if self.ring.held {
            return;
        }
        let wanted = match &self.areas {
            Areas::Split(areas) => areas.wants_interrupt(self.ring),
            Areas::Big(areas) => areas.wants_interrupt(self.ring),
            Areas::Packed(areas) => areas.wants_interrupt(self.ring),
        };
        self.ring.unsignalled = 0;
        let source = IrqSource::Queue(self.index);
        if wanted && self.interrupt.trigger(source).is_err() {
            log::debug!("queue {}: interrupt refused by the host", self.index);
        }
    }

    /// Whether a chain is available, without taking it.
    pub fn has_available(&self) -> bool {
        match &self.areas {
            Areas::Split(areas) => areas.has_available(self.ring),
            Areas::Big(areas) => areas.has_available(self.ring),
            Areas::Packed(areas) => areas.has_available(self.ring),
        }
    }

    /// Publishes as [`publish`](Self::publish) does, and asks the driver to notify the device of
    /// the next available buffer. True if one has become available meanwhile: the driver may then
    /// not notify.
    pub fn arm(&mut self) -> bool {
        self.ring.drained = false;
        self.ring.suppressed = false;
        self.budget += std::mem::take(&mut self.share);
        self.expose();
        match &mut self.areas {
            Areas::Split(areas) => areas.arm(self.ring),
            Areas::Big(areas) => areas.arm(self.ring),
            Areas::Packed(areas) => areas.arm(self.ring),
        }
        // One for both: used buffers before the driver's wish, the wish to be notified before its
        // available buffers.
        fence(Ordering::SeqCst);
        if self.ring.unsignalled != 0 {
            self.signal();
        }
        self.has_available()
    }

    /// Looks how many chains there are, of which this wake-up takes its share. False where that
    /// is none.
    #[cold]
    fn look(&mut self) -> bool {
        if self.budget == 0 {
            self.ring.more = self.ring.broken.is_none();
            return false;
        }
        let available = match &self.areas {
            Areas::Split(areas) => areas.available(self.ring),
            Areas::Big(areas) => areas.available(self.ring),
            Areas::Packed(areas) => Ok(areas.available(self.ring)),
        };
        match available {
            Ok(0) => self.ring.drain(),
            Err(error) => self.ring.fail(error),
            Ok(available) => {
                self.share = available.min(self.budget);
                self.budget -= self.share;
                self.suppress();
                return true;
            }
        };
        false
    }

    /// Asks the driver not to notify the device while it is busy with this queue anyway. Only
    /// from the first chain on: a worker that just completes what was in flight leaves the queue
    /// armed.
    fn suppress(&mut self) {
        let was = std::mem::replace(&mut self.ring.suppressed, true);
        if was || self.ring.event_idx {
            return;
        }
        match &mut self.areas {
            Areas::Split(areas) => areas.suppress(),
            Areas::Big(areas) => areas.suppress(),
            Areas::Packed(areas) => areas.suppress(),
        }
    }

    #[cold]
    fn complete_lost(&mut self, chain: &mut Chain) {
        let lost = chain.clear();
        self.complete(lost, 0);
    }

    /// There was no chain, this wake-up has had its share, or the ring is broken, which takes away
    /// the share.
    #[cold]
    fn not_popped(&mut self, chain: &mut Chain) -> Result<bool, QueueError> {
        chain.clear();
        match self.ring.broken {
            Some(error) => {
                (self.share, self.budget) = (0, 0);
                Err(error)
            }
            None => Ok(false),
        }
    }

    #[inline]
    fn complete(&mut self, token: Token, written: u32) {
        if !token.ticket.is_kin(self.ring.ticket) {
            return;
        }
        if self.ring.in_order {
            self.complete_in_order(token, written);
        } else {
            self.use_chain(token, written);
        }
    }

    /// Holds the chain back until all that were popped before it are used (section 2.7.9).
    #[cold]
    fn complete_in_order(&mut self, token: Token, written: u32) {
        self.ring.order.insert(token, written);
        while let Some((token, written)) = self.ring.order.next() {
            self.use_chain(token, written);
        }
    }

    #[inline]
    fn use_chain(&mut self, token: Token, written: u32) {
        if !self.ring.live.remove(token.id()) {
            return;
        }
        match &mut self.areas {
            Areas::Split(areas) => areas.push(self.ring, token, written),
            Areas::Big(areas) => areas.push(self.ring, token, written),
            Areas::Packed(areas) => areas.push(self.ring, token, written),
        }
        self.until_exposed -= 1;
        if self.until_exposed == 0 {
            self.expose();
        }
    }

    #[inline]
    fn expose(&mut self) {
        if self.until_exposed != EXPOSE_EVERY {
            self.until_exposed = EXPOSE_EVERY;
            match &mut self.areas {
                Areas::Split(areas) => areas.expose(self.ring),
                Areas::Big(areas) => areas.expose(self.ring),
                Areas::Packed(areas) => areas.expose(),
            }
        }
    }
}

impl<M: GuestMemory> Drop for Virtqueue<'_, M> {
    fn drop(&mut self) {
        self.publish();
    }
}

/// Takes a chain of a big-endian ring, which is rare: in line it would take registers from the others.
#[cold]
#[inline(never)]
fn pop_big<'a, M: GuestMemory>(
    areas: &mut SplitAreas<'a, M, true>,
    ring: &mut Ring,
    tables: &mut GuestView<'a, M>,
    chain: &mut Chain,
) -> Result<(), NoChain> {
    areas.pop(ring, tables, chain)
}

/// A driver on another processor can start on the first completions of a long batch; more often
/// than this, the cache line that both write costs more than it gains.
const EXPOSE_EVERY: u32 = 8;
