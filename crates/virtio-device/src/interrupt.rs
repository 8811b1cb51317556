//! How a device reaches its driver (section 2.3): used-buffer and configuration notifications.

use std::io;

use vmm_sys_util::eventfd::EventFd;

/// What a notification to the driver is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IrqSource {
    /// The configuration space changed, or the device needs a reset.
    Config,
    /// The queue of this index has used buffers.
    Queue(u16),
}

/// A transport's way to notify the driver. Lock-free on the queue path.
pub trait Interrupt: Send + Sync {
    /// Notifies the driver of `source`.
    ///
    /// # Errors
    /// Only where the host refuses (a closed descriptor): nothing that a guest can provoke.
    fn trigger(&self, source: IrqSource) -> io::Result<()>;

    /// An event descriptor that, once written, notifies the driver of `source` without this
    /// process: for back-ends that live in the kernel or in another process. `None` where the
    /// transport has none at the moment.
    fn irqfd(&self, source: IrqSource) -> Option<EventFd>;
}

/// What a device or worker may ask of whatever hosts it, at any time and from any thread.
pub trait DeviceHost: Send + Sync {
    /// The configuration space changed: notify the driver if it is listening (section 2.5).
    ///
    /// The bytes themselves are in the device's [`ConfigCell`](crate::ConfigCell), which counts
    /// the generation.
    fn config_changed(&self);

    /// The device met something that only a reset can mend: sets DEVICE_NEEDS_RESET and notifies
    /// the driver (section 2.1.2).
    fn needs_reset(&self);

    /// Whether the driver has reset `queue`, or the device, and waits for its worker to stop: nobody will hear how its
    /// requests end, and those that have not begun are not to begin. False where that is not known.
    fn is_reset(&self, queue: u16) -> bool {
        let _ = queue;
        false
    }
}
