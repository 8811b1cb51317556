//! What the driver sets by commands.

use virtio_device::Features;

use crate::Mac;
use crate::coalesce::Coalescing;
use crate::filter::Filter;
use crate::rss::Steering;

/// The rules that frames are treated by.
///
/// Workers hold them fixed while they move a batch of frames, so that a command is in force for
/// every frame once it has been answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) filter: Filter,
    /// Pairs in use, from the first.
    pub(crate) pairs: u16,
    pub(crate) steering: Steering,
    /// Offloads of the driver that are switched on, as GUEST_* feature bits; none before it has said
    /// what it can.
    pub(crate) taken: Option<Features>,
    pub(crate) coalescing: Coalescing,
}

impl Rules {
    /// Those of a new device with at most `pairs` pairs.
    pub(crate) fn new(mac: Mac, pairs: u16) -> Self {
        Self {
            filter: Filter::new(mac),
            pairs: 1,
            steering: Steering::default(),
            taken: None,
            coalescing: Coalescing::new(2 * pairs),
        }
    }
}
