//! What one client may use of the host.

/// Bounds of a session. A request beyond one is refused; nothing is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message in bytes, whatever the client asks for.
    pub msize: u32,
    /// Number of fids.
    pub fids: usize,
    /// Number of fids that stand for an extended attribute (QEMU's `max_xattr`).
    pub xattr_fids: usize,
    /// Number of record locks.
    pub locks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            msize: 1 << 20,
            fids: 1 << 16,
            xattr_fids: 1024,
            locks: 1 << 14,
        }
    }
}

/// Smallest message size that a session can be held with.
pub(crate) const MIN_MSIZE: u32 = 4096;
/// Bytes of an extended attribute at most, and of a list of names: Linux's own limit.
pub(crate) const XATTR_SIZE: usize = 65536;
/// Bytes of the target of a symbolic link at most: PATH_MAX, less its end.
pub(crate) const LINK_SIZE: usize = 4095;
