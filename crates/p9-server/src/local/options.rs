//! How a directory is shared: the options of QEMU's `-fsdev local`.

use rustix::io::Errno;

/// How a directory is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalOptions {
    /// Where owners and modes of files are kept.
    pub security_model: SecurityModel,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Permissions of files on the host, where the client's are kept elsewhere.
    pub fmode: u32,
    /// Permissions of directories on the host, where the client's are kept elsewhere.
    pub dmode: u32,
    /// What is done with file systems that are mounted below.
    pub multidevs: MultiDevs,
    /// Whether a write is durable before it is answered (`writeout=immediate`).
    pub write_through: bool,
    /// Number of descriptors that clients may have the server hold.
    pub descriptors: usize,
}

/// Where owners and modes of files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityModel {
    /// In the files themselves; that something cannot be given to its owner is let pass.
    None,
    /// In the files themselves, which takes privileges.
    Passthrough,
    /// In extended attributes of the files, `user.virtfs.*`. Links and device nodes are files.
    MappedXattr,
    /// In files in a directory `.virtfs_metadata` beside them. Links and device nodes are files.
    MappedFile,
}

/// What is done with file systems that are mounted below the shared directory, whose files may
/// have the numbers of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiDevs {
    /// Nothing, but the log is told.
    Warn,
    /// Their files get other numbers.
    Remap,
    /// They are not shown.
    Forbid,
}

/// Why a directory cannot be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// It is not there, or no directory.
    #[error("{0}")]
    Directory(Errno),
    /// Its file system has no extended attributes.
    #[error("no extended attributes there: {0}")]
    Attributes(Errno),
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            security_model: SecurityModel::None,
            read_only: false,
            fmode: 0o600,
            dmode: 0o700,
            multidevs: MultiDevs::Warn,
            write_through: false,
            descriptors: 1 << 16,
        }
    }
}

impl SecurityModel {
    /// Whether owners and modes are kept apart from the files.
    pub(super) fn is_mapped(self) -> bool {
        matches!(self, Self::MappedXattr | Self::MappedFile)
    }
}
