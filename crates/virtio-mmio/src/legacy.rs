//! Registers of the legacy interface (section 4.2.4): queues are given by page number.

/// GuestPageSize, and QueueAlign of each queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LegacyRegisters {
    page_size: u32,
    align: Box<[u32]>,
}

impl LegacyRegisters {
    pub(crate) fn new(queues: u16) -> Self {
        Self {
            page_size: PAGE_SIZE,
            align: vec![ALIGN; usize::from(queues)].into(),
        }
    }

    /// Saved registers, if they are such that a driver could have written them.
    pub(crate) fn restore(&self, page_size: u32, align: &[u32]) -> Option<Self> {
        let valid = page_size.is_power_of_two() && align.len() == self.align.len();
        valid.then(|| Self {
            page_size,
            align: align.into(),
        })
    }

    /// The device was reset by its driver. GuestPageSize stays: Linux writes it before its first
    /// reset and never again.
    pub(crate) fn reset(&mut self) {
        let Self {
            page_size: _,
            align,
        } = self;
        align.fill(ALIGN);
    }

    pub(crate) fn page_size(&self) -> u32 {
        self.page_size
    }

    pub(crate) fn align(&self) -> &[u32] {
        &self.align
    }

    /// The driver wrote GuestPageSize; ignored unless it is a power of two.
    pub(crate) fn set_page_size(&mut self, value: u32) {
        if value.is_power_of_two() {
            self.page_size = value;
        }
    }

    /// The driver wrote QueueAlign of queue `queue`.
    pub(crate) fn set_align(&mut self, queue: u16, value: u32) {
        if let Some(align) = self.align.get_mut(usize::from(queue)) {
            *align = value;
        }
    }

    pub(crate) fn align_of(&self, queue: u16) -> u32 {
        self.align.get(usize::from(queue)).map_or(ALIGN, |&a| a)
    }

    /// The guest address of page `pfn`.
    pub(crate) fn address(&self, pfn: u32) -> u64 {
        u64::from(pfn) * u64::from(self.page_size)
    }

    /// The page of guest address `address`.
    pub(crate) fn pfn(&self, address: u64) -> u32 {
        (address / u64::from(self.page_size)) as u32
    }
}

/// Bytes, until the driver says otherwise.
const PAGE_SIZE: u32 = 4096;
/// Bytes, until the driver says otherwise.
const ALIGN: u32 = 4096;
