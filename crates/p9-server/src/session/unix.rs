//! What 9P2000.u asks for in other requests than 9P2000.L: Tcreate, Tstat and Twstat.

use super::Session;
use super::directories::link_to;
use crate::fid::Fid;
use crate::request::{FidNumber, New};
use crate::stat::Wanted;
use crate::{Creation, Errno, FileSystem, Found, Name, Owner, Reply, Result, mode};

impl<F: FileSystem> Session<F> {
    /// Makes anything in the directory of a fid, which then stands for that.
    pub(super) fn create_any(
        &self,
        number: FidNumber,
        name: Name<'_>,
        new: New<'_>,
        reply: &mut Reply,
    ) -> Result<()> {
        if let New::File(mode, flags) = new {
            return self.create(number, name, (flags, mode, None), reply);
        }
        let fid = self.fids.find(number)?;
        let made = self.make_any(&fid, name, new)?;
        if let New::Directory(_) = new {
            let file = self.fs.open(&made.node, 0)?;
            return self.opened(number, &fid, (made, file), reply);
        }
        let Found { node, qid } = made;
        self.turn_into(number, &fid, Fid::walked(node, fid.uid))?;
        self.told(&qid, reply);
        Ok(())
    }

    fn make_any(&self, fid: &Fid<F>, name: Name<'_>, new: New<'_>) -> Result<Found<F::Node>> {
        let directory = fid.unopened()?;
        let what = match new {
            New::File(mode, _) => Creation::Node(mode, 0),
            New::Directory(mode) => Creation::Directory(mode),
            New::Symlink(target) => link_to(target)?,
            New::Node(mode, device) => Creation::Node(mode, device),
            New::Link(other) => {
                let other = self.fids.find(other)?;
                self.fs.link(other.node()?, directory, name)?;
                return self.fs.lookup(directory, name);
            }
        };
        let owner = Owner {
            uid: fid.uid,
            gid: None,
        };
        self.fs.make(directory, name, what, owner)
    }

    pub(super) fn stat(&self, fid: FidNumber, reply: &mut Reply) -> Result<()> {
        let fid = self.fids.find(fid)?;
        let node = fid.node()?;
        let name = match self.fs.name(node) {
            root if root.is_empty() => b"/".to_vec(),
            name => name,
        };
        reply.record(&self.record(node, &name)?);
        Ok(())
    }

    /// One change after another; those before one that fails stay.
    pub(super) fn wstat(&self, fid: FidNumber, wanted: &Wanted<'_>) -> Result<()> {
        let fid = self.fids.find(fid)?;
        let node = fid.node()?;
        if let Some(kind) = wanted.kind {
            let now = mode::from_host(self.fs.attributes(node)?.mode);
            if kind != now & mode::KIND {
                return Err(Errno::IO);
            }
        }
        self.fs.change(node, fid.file().ok(), &wanted.changes)?;
        match wanted.name {
            None => Ok(()),
            Some(name) => {
                let directory = self.fs.parent(node);
                self.fs.rename_node(node, (&directory, name.new_entry()?))
            }
        }
    }
}
