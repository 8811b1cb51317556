//! One client's conversation with a server: requests in, replies out.

mod directories;
mod fids;
mod files;
mod records;
mod unix;
mod xattrs;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::dialect::{Agreement, Dialect};
use crate::fid::Fids;
use crate::limits::MIN_MSIZE;
use crate::locks::Locks;
use crate::report::Report;
use crate::request::Request;
use crate::wire::{Kind, Message, READ_DATA};
use crate::{Errno, FileSystem, Limits, Patience, Payload, Reply, Result};

pub(crate) use records::Listing;
pub(crate) use xattrs::XattrPermit;

/// A client's session on a [`FileSystem`].
///
/// Requests may be served by several threads at once. Two kinds concern others in flight, which
/// only the transport knows, and it sees to them before it has them served: a Tflush waits for the
/// one that it names, and a Tversion for all.
pub struct Session<F: FileSystem> {
    fs: Arc<F>,
    limits: Limits,
    agreement: Agreement,
    fids: Fids<F>,
    xattr_fids: Arc<AtomicUsize>,
    locks: Locks,
    report: Report,
}

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Served {
    /// The reply is complete.
    Done,
    /// It would have to wait, and nothing was done yet: to be served again with more patience.
    Later,
}

impl<F: FileSystem> Session<F> {
    /// A session that begins with the client's Tversion.
    pub fn new(fs: Arc<F>, limits: Limits) -> Self {
        Self {
            xattr_fids: fs.xattr_fids(),
            fs,
            limits,
            agreement: Agreement::default(),
            fids: Fids::new(limits.fids),
            locks: Locks::new(limits.locks),
            report: Report::default(),
        }
    }

    /// Largest message in bytes that was agreed on; before that, the largest that could be.
    pub fn msize(&self) -> u32 {
        match self.agreement.msize() {
            0 => self.limits.msize,
            msize => msize,
        }
    }

    /// Whether the client has no fids.
    pub fn is_idle(&self) -> bool {
        self.fids.is_empty()
    }

    /// Ends the session: all fids are gone, and a new one may begin.
    pub fn reset(&self) {
        self.fids.clear();
        self.locks.clear();
        self.agreement.clear();
    }

    /// Serves the request that begins with `message` and whose first bytes are `head`
    /// ([`Message::head`]). Its data is in `payload`, where that of the reply is put; all else of
    /// the reply goes into `reply`.
    pub fn serve(
        &self,
        message: &Message,
        head: &[u8],
        payload: &mut impl Payload,
        patience: Patience<'_>,
        reply: &mut Reply,
    ) -> Served {
        reply.begin(message.kind | 1, message.tag);
        let served = self
            .check(message, head)
            .and_then(|request| self.dispatch(request, payload, patience, reply));
        match served {
            Ok(()) => reply.finish(),
            Err(Errno::AGAIN) if !patience.waits() => return Served::Later,
            Err(errno) => {
                // Attributes under way have limits of their own, which are no news of the host.
                if !message.is(Kind::Txattrcreate) && !message.is(Kind::Txattrwalk) {
                    self.report.note(errno);
                }
                self.refuse(message.tag, errno, reply);
            }
        }
        Served::Done
    }

    /// Has `reply` tell `errno` to the request `tag`, which was not served.
    pub fn refuse(&self, tag: u16, errno: Errno, reply: &mut Reply) {
        reply.error(tag, errno, self.agreement.dialect());
    }

    fn check<'a>(&self, message: &Message, head: &'a [u8]) -> Result<Request<'a>> {
        let begun = self.agreement.msize() != 0;
        if message.size > self.msize() {
            return Err(Errno::MSGSIZE);
        }
        match begun || message.is(Kind::Tversion) {
            true => Request::parse(message, head),
            false => Err(Errno::PROTO),
        }
    }

    fn dispatch(
        &self,
        request: Request<'_>,
        payload: &mut impl Payload,
        patience: Patience<'_>,
        reply: &mut Reply,
    ) -> Result<()> {
        match request {
            Request::Read { fid, offset, count } => {
                self.read((fid, offset, count), payload, patience, reply)
            }
            Request::Write { fid, offset, count } => {
                self.write((fid, offset, count), payload, patience, reply)
            }
            Request::ReadDir { fid, offset, count } => {
                self.read_directory((fid, offset, count), payload, reply)
            }
            Request::Fsync { .. } if !patience.waits() => Err(Errno::AGAIN),
            Request::Fsync { fid, data_only } => {
                self.fs.sync(self.fids.find(fid)?.file()?, data_only)
            }
            request => self.dispatch_small(request, reply),
        }
    }

    /// Requests without data.
    fn dispatch_small(&self, request: Request<'_>, reply: &mut Reply) -> Result<()> {
        match request {
            Request::Version { msize, version } => self.version(msize, version, reply),
            Request::Attach { fid, uid } => self.attach(fid, uid, reply),
            Request::Walk { fid, newfid, names } => self.walk(fid, newfid, &names, reply),
            Request::Clunk(fid) => self.clunk(fid),
            Request::Remove(fid) => self.remove(fid),
            Request::Statfs(fid) => self.statfs(fid, reply),
            Request::Lopen { fid, flags } => self.open(fid, flags, reply),
            Request::Lcreate {
                fid,
                name,
                flags,
                mode,
                gid,
            } => self.create(fid, name.new_entry()?, (flags, mode, Some(gid)), reply),
            Request::GetAttr(fid) => self.attributes(fid, reply),
            Request::SetAttr { fid, changes } => self.change(fid, &changes),
            Request::XattrWalk { fid, newfid, name } => self.xattr_walk(fid, newfid, name, reply),
            Request::XattrCreate {
                fid,
                name,
                size,
                flags,
            } => self.xattr_create(fid, name, size, flags),
            Request::Lock { fid, lock } => self.lock(fid, &lock, reply),
            Request::GetLock { fid, lock } => self.find_lock(fid, &lock, reply),
            Request::ReadLink(fid) => self.read_link(fid, reply),
            Request::Stat(fid) => self.stat(fid, reply),
            Request::Wstat { fid, wanted } => self.wstat(fid, &wanted),
            request => self.dispatch_entries(request, reply),
        }
    }

    /// Requests that change directories. (Those with data have been dealt with, and nothing is in
    /// flight that a Tflush could mean.)
    fn dispatch_entries(&self, request: Request<'_>, reply: &mut Reply) -> Result<()> {
        match request {
            Request::Create { fid, name, new } => {
                self.create_any(fid, name.new_entry()?, new, reply)
            }
            Request::Mkdir {
                directory,
                name,
                mode,
                gid,
            } => self.make_directory(directory, name.new_entry()?, (mode, gid), reply),
            Request::Symlink {
                directory,
                name,
                target,
                gid,
            } => self.symlink(directory, name.new_entry()?, (target, gid), reply),
            Request::Mknod {
                directory,
                name,
                mode,
                major,
                minor,
                gid,
            } => {
                let device = rustix::fs::makedev(major, minor);
                self.make_node(directory, name.new_entry()?, (mode, device, gid), reply)
            }
            Request::Rename {
                fid,
                directory,
                name,
            } => self.rename(fid, directory, name.new_entry()?),
            Request::RenameAt {
                from: (from, old),
                to: (to, new),
            } => self.rename_at((from, old.old_entry()?), (to, new.new_entry()?)),
            Request::Link {
                directory,
                fid,
                name,
            } => self.link(directory, fid, name.new_entry()?),
            Request::UnlinkAt {
                directory,
                name,
                flags,
            } => self.unlink(directory, name.old_entry()?, flags),
            _ => Ok(()),
        }
    }

    fn version(&self, msize: u32, version: &[u8], reply: &mut Reply) -> Result<()> {
        self.reset();
        let msize = msize.min(self.limits.msize);
        reply.u32(msize);
        let Some(dialect) = Dialect::named(version) else {
            reply.string(UNKNOWN);
            return Ok(());
        };
        if msize < MIN_MSIZE {
            return Err(Errno::MSGSIZE);
        }
        self.agreement.set(msize, dialect);
        reply.string(dialect.name());
        Ok(())
    }

    /// As much of `count` bytes as a reply can carry.
    fn fit(&self, count: u32, payload: &impl Payload) -> u32 {
        let message = self.msize().saturating_sub(READ_DATA as u32);
        count.min(message).min(payload.room())
    }
}

const UNKNOWN: &[u8] = b"unknown";
