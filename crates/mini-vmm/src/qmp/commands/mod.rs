//! What commands do, by subject.

pub(super) mod balloon;
pub(super) mod block;
pub(super) mod chardev;
pub(super) mod device;
pub(super) mod fd;
pub(super) mod introspect;
pub(super) mod net;
pub(super) mod object;
pub(super) mod qom;
pub(super) mod query;
pub(super) mod run;
pub(super) mod tray;

pub(super) use introspect::version;
