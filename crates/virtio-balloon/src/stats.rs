//! The guest's memory statistics (section 5.5.6.4).

use std::time::SystemTime;

use virtio_device::ByteOrder;

macro_rules! stats {
    ($($stat:ident $name:literal $help:literal,)*) => {
        /// One statistic, in the order of its tag. Amounts of memory are in bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Stat { $( #[doc = $help] $stat, )* }

        impl Stat {
            /// All of them, by tag.
            pub const ALL: &[Self] = &[$(Self::$stat,)*];

            /// Its name in QEMU's `guest-stats`.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$stat => $name, )* }
            }
        }
    };
}

stats! {
    SwapIn "stat-swap-in" "Swapped in.",
    SwapOut "stat-swap-out" "Swapped out.",
    MajorFaults "stat-major-faults" "Page faults that needed a disk.",
    MinorFaults "stat-minor-faults" "Page faults that did not.",
    FreeMemory "stat-free-memory" "Memory that is not in use at all.",
    TotalMemory "stat-total-memory" "Memory that there is.",
    AvailableMemory "stat-available-memory" "Memory to be had without swapping.",
    DiskCaches "stat-disk-caches" "Memory that can be had back quickly.",
    HugeAllocations "stat-htlb-pgalloc" "Huge pages that were allocated.",
    HugeFailures "stat-htlb-pgfail" "Huge pages that could not be allocated.",
    OomKills "stat-oom-kills" "Processes killed for their memory.",
    AllocationStalls "stat-alloc-stalls" "Allocations that had to wait for memory.",
    ScannedAsync "stat-scan-async" "Memory scanned in the background.",
    ScannedDirect "stat-scan-direct" "Memory scanned by those who wanted some.",
    ReclaimedAsync "stat-reclaim-async" "Memory reclaimed in the background.",
    ReclaimedDirect "stat-reclaim-direct" "Memory reclaimed by those who wanted some.",
}

/// Statistics as a guest has sent them; `None` for those that it has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats([Option<u64>; Stat::ALL.len()]);

/// Statistics, and when they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the guest said.
    pub stats: Stats,
    /// `None` if it has said nothing yet.
    pub at: Option<SystemTime>,
}

impl Stats {
    /// One of them.
    pub fn value(&self, stat: Stat) -> Option<u64> {
        self.0.get(stat as usize).copied().flatten()
    }

    /// Entries in any order; unknown tags are ignored, the last one of a tag counts.
    pub(crate) fn parse(entries: &[u8], order: ByteOrder) -> Self {
        let mut stats = Self::default();
        for entry in entries.chunks_exact(Self::ENTRY) {
            let [t0, t1, value @ ..] = entry else {
                continue;
            };
            let tag = usize::from(order.u16([*t0, *t1]));
            if let (Some(slot), Ok(value)) = (stats.0.get_mut(tag), value.try_into()) {
                *slot = Some(order.u64(value));
            }
        }
        stats
    }

    /// Bytes of an entry: a tag and a value.
    pub(crate) const ENTRY: usize = 10;
}
