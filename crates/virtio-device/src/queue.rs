//! A virtqueue for the length of one wake-up: pop, push, publish, arm.

use vm_memory::GuestMemory;

use crate::chain::Token;
use crate::packed::PackedAreas;
use crate::ring::{Ordered, Popped, Ring, RingFormat};
use crate::split::SplitAreas;
use crate::{Chain, GuestView, Interrupt, IrqSource, QueueError};

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
    budget: u32,
    /// Used buffers that the driver cannot see yet.
    unpublished: u32,
}

enum Areas<'a, M: GuestMemory> {
    Split(SplitAreas<'a, M>),
    Packed(PackedAreas<'a, M>),
}

impl<'a, M: GuestMemory> Virtqueue<'a, M> {
    /// Resolves the areas of `ring`, which is queue `index` of its device.
    ///
    /// # Errors
    /// Where the ring is broken, or an area does not lie in one piece of guest memory, which
    /// breaks it.
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
            budget,
            unpublished: 0,
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
        if self.budget == 0 {
            return self.exhausted(chain);
        }
        let popped = match &mut self.areas {
            Areas::Split(areas) => areas.pop(self.ring, &mut self.tables, chain),
            Areas::Packed(areas) => areas.pop(self.ring, &mut self.tables, chain),
        };
        if popped != Popped::Chain {
            return self.not_popped(chain, popped);
        }
        self.budget -= 1;
        if !self.ring.suppressed {
            self.suppress();
        }
        if self.ring.in_order {
            self.remember_order(chain);
        }
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

    /// Lets the driver see every pushed chain and notifies it if it wants to be.
    pub fn publish(&mut self) {
        self.expose();
        if self.ring.unsignalled == 0 {
            return;
        }
        let wanted = match &mut self.areas {
            Areas::Split(areas) => areas.wants_interrupt(self.ring),
            Areas::Packed(areas) => areas.wants_interrupt(self.ring),
        };
        self.ring.unsignalled = 0;
        if wanted
            && self
                .interrupt
                .trigger(IrqSource::Queue(self.index))
                .is_err()
        {
            log::debug!("queue {}: interrupt refused by the host", self.index);
        }
    }

    /// Whether a chain is available, without taking it.
    pub fn has_available(&self) -> bool {
        match &self.areas {
            Areas::Split(areas) => areas.has_available(self.ring),
            Areas::Packed(areas) => areas.has_available(self.ring),
        }
    }

    /// Asks the driver to notify the device of the next available buffer. True if one has become
    /// available meanwhile: the driver may then not notify.
    pub fn arm(&mut self) -> bool {
        self.ring.drained = false;
        self.ring.suppressed = false;
        match &mut self.areas {
            Areas::Split(areas) => areas.arm(self.ring),
            Areas::Packed(areas) => areas.arm(self.ring),
        }
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.has_available()
    }

    /// Asks the driver not to notify the device while it is busy with this queue anyway. Only
    /// from the first chain popped on: a worker that just completes what was in flight leaves the
    /// queue armed.
    #[cold]
    fn suppress(&mut self) {
        self.ring.suppressed = true;
        if !self.ring.event_idx {
            match &mut self.areas {
                Areas::Split(areas) => areas.suppress(),
                Areas::Packed(areas) => areas.suppress(),
            }
        }
    }

    fn remember_order(&mut self, chain: &Chain) {
        let token = chain.token();
        self.ring.order.push_back(Ordered {
            token,
            written: None,
        });
    }

    #[cold]
    fn complete_lost(&mut self, chain: &mut Chain) {
        let lost = chain.clear();
        self.complete(lost, 0);
    }

    /// This wake-up has had its share, or the ring is broken, which takes away the share.
    #[cold]
    fn exhausted(&mut self, chain: &mut Chain) -> Result<bool, QueueError> {
        chain.clear();
        match self.ring.broken {
            Some(error) => Err(error),
            None => {
                self.ring.more = true;
                Ok(false)
            }
        }
    }

    #[inline(never)]
    fn not_popped(&mut self, chain: &mut Chain, popped: Popped) -> Result<bool, QueueError> {
        if popped == Popped::Broken {
            self.budget = 0;
            return self.exhausted(chain);
        }
        chain.clear();
        self.ring.drained = true;
        Ok(false)
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

    #[cold]
    fn complete_in_order(&mut self, token: Token, written: u32) {
        let first = self.ring.order.front().map(|first| first.token.ticket);
        let behind = first.map(|first| token.ticket.since(first));
        if let Some(entry) = behind.and_then(|behind| self.ring.order.get_mut(behind)) {
            entry.written = Some(written);
        }
        while let Some(&Ordered {
            token,
            written: Some(written),
        }) = self.ring.order.front()
        {
            self.ring.order.pop_front();
            self.use_chain(token, written);
        }
    }

    #[inline(never)]
    fn use_chain(&mut self, token: Token, written: u32) {
        if !self.ring.live.remove(token.id()) {
            return;
        }
        match &mut self.areas {
            Areas::Split(areas) => areas.push(self.ring, token, written),
            Areas::Packed(areas) => areas.push(self.ring, token, written),
        }
        self.unpublished += 1;
        if self.unpublished >= PUBLISH_EVERY {
            self.expose();
        }
    }

    #[inline]
    fn expose(&mut self) {
        if self.unpublished != 0 {
            self.unpublished = 0;
            match &mut self.areas {
                Areas::Split(areas) => areas.expose(self.ring),
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

/// A driver on another processor can start on the first completions of a long batch; more often
/// than this, the cache line that both write costs more than it gains.
const PUBLISH_EVERY: u32 = 8;
