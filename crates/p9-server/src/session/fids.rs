//! Fids come and go: attach, walk, open, create, clunk, remove.

use std::sync::{Arc, Mutex};

use super::Session;
use crate::fid::{Fid, Open, State};
use crate::name::Component;
use crate::request::FidNumber;
use crate::{Errno, FileSystem, Found, Name, Owner, Qid, QidKind, Reply, Result};

impl<F: FileSystem> Session<F> {
    pub(super) fn attach(&self, fid: FidNumber, uid: Option<u32>, reply: &mut Reply) -> Result<()> {
        let root = self.fs.root();
        let qid = self.fs.qid(&root)?;
        self.fids.add(fid, Fid::walked(root, uid))?;
        reply.qid(&qid);
        Ok(())
    }

    /// Walks as far as there is a way. The new fid is there only if that is to the end; an error
    /// is told only if it is nowhere.
    pub(super) fn walk(
        &self,
        number: FidNumber,
        newfid: FidNumber,
        names: &[Component<'_>],
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(number)?;
        // An open file may be cloned for its attributes, but not walked from.
        let start = if names.is_empty() {
            fid.node()?
        } else {
            fid.unopened()?
        };
        if newfid != number {
            self.fids.check_free(newfid)?;
        }
        let (node, qids) = self.follow(start, names)?;
        if qids.len() == names.len() {
            let new = Fid::walked(node, fid.uid);
            match newfid == number {
                true => self.fids.replace(number, &fid, new)?,
                false => self.fids.add(newfid, new)?,
            }
        }
        reply.qids(&qids);
        Ok(())
    }

    fn follow(
        &self,
        start: &Arc<F::Node>,
        names: &[Component<'_>],
    ) -> Result<(Arc<F::Node>, Vec<Qid>)> {
        let (mut node, mut qids) = (Arc::clone(start), Vec::new());
        for &name in names {
            match self.step(&node, name) {
                Ok(next) => {
                    node = next.node;
                    qids.push(next.qid);
                }
                Err(errno) if qids.is_empty() => return Err(errno),
                Err(_) => break,
            }
        }
        Ok((node, qids))
    }

    fn step(&self, node: &Arc<F::Node>, name: Component<'_>) -> Result<Found<F::Node>> {
        let node = match name {
            Component::Dot => Arc::clone(node),
            Component::DotDot => self.fs.parent(node),
            Component::Name(name) => return self.fs.lookup(node, name),
        };
        let qid = self.fs.qid(&node)?;
        Ok(Found { node, qid })
    }

    pub(super) fn open(&self, number: FidNumber, flags: u32, reply: &mut Reply) -> Result<()> {
        let fid = self.fids.find(number)?;
        let node = fid.unopened()?;
        let qid = self.fs.qid(node)?;
        let file = self.fs.open(node, flags)?;
        let node = Arc::clone(node);
        self.opened(number, &fid, (Found { node, qid }, file), reply)
    }

    pub(super) fn create(
        &self,
        number: FidNumber,
        name: Name<'_>,
        (flags, mode, gid): (u32, u32, Option<u32>),
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(number)?;
        let owner = Owner { uid: fid.uid, gid };
        let made = self.fs.create(fid.unopened()?, name, flags, mode, owner)?;
        self.opened(number, &fid, made, reply)
    }

    pub(super) fn clunk(&self, number: FidNumber) -> Result<()> {
        let fid = self.fids.remove(number)?;
        self.locks.release(number);
        match &fid.state {
            State::XattrWrite(write) => self.set_xattr(&fid.node, write),
            _ => Ok(()),
        }
    }

    /// The fid is gone even if its file stays.
    pub(super) fn remove(&self, number: FidNumber) -> Result<()> {
        let fid = self.fids.remove(number)?;
        self.locks.release(number);
        self.fs.remove(fid.node()?)
    }

    pub(super) fn opened(
        &self,
        number: FidNumber,
        fid: &Arc<Fid<F>>,
        (Found { node, qid }, file): (Found<F::Node>, F::File),
        reply: &mut Reply,
    ) -> Result<()> {
        let directory = qid.kind == QidKind::Directory;
        let listing = directory.then(Mutex::default);
        let open = Fid {
            node,
            uid: fid.uid,
            state: State::Open(Open { file, listing }),
        };
        self.turn_into(number, fid, open)?;
        self.told(&qid, reply);
        Ok(())
    }

    /// What is said of a file that was opened or made.
    pub(super) fn told(&self, qid: &Qid, reply: &mut Reply) {
        reply.qid(qid);
        reply.u32(self.io_unit());
    }

    /// The fid stands for something else now.
    pub(super) fn turn_into(
        &self,
        number: FidNumber,
        old: &Arc<Fid<F>>,
        new: Fid<F>,
    ) -> Result<()> {
        // Two requests at once for one fid: the second comes too late.
        let replaced = self.fids.replace(number, old, new);
        replaced.map_err(|_| Errno::BUSY)
    }

    /// The largest transfer, in whole pages where there are any.
    fn io_unit(&self) -> u32 {
        let most = self.msize() - IO_HEADER;
        match most / PAGE {
            0 => most,
            pages => pages * PAGE,
        }
    }
}

/// Bytes that Linux reserves for the header of a transfer (P9_IOHDRSZ).
const IO_HEADER: u32 = 24;
const PAGE: u32 = 4096;
