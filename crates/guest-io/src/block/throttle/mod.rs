//! How much disks may do in a second, in the manner of QEMU's throttle groups.
//!
//! A [`ThrottleGroup`] has [`Rates`], to which all of its members keep together. [`Throttled`] is a
//! back-end that keeps to those of the group that its [`ThrottleMember`] is in, whatever is below it,
//! and whatever device is above: its channels take every request, and keep those that have to wait.
//! Where the disk is in no group, a request costs one comparison more than without all this.
//!
//! Members take turns, one request each, so that one with many requests does not starve one with few;
//! reads and writes have turns of their own. Flushes move no data and never wait.

mod alarm;
mod bucket;
mod channel;
mod group;
mod line;
mod member;
mod rate;
mod waiting;

pub use channel::{Throttled, ThrottledChannel};
pub use group::ThrottleGroup;
pub use member::ThrottleMember;
pub use rate::{Burst, Limit, Rate, Rates};

#[cfg(test)]
mod tests;
