//! What a virtual disk stores its blocks in, whatever bus it is on.
//!
//! [`Backend`] and [`Channel`] are the seam between a device (a virtio block device, a SCSI logical
//! unit) and its storage. A [`RawImage`] is a raw file or a block device of the host, a
//! [`NullDisk`] reads as zeroes and forgets what is written. [`Throttled`] is any of them with a limit
//! to what it does in a second, [`Zones`] say in which order it is written, and [`Failures`] what
//! becomes of what goes wrong.

mod backend;
mod failures;
mod null;
mod raw;
mod throttle;
mod zones;

pub use backend::{Backend, Channel, Facts};
pub use failures::{Cancelled, Direction, ErrorPolicy, Failure, Failures, OnError, Verdict};
pub use null::{NullChannel, NullDisk};
pub use raw::{RawChannel, RawImage};
pub use throttle::{
    Burst, Limit, Rate, Rates, ThrottleGroup, ThrottleMember, Throttled, ThrottledChannel,
};
pub use zones::{Zone, ZoneAction, ZoneError, ZoneLayout, ZoneLimits, ZoneState, Zones};
