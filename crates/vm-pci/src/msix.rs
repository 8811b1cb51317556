//! MSI-X: capability, table, pending bits, and the seam to the VMM's interrupt controller
//! (PCI Local Bus 3.0, section 6.8.2).
//!
//! Raising an interrupt takes no lock. The guest's side (table writes, function mask, enable) is
//! serialised by one mutex and tells the VMM about a message only when an unmasked vector needs it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EventFd;

use crate::bar::{Bar, BarKind};
use crate::capability::Capability;
use crate::config::Register;
use crate::error::ConfigError;
use crate::lock;
use crate::msix_table::{ENTRY, Table};
use crate::msix_vector::Vector;

/// What the guest programmed for a vector: a memory write that raises an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MsiMessage {
    /// Address written to.
    pub address: u64,
    /// Data written.
    pub data: u32,
}

/// Source of interrupt routes. Implemented by the VMM.
pub trait MsiSink: Send + Sync {
    /// Makes one route. Called once for each vector, when the guest first unmasks it, so a vector
    /// that is never used costs nothing. The route is dropped with the function.
    ///
    /// # Errors
    /// Whatever the host refuses; the vector then stays masked.
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>>;
}

/// One interrupt route. Implemented by the VMM.
pub trait MsiVector: Send + Sync {
    /// Sets the message that [`fire`](Self::fire) and the irqfd deliver; `None` takes the route
    /// down. Called on changes only, with a lock of the function held: it must not call back.
    ///
    /// Masking does not take the route down, as a masked vector is never fired, unless the irqfd was
    /// handed out: then `None` means that signals have to be kept until the next message.
    ///
    /// # Errors
    /// Whatever the host refuses; the vector then stays masked.
    fn program(&self, message: Option<MsiMessage>) -> io::Result<()>;

    /// Raises the interrupt once. Takes no lock of the function, and is called only after a message
    /// was programmed; a call that races with `program(None)` has nothing to deliver and succeeds.
    ///
    /// # Errors
    /// Whatever the host refuses; the interrupt is lost.
    fn fire(&self) -> io::Result<()>;

    /// Event that raises the interrupt when written to, where the host has such a thing (KVM irqfd).
    fn irqfd(&self) -> Option<&EventFd>;
}

/// Where the table and the pending bits are, and for how many vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixLayout {
    /// BAR that holds both.
    pub bar: u8,
    /// Number of vectors, 1 to 2048.
    pub vectors: u16,
    /// Offset of the table in the BAR, a multiple of 8. Each vector takes 16 bytes.
    pub table: u32,
    /// Offset of the pending bits in the BAR, a multiple of 8. Each 64 vectors take 8 bytes.
    pub pending: u32,
}

impl MsixLayout {
    /// Checks the layout against the BAR that holds it.
    pub(crate) fn check(&self, bar: Option<Bar>) -> Result<(), ConfigError> {
        let inside = |end| bar.is_some_and(|bar| bar.kind() != BarKind::Io && end <= bar.size());
        let (table, pending) = (self.table_range(), self.pending_range());
        let apart = table.end <= pending.start || pending.end <= table.start;
        let aligned = (self.table | self.pending).is_multiple_of(8);
        let counted = (1..=MAX_VECTORS).contains(&self.vectors);
        if counted && aligned && apart && inside(table.end) && inside(pending.end) {
            return Ok(());
        }
        Err(ConfigError::MsixLayout { bar: self.bar })
    }

    pub(crate) fn capability(&self) -> Capability {
        let control = u32::from(self.vectors) - 1;
        Capability::new(
            ID,
            LENGTH,
            &[
                Register::word(CONTROL)
                    .value(control)
                    .writable((ENABLE | FUNCTION_MASK).into()),
                Register::dword(4).value(self.table | u32::from(self.bar)),
                Register::dword(8).value(self.pending | u32::from(self.bar)),
            ],
        )
    }

    fn table_range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.table);
        start..start + u64::from(self.vectors) * ENTRY as u64
    }

    fn pending_range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.pending);
        start..start + u64::from(self.vectors).div_ceil(64) * 8
    }
}

/// Snapshot of the table and the pending bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MsixState {
    /// The table, 16 bytes for each vector.
    pub table: Vec<u8>,
    /// Pending bits, one for each vector, in the layout that the guest sees.
    pub pending: Vec<u8>,
}

/// The MSI-X state of one function.
pub struct Msix {
    layout: MsixLayout,
    sink: Arc<dyn MsiSink>,
    vectors: Box<[Vector]>,
    table: Mutex<Table>,
    enabled: AtomicBool,
    /// One line in the log for a host that refuses routes, whatever the guest does.
    complained: AtomicBool,
}

impl Msix {
    pub(crate) fn new(layout: MsixLayout, sink: Arc<dyn MsiSink>) -> Self {
        Self {
            layout,
            sink,
            vectors: (0..layout.vectors).map(|_| Vector::default()).collect(),
            table: Mutex::new(Table::new(layout.vectors)),
            enabled: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        }
    }

    /// Where table and pending bits are.
    pub fn layout(&self) -> MsixLayout {
        self.layout
    }

    /// Whether the guest has enabled MSI-X; the function must not use INTx then.
    pub fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Raises vector `vector`, or records it as pending while it is masked. Lock-free. A vector
    /// past the table, such as VIRTIO's "no vector", does nothing.
    pub fn trigger(&self, vector: u16) {
        if let Some(vector) = self.vectors.get(usize::from(vector)) {
            self.report(vector.trigger());
        }
    }

    /// Event that raises `vector` without passing here, for a device that signals from elsewhere
    /// (vhost). `None` until the guest has first unmasked it, and where the host has no such event.
    /// From then on masking takes the route down, see [`MsiVector::program`].
    pub fn irqfd(&self, vector: u16) -> Option<&EventFd> {
        // The lock orders this against a mask being set at this moment.
        let _table = lock(&self.table);
        self.vectors.get(usize::from(vector))?.hand_out()
    }

    /// Guest read from the BAR of [`layout`](Self::layout), any width, any offset. Bytes that
    /// belong to neither table nor pending bits read as ones.
    pub fn read_bar(&self, offset: u64, data: &mut [u8]) {
        let table = lock(&self.table);
        for (at, byte) in (0u64..).zip(data) {
            *byte = offset
                .checked_add(at)
                .and_then(|at| self.byte(&table, at))
                .unwrap_or(0xff);
        }
    }

    /// Guest write to the BAR of [`layout`](Self::layout), any width, any offset. Pending bits are
    /// read-only.
    pub fn write_bar(&self, offset: u64, data: &[u8]) {
        let range = self.layout.table_range();
        let mut table = lock(&self.table);
        let mut touched = None;
        for (at, &value) in (0u64..).zip(data) {
            let at = offset.checked_add(at).filter(|at| range.contains(at));
            let Some(at) = at.map(|at| (at - range.start) as usize) else {
                continue;
            };
            table.write(at, value);
            // An entry is looked at once all of its bytes in this access have arrived.
            let entry = at / ENTRY;
            if let Some(done) = touched.replace(entry).filter(|done| *done != entry) {
                self.apply(&mut table, done);
            }
        }
        if let Some(last) = touched {
            self.apply(&mut table, last);
        }
    }

    /// Takes over the message control register.
    pub(crate) fn set_control(&self, control: u16) {
        let mut table = lock(&self.table);
        let enabled = control & ENABLE != 0;
        let masked = !enabled || control & FUNCTION_MASK != 0;
        self.enabled.store(enabled, Ordering::Release);
        if table.set_function_mask(masked) {
            self.apply_all(&mut table);
        }
    }

    /// State after reset: disabled, every entry zero and masked, nothing pending, routes down.
    pub(crate) fn reset(&self) {
        let Self {
            layout,
            sink: _,
            vectors,
            table,
            enabled,
            complained: _,
        } = self;
        let mut table = lock(table);
        enabled.store(false, Ordering::Release);
        *table = Table::new(layout.vectors);
        vectors
            .iter()
            .for_each(|vector| self.report(vector.reset()));
    }

    /// Table and pending bits, for a snapshot. Nothing may trigger meanwhile.
    pub fn save(&self) -> MsixState {
        let table = lock(&self.table);
        let bytes = 0..self.vectors.len().div_ceil(8);
        let pending = bytes.map(|at| self.pending_byte(at)).collect();
        MsixState {
            table: table.bytes().to_vec(),
            pending,
        }
    }

    /// Takes back table and pending bits; the control register follows with configuration space.
    ///
    /// # Errors
    /// [`ConfigError::SavedState`] for a state of another number of vectors; nothing has changed then.
    pub fn restore(&self, state: &MsixState) -> Result<(), ConfigError> {
        let mut table = lock(&self.table);
        if state.pending.len() != self.vectors.len().div_ceil(8) || !table.load(&state.table) {
            return Err(ConfigError::SavedState);
        }
        for (at, vector) in self.vectors.iter().enumerate() {
            let byte = state.pending.get(at / 8).copied().unwrap_or(0);
            vector.restore(byte >> (at % 8) & 1 != 0);
        }
        self.apply_all(&mut table);
        Ok(())
    }

    fn apply_all(&self, table: &mut Table) {
        (0..self.vectors.len()).for_each(|entry| self.apply(table, entry));
    }

    /// Brings a vector in line with its entry.
    fn apply(&self, table: &mut Table, entry: usize) {
        let Some(vector) = self.vectors.get(entry) else {
            return;
        };
        self.report(match table.message(entry) {
            None => vector.mask(),
            Some(message) => vector.unmask(message, &*self.sink),
        });
    }

    fn byte(&self, table: &Table, at: u64) -> Option<u8> {
        let (entries, pending) = (self.layout.table_range(), self.layout.pending_range());
        if entries.contains(&at) {
            return table.byte((at - entries.start) as usize);
        }
        pending
            .contains(&at)
            .then(|| self.pending_byte((at - pending.start) as usize))
    }

    fn pending_byte(&self, at: usize) -> u8 {
        let vectors = self.vectors.iter().skip(at.saturating_mul(8)).take(8);
        vectors.enumerate().fold(0, |byte, (bit, vector)| {
            byte | u8::from(vector.pending()) << bit
        })
    }

    fn report(&self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            log::warn!("MSI-X: the host refused an interrupt route: {error}");
        }
    }
}

const ID: u8 = 0x11;
const LENGTH: u8 = 12;
/// Offset of message control in the capability.
pub(crate) const CONTROL: u16 = 2;
const ENABLE: u16 = 1 << 15;
const FUNCTION_MASK: u16 = 1 << 14;
const MAX_VECTORS: u16 = 2048;
