//! Where requests that wait are served.

/// Runs tasks that wait for the host, somewhere else than on the thread of the device's worker:
/// on threads that the VMM makes and looks after.
pub trait Executor: Send + Sync + 'static {
    /// Has `task` run soon, beside others.
    ///
    /// # Errors
    /// Gives it back where it cannot, and it is done where it came from.
    fn execute(&self, task: Task) -> Result<(), Task>;
}

/// Something to run once. One that is dropped instead leaves its request without an answer, and
/// harms nothing else.
pub type Task = Box<dyn FnOnce() + Send>;
