//! How the device side finds its subchannel: without keeping it alive.

use std::sync::{Arc, Weak};

use super::channel::Channel;
use super::subchannel::Subchannel;
use super::subsystem::Shared;

/// A weak reference to a subchannel and the subsystem that it is in.
#[derive(Clone)]
pub(super) struct Link {
    shared: Weak<Shared>,
    subchannel: Weak<Subchannel>,
}

impl Link {
    pub(super) fn new(shared: &Arc<Shared>, subchannel: &Arc<Subchannel>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            subchannel: Arc::downgrade(subchannel),
        }
    }

    /// Both, for the length of a call of `f`; nothing where they are gone.
    pub(super) fn with<R>(&self, f: impl FnOnce(&Channel) -> R) -> Option<R> {
        let channel = Channel::new(self.shared.upgrade()?, self.subchannel.upgrade()?);
        Some(f(&channel))
    }
}
