//! A queue of pending interruptions, for hosts whose hypervisor has none.

use std::collections::VecDeque;

use super::{Interruption, IscMask, SubchannelId};

/// Interruptions that any CPU may take.
///
/// A [`CssHost`](super::CssHost) that cannot leave its interruptions to a hypervisor keeps them
/// here: `raise`, `withdraw` and `take` are its methods of the same names. There is at most one
/// entry for each subchannel and, for adapters, each subclass, so nothing that a guest does makes
/// it grow beyond that.
#[derive(Clone, Debug, Default)]
pub struct FloatingInterruptions {
    /// By subclass; first come, first served.
    pending: [VecDeque<Interruption>; 8],
}

impl FloatingInterruptions {
    /// Makes an interruption pending, if it is not.
    pub fn raise(&mut self, interruption: Interruption) {
        let same = |other: &Interruption| *other == interruption;
        if let Interruption::Subchannel { id, .. } = interruption
            && !self.pending.iter().flatten().any(same)
        {
            // It may be pending with a parameter or subclass that it had before.
            self.withdraw(id);
        }
        let queue = &mut self.pending[usize::from(interruption.isc().number())];
        if !queue.contains(&interruption) {
            queue.push_back(interruption);
        }
    }

    /// The subchannel has no status any more.
    pub fn withdraw(&mut self, subchannel: SubchannelId) {
        for queue in &mut self.pending {
            queue.retain(|other| other.subchannel() != Some(subchannel));
        }
    }

    /// Takes the most urgent one of the subclasses in `enabled`.
    pub fn take(&mut self, enabled: IscMask) -> Option<Interruption> {
        self.enabled(enabled).find_map(VecDeque::pop_front)
    }

    /// Whether there is one of the subclasses in `enabled`.
    pub fn is_pending(&self, enabled: IscMask) -> bool {
        let mut queues = self.pending.iter().zip(super::Isc::all());
        queues.any(|(queue, isc)| enabled.contains(isc) && !queue.is_empty())
    }

    fn enabled(&mut self, enabled: IscMask) -> impl Iterator<Item = &mut VecDeque<Interruption>> {
        let queues = self.pending.iter_mut().zip(super::Isc::all());
        queues.filter_map(move |(queue, isc)| enabled.contains(isc).then_some(queue))
    }
}
