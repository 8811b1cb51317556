//! Files by descriptor, and the names that they were found under.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::qid::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use crate::{Name, Result};

/// A file of the host, under one of its names.
pub struct Node {
    /// O_PATH.
    fd: OwnedFd,
    identity: Identity,
    /// What the host has it for: the type bits of its mode.
    kind: u32,
    /// `None` for the root.
    place: Mutex<Option<Place>>,
    tree: Arc<Tree>,
    _permit: Permit,
}

/// What makes a file the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Where a file was found, or was moved to.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) parent: Arc<Node>,
    pub(super) name: Box<[u8]>,
}

/// The files that a client has, and how many descriptors that takes.
pub(super) struct Tree {
    /// Each file under each name is one node, which learns of a rename.
    known: Mutex<HashMap<Identity, Vec<Weak<Node>>>>,
    descriptors: Arc<AtomicUsize>,
    max: usize,
}

/// Leave to hold a descriptor.
pub(super) struct Permit(Arc<AtomicUsize>);

impl Tree {
    pub(super) fn new(max: usize) -> Self {
        Self {
            known: Mutex::default(),
            descriptors: Arc::default(),
            max,
        }
    }

    /// Leave to hold one more descriptor.
    pub(super) fn permit(&self) -> Result<Permit> {
        let permit = Permit(Arc::clone(&self.descriptors));
        match permit.0.fetch_add(1, Ordering::Relaxed) < self.max {
            true => Ok(permit),
            false => Err(Errno::NFILE),
        }
    }

    pub(super) fn root(self: &Arc<Self>, fd: OwnedFd, stat: &Stat) -> Result<Arc<Node>> {
        Ok(Arc::new(self.node(fd, stat, None)?))
    }

    /// Opens what `name` is now, as it is: a link is the link itself.
    pub(super) fn lookup(
        self: &Arc<Self>,
        parent: &Arc<Node>,
        name: Name<'_>,
    ) -> Result<Arc<Node>> {
        let fd = open_entry(parent, name, OFlags::PATH, Mode::empty())?;
        self.enter(fd, parent, name)
    }

    /// The node of what `fd` stands for and `parent` has as `name`.
    pub(super) fn enter(
        self: &Arc<Self>,
        fd: OwnedFd,
        parent: &Arc<Node>,
        name: Name<'_>,
    ) -> Result<Arc<Node>> {
        let stat = rustix::fs::fstat(&fd)?;
        let place = Place {
            parent: Arc::clone(parent),
            name: name.bytes().into(),
        };
        if let Some(node) = self.find(Identity::of(&stat), &place) {
            return Ok(node);
        }
        let node = Arc::new(self.node(fd, &stat, Some(place))?);
        let mut known = self.known();
        let nodes = known.entry(node.identity).or_default();
        nodes.push(Arc::downgrade(&node));
        drop(known);
        Ok(node)
    }

    /// What was at `from` is at `to` now.
    pub(super) fn moved(&self, from: (&Arc<Node>, Name<'_>), to: (&Arc<Node>, Name<'_>)) {
        let Ok(fd) = open_entry(to.0, to.1, OFlags::PATH, Mode::empty()) else {
            return;
        };
        let Ok(stat) = rustix::fs::fstat(&fd) else {
            return;
        };
        for node in self.nodes(Identity::of(&stat)) {
            let mut place = node.place_lock();
            let here = place
                .as_ref()
                .is_some_and(|place| place.is(from.0, from.1.bytes()));
            let old = here.then(|| {
                place.replace(Place {
                    parent: Arc::clone(to.0),
                    name: to.1.bytes().into(),
                })
            });
            drop(place);
            drop(old);
        }
    }

    fn find(&self, identity: Identity, place: &Place) -> Option<Arc<Node>> {
        let mut nodes = self.nodes(identity).into_iter();
        nodes.find(|node| {
            let here = node.place_lock();
            here.as_ref()
                .is_some_and(|here| here.is(&place.parent, &place.name))
        })
    }

    /// Taken out of the lock before any of them is dropped, which takes the lock.
    fn nodes(&self, identity: Identity) -> Vec<Arc<Node>> {
        let known = self.known();
        let nodes = known.get(&identity).map(Vec::as_slice);
        nodes
            .unwrap_or_default()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn node(self: &Arc<Self>, fd: OwnedFd, stat: &Stat, place: Option<Place>) -> Result<Node> {
        Ok(Node {
            fd,
            identity: Identity::of(stat),
            kind: stat.st_mode & S_IFMT,
            place: Mutex::new(place),
            tree: Arc::clone(self),
            _permit: self.permit()?,
        })
    }

    fn forget(&self, identity: Identity) {
        let mut known = self.known();
        if let Some(nodes) = known.get_mut(&identity) {
            nodes.retain(|node| node.strong_count() > 0);
            if nodes.is_empty() {
                known.remove(&identity);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Identity, Vec<Weak<Node>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == S_IFDIR
    }

    pub(super) fn is_regular(&self) -> bool {
        self.kind == S_IFREG
    }

    pub(super) fn is_symlink(&self) -> bool {
        self.kind == S_IFLNK
    }

    /// A path to this very file, for the system calls that take no O_PATH descriptor. It leads to
    /// the file itself whatever that is: a link is not followed further.
    pub(super) fn path(&self) -> String {
        descriptor_path(self.fd.as_fd())
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.place_lock().clone()
    }

    /// Its place, if it is still there.
    pub(super) fn place_now(&self) -> Result<Place> {
        let place = self.place().ok_or(Errno::BUSY)?;
        let name = Name::new(&place.name)?;
        let fd = open_entry(&place.parent, name, OFlags::PATH, Mode::empty())?;
        match Identity::of(&rustix::fs::fstat(&fd)?) == self.identity {
            true => Ok(place),
            false => Err(Errno::NOENT),
        }
    }

    fn place_lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Node {
    /// Parents go with their last child, in a loop: a client can nest directories deeper than our
    /// stack is.
    fn drop(&mut self) {
        self.tree.forget(self.identity);
        let mut next = take_parent(&mut self.place);
        while let Some(mut parent) = next.and_then(Arc::into_inner) {
            next = take_parent(&mut parent.place);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    fn is(&self, parent: &Node, name: &[u8]) -> bool {
        self.parent.identity == parent.identity && *self.name == *name
    }
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Opens an entry of `directory` and nothing else: no link is followed, whatever it is replaced
/// with meanwhile.
pub(super) fn open_entry(
    directory: impl AsFd,
    name: Name<'_>,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    // A concurrent rename makes the kernel give up now and then.
    for _ in 0..RENAME_RACES {
        match rustix::fs::openat2(&directory, name.bytes(), flags, mode, resolve) {
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
    Err(Errno::BUSY)
}

pub(super) fn descriptor_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn take_parent(place: &mut Mutex<Option<Place>>) -> Option<Arc<Node>> {
    let place = place.get_mut().unwrap_or_else(PoisonError::into_inner);
    place.take().map(|place| place.parent)
}

const RENAME_RACES: usize = 64;
