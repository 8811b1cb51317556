//! Files by descriptor, and the names that they were found under.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
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
    /// Each file under each name is one node, which learns of a rename. The key is the hash of both:
    /// a file may have names by the thousand.
    known: Mutex<HashMap<u64, Vec<Weak<Node>>>>,
    hasher: RandomState,
    /// Whose turn it is to give nodes another parent, so that none comes to be its own ancestor.
    moving: Mutex<()>,
    descriptors: Arc<AtomicUsize>,
    max: usize,
}

/// Leave to hold a descriptor.
pub(super) struct Permit(Arc<AtomicUsize>);

impl Tree {
    pub(super) fn new(max: usize) -> Self {
        Self {
            known: Mutex::default(),
            hasher: RandomState::new(),
            moving: Mutex::default(),
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
    ) -> Result<(Arc<Node>, Stat)> {
        let fd = open_entry(parent, name, OFlags::PATH, Mode::empty())?;
        self.enter(fd, parent, name)
    }

    /// The node of what `fd` stands for and `parent` has as `name`, and what the host says of it.
    pub(super) fn enter(
        self: &Arc<Self>,
        fd: OwnedFd,
        parent: &Arc<Node>,
        name: Name<'_>,
    ) -> Result<(Arc<Node>, Stat)> {
        let stat = rustix::fs::fstat(&fd)?;
        let place = Place::new((parent, name));
        let key = self.key(Identity::of(&stat), &place);
        if let Some(node) = self.nodes(key, Identity::of(&stat), &place).pop() {
            return Ok((node, stat));
        }
        let node = Arc::new(self.node(fd, &stat, Some(place))?);
        self.learn(key, &node);
        Ok((node, stat))
    }

    /// What was at `from` is at `to` now, unless somebody else has moved things meanwhile.
    pub(super) fn moved(&self, from: (&Arc<Node>, Name<'_>), to: (&Arc<Node>, Name<'_>)) {
        let Ok(fd) = open_entry(to.0, to.1, OFlags::PATH, Mode::empty()) else {
            return;
        };
        let Ok(stat) = rustix::fs::fstat(&fd) else {
            return;
        };
        let (identity, [from, to]) = (Identity::of(&stat), [from, to].map(Place::new));
        let [old_key, new_key] = [&from, &to].map(|place| self.key(identity, place));
        let _turn = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        for node in self.nodes(old_key, identity, &from) {
            if to.parent.is_below(&node) {
                continue;
            }
            self.forget(old_key, &node);
            let old = node.place_lock().replace(to.clone());
            self.learn(new_key, &node);
            // It may be the last to have the directory, whose end takes the locks.
            drop(old);
        }
    }

    fn learn(&self, key: u64, node: &Arc<Node>) {
        let mut known = self.known();
        known.entry(key).or_default().push(Arc::downgrade(node));
    }

    fn forget(&self, key: u64, node: &Node) {
        let mut known = self.known();
        if let Some(nodes) = known.get_mut(&key) {
            nodes.retain(|known| known.strong_count() > 0 && !ptr::eq(known.as_ptr(), node));
            if nodes.is_empty() {
                known.remove(&key);
            }
        }
    }

    fn key(&self, identity: Identity, place: &Place) -> u64 {
        let Place { parent, name } = place;
        self.hasher.hash_one((identity, parent.identity, name))
    }

    /// The nodes of a file by this name: one, or some more that were looked up at once. They are taken
    /// out of the lock before any of them is dropped, which takes the lock.
    fn nodes(&self, key: u64, identity: Identity, place: &Place) -> Vec<Arc<Node>> {
        let known = self.known();
        let nodes = known.get(&key).into_iter().flatten();
        let mut nodes: Vec<_> = nodes.filter_map(Weak::upgrade).collect();
        drop(known);
        nodes.retain(|node| node.is(identity, place));
        nodes
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

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Vec<Weak<Node>>>> {
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

    /// Whether `other` is this directory or, as far as is known, above it. What is known may be older
    /// than what the host has, where a directory can be moved into what was below it. Nodes that keep
    /// one another are never given up.
    fn is_below(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut next = Some(Arc::clone(self));
        while let Some(node) = next {
            if Arc::ptr_eq(&node, other) {
                return true;
            }
            next = node.place().map(|place| place.parent);
        }
        false
    }

    fn is(&self, identity: Identity, place: &Place) -> bool {
        let here = self.place_lock();
        let here = here.as_ref().is_some_and(|here| here.is(place));
        self.identity == identity && here
    }

    /// It is forgotten. Returns its parent.
    fn leave(&mut self) -> Option<Arc<Node>> {
        let place = self.place.get_mut().unwrap_or_else(PoisonError::into_inner);
        let place = place.take()?;
        self.tree.forget(self.tree.key(self.identity, &place), self);
        Some(place.parent)
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
        let mut next = self.leave();
        while let Some(mut parent) = next.and_then(Arc::into_inner) {
            next = parent.leave();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    fn new((parent, name): (&Arc<Node>, Name<'_>)) -> Self {
        Self {
            parent: Arc::clone(parent),
            name: name.bytes().into(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.parent.identity == other.parent.identity && self.name == other.name
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

const RENAME_RACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that holds thousands of links to one file costs no more for each.
    #[test]
    fn names_of_one_file_are_kept_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = |number: u32| directory.path().join(number.to_string());
        std::fs::write(path(0), "").unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
        let (tree, stat) = (Arc::new(Tree::new(1000)), rustix::fs::fstat(&root).unwrap());
        let root = tree.root(root, &stat).unwrap();
        let find = |number: u32| {
            let name = number.to_string();
            tree.lookup(&root, Name::new(name.as_bytes()).unwrap())
                .unwrap()
                .0
        };
        let mut nodes = vec![find(0)];
        for number in 1..500 {
            std::fs::hard_link(path(0), path(number)).unwrap();
            nodes.push(find(number));
        }
        assert_eq!(tree.known().len(), 500);
        assert!(tree.known().values().all(|nodes| nodes.len() == 1));
        assert!(Arc::ptr_eq(&nodes[7], &find(7)));
        // One that has moved is found where it is now, and no longer where it was.
        std::fs::rename(path(7), path(1000)).unwrap();
        let [old, new] = [&b"7"[..], b"1000"].map(|name| (&root, Name::new(name).unwrap()));
        tree.moved(old, new);
        assert!(Arc::ptr_eq(&nodes[7], &find(1000)));
        assert_eq!(tree.known().len(), 500);
        drop(nodes);
        assert_eq!(tree.known().len(), 0);
    }

    /// A client and the host, or two clients, move directories into one another by turns.
    #[test]
    fn bug_75_no_directory_is_kept_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        ["a", "b"]
            .iter()
            .for_each(|name| std::fs::create_dir(path(name)).unwrap());
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
        let (tree, stat) = (Arc::new(Tree::new(1000)), rustix::fs::fstat(&root).unwrap());
        let root = tree.root(root, &stat).unwrap();
        let [a, b] = [&b"a"[..], b"b"].map(|name| Name::new(name).unwrap());
        let [first, second] = [a, b].map(|name| tree.lookup(&root, name).unwrap().0);
        // The client moves one into the other, and the host moves it back, of which nobody hears.
        std::fs::rename(path("a"), path("b/a")).unwrap();
        tree.moved((&root, a), (&second, a));
        std::fs::rename(path("b/a"), path("a")).unwrap();
        std::fs::rename(path("b"), path("a/b")).unwrap();
        tree.moved((&root, b), (&first, b));
        drop((first, second, root));
        assert_eq!(tree.descriptors.load(Ordering::Relaxed), 0);
        assert_eq!(tree.known().len(), 0);
    }
}
