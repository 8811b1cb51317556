//! Range map from an address to the BAR that decodes it: read without a lock, replaced as a whole.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::address::IoRange;
use crate::function::PciFunction;

/// One BAR in the map.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) range: IoRange,
    pub(crate) bar: u8,
    pub(crate) function: Arc<dyn PciFunction>,
}

/// Disjoint ranges of one address space, in order.
#[derive(Clone, Default)]
pub(crate) struct Routes(Vec<Route>);

/// The map that windows read and the root complex replaces.
pub(crate) type SharedRoutes = Arc<ArcSwap<Routes>>;

impl Routes {
    /// Adds a BAR unless it overlaps one that is there: the first one keeps its addresses.
    pub(crate) fn insert(&mut self, route: Route) -> bool {
        let at = self
            .0
            .partition_point(|other| other.range.first() < route.range.first());
        let before = at.checked_sub(1).and_then(|at| self.0.get(at));
        let free = before.is_none_or(|other| other.range.last() < route.range.first())
            && self
                .0
                .get(at)
                .is_none_or(|other| route.range.last() < other.range.first());
        if free {
            self.0.insert(at, route);
        }
        free
    }

    /// Delivers a read, or fills with ones where no single BAR holds the whole access.
    pub(crate) fn read(&self, address: Option<u64>, data: &mut [u8]) {
        match self.find(address, data.len()) {
            Some((route, offset)) => route.function.read_bar(route.bar, offset, data),
            None => data.fill(0xff),
        }
    }

    /// Delivers a write, or drops it where no single BAR holds the whole access.
    pub(crate) fn write(&self, address: Option<u64>, data: &[u8]) {
        if let Some((route, offset)) = self.find(address, data.len()) {
            route.function.write_bar(route.bar, offset, data);
        }
    }

    fn find(&self, address: Option<u64>, length: usize) -> Option<(&Route, u64)> {
        let first = address?;
        let last = first.checked_add(u64::try_from(length).ok()?.checked_sub(1)?)?;
        let at = self.0.partition_point(|route| route.range.first() <= first);
        let route = self.0.get(at.checked_sub(1)?)?;
        (last <= route.range.last()).then(|| (route, first - route.range.first()))
    }
}
