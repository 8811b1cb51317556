//! Sources of entropy: `rng-random`, `rng-builtin` and `rng-egd`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use virtio_rng::{EntropySource, FileSource, HostRandom};

use super::egd::EgdSource;
use super::{Lease, ObjectProps, Role};
use crate::backends::Backends;
use crate::chardev::Chardev;
use crate::files::Files;
use crate::options::BadOption;

/// What sources of entropy are opened on.
pub trait Entropy: Send {
    /// A source for one device, which keeps `lease`.
    ///
    /// # Errors
    /// A host without descriptors to give, and what one device has to itself.
    fn open(&self, lease: Lease) -> io::Result<Box<dyn EntropySource>>;
}

virtio_device::props! {
    /// Properties of entropy from a file.
    struct RandomProps {
        /// File of random bytes, which may be a device or a FIFO.
        "filename" => filename: String = "/dev/urandom".to_owned(),
    }
}

virtio_device::props! {
    /// The host's kernel has no properties.
    struct BuiltinProps {}
}

virtio_device::props! {
    /// Properties of entropy from a daemon.
    struct EgdProps {
        /// Chardev at whose other end a daemon speaks the protocol of EGD.
        "chardev" => chardev: Option<String> = None,
    }
}

pub(super) fn random() -> Box<dyn ObjectProps> {
    Box::new(RandomProps::default())
}

pub(super) fn builtin() -> Box<dyn ObjectProps> {
    Box::new(BuiltinProps::default())
}

pub(super) fn egd() -> Box<dyn ObjectProps> {
    Box::new(EgdProps::default())
}

impl ObjectProps for RandomProps {
    fn object(&mut self, option: &str, backends: &mut Backends) -> Result<Role, BadOption> {
        let file =
            open_source(&backends.host.files, Path::new(&self.filename)).map_err(|error| {
                let accepted = "a file of random bytes";
                BadOption::property(option, "filename", &self.filename, error, accepted)
            })?;
        Ok(Role::Entropy(Box::new(file)))
    }
}

impl ObjectProps for BuiltinProps {
    fn object(&mut self, _: &str, _: &mut Backends) -> Result<Role, BadOption> {
        Ok(Role::Entropy(Box::new(HostRandom)))
    }
}

impl ObjectProps for EgdProps {
    fn object(&mut self, option: &str, backends: &mut Backends) -> Result<Role, BadOption> {
        let Some(id) = &self.chardev else {
            let accepted = "the id of a -chardev";
            return Err(BadOption::property(
                option, "chardev", "", "missing", accepted,
            ));
        };
        let chardev = backends.chardev(option, "chardev", id)?;
        Ok(Role::Entropy(Box::new(Daemon(chardev))))
    }
}

impl Entropy for File {
    fn open(&self, lease: Lease) -> io::Result<Box<dyn EntropySource>> {
        let source = FileSource::new(self.try_clone()?)?;
        Ok(Box::new(Leased(source, lease)))
    }
}

impl Entropy for HostRandom {
    fn open(&self, lease: Lease) -> io::Result<Box<dyn EntropySource>> {
        Ok(Box::new(Leased(*self, lease)))
    }
}

/// A daemon answers in the order of questions, so one device has it to itself.
struct Daemon(Arc<Chardev>);

impl Entropy for Daemon {
    fn open(&self, lease: Lease) -> io::Result<Box<dyn EntropySource>> {
        // The first is the object's, the second that of the source that is being opened.
        if Arc::strong_count(&lease.0) > 2 {
            return Err(io::Error::other("already in use"));
        }
        let source = EgdSource::new(Arc::clone(&self.0));
        Ok(Box::new(Leased(source, lease)))
    }
}

/// A source that keeps its object in use.
struct Leased<S>(S, #[expect(dead_code, reason = "held, not read")] Lease);

impl<S: EntropySource> EntropySource for Leased<S> {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        self.0.fill(data)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.0.readiness()
    }
}

/// Opens a source of entropy, which may be a FIFO that nobody writes to yet.
fn open_source(files: &Files, path: &Path) -> io::Result<File> {
    let file = files.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    match file.metadata()?.is_dir() {
        true => Err(ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}
