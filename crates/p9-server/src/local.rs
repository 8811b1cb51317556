//! A directory of the host.
//!
//! Every file that a client has is held by a descriptor (O_PATH), and everything is done to that:
//! paths are never put together, and links never followed. What a client can reach is what can be
//! reached from the root by looking up one name after another, whoever renames what meanwhile.
//! Only regular files and directories are ever opened.

mod contents;
mod credentials;
mod devices;
mod entries;
mod metadata;
mod new;
mod node;
mod open;
mod options;
mod xattrs;

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::credentials::Credentials;
use self::devices::Devices;
use self::node::{Node, Tree};
use self::open::File;
pub use self::options::{LocalError, LocalOptions, MultiDevs, SecurityModel};
use crate::{
    Attributes, Changes, Creation, Entry, FileSystem, Found, Name, Owner, Patience, Payload, Qid,
    Result, Statistics, XattrFlags,
};

/// A directory of the host, shared as QEMU's `-fsdev local` shares it.
pub struct Local {
    root: Arc<Node>,
    tree: Arc<Tree>,
    devices: Devices,
    options: LocalOptions,
}

impl Local {
    /// Shares the directory `path`.
    ///
    /// # Errors
    /// Where it is no directory that can be opened, or its file system cannot keep what the
    /// security model wants to keep there.
    pub fn new(path: &Path, options: LocalOptions) -> Result<Self, LocalError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty());
        let root = root.map_err(LocalError::Directory)?;
        let stat = rustix::fs::fstat(&root).map_err(LocalError::Directory)?;
        let tree = Arc::new(Tree::new(options.descriptors));
        let root = tree.root(root, &stat).map_err(LocalError::Directory)?;
        if options.security_model == SecurityModel::MappedXattr {
            credentials::probe(&root).map_err(LocalError::Attributes)?;
        }
        Ok(Self {
            devices: Devices::new(root.identity().device, options.multidevs),
            root,
            tree,
            options,
        })
    }

    fn writable(&self) -> Result<()> {
        match self.options.read_only {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }

    fn model(&self) -> SecurityModel {
        self.options.security_model
    }

    /// Names that the security model has for itself.
    fn visible(&self, name: Name<'_>) -> Result<()> {
        match self.model() == SecurityModel::MappedFile && metadata::is_own(name.bytes()) {
            true => Err(Errno::INVAL),
            false => Ok(()),
        }
    }
}

impl FileSystem for Local {
    type Node = Node;
    type File = File;

    fn root(&self) -> Arc<Node> {
        Arc::clone(&self.root)
    }

    fn parent(&self, node: &Arc<Node>) -> Arc<Node> {
        node.place()
            .map_or_else(|| self.root(), |place| place.parent)
    }

    fn name(&self, node: &Node) -> Vec<u8> {
        node.place()
            .map_or_else(Vec::new, |place| place.name.into_vec())
    }

    fn lookup(&self, directory: &Arc<Node>, name: Name<'_>) -> Result<Found<Node>> {
        self.visible(name)?;
        let (node, stat) = self.tree.lookup(directory, name)?;
        self.devices.check(node.identity())?;
        let qid = self.devices.qid(self.mode(&node, &stat)?, &stat)?;
        Ok(Found { node, qid })
    }

    fn qid(&self, node: &Node) -> Result<Qid> {
        let stat = node.stat()?;
        let mode = self.mode(node, &stat)?;
        self.devices.qid(mode, &stat)
    }

    fn attributes(&self, node: &Node) -> Result<Attributes> {
        let stat = node.stat()?;
        let Credentials {
            uid,
            gid,
            mode,
            rdev,
        } = self.credentials(node, &stat)?;
        Ok(Attributes {
            mode,
            uid,
            gid,
            rdev,
            ..open::attributes(&stat, self.devices.qid(mode, &stat)?)
        })
    }

    fn change(&self, node: &Node, file: Option<&File>, changes: &Changes) -> Result<()> {
        self.writable()?;
        self.change_credentials(node, changes)?;
        if let Some(size) = changes.size {
            self.truncate(node, file, size)?;
        }
        open::set_times(node, changes)
    }

    fn open(&self, node: &Arc<Node>, flags: u32) -> Result<File> {
        self.open_node(node, flags)
    }

    fn create(
        &self,
        directory: &Arc<Node>,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        owner: Owner,
    ) -> Result<(Found<Node>, File)> {
        self.writable()?;
        self.visible(name)?;
        self.create_file(directory, name, flags, mode, owner)
    }

    fn make(
        &self,
        directory: &Arc<Node>,
        name: Name<'_>,
        what: Creation<'_>,
        owner: Owner,
    ) -> Result<Found<Node>> {
        self.writable()?;
        self.visible(name)?;
        self.make_entry(directory, name, what, owner)
    }

    fn link(&self, node: &Node, directory: &Arc<Node>, name: Name<'_>) -> Result<()> {
        self.writable()?;
        self.visible(name)?;
        self.link_node(node, directory, name)
    }

    fn rename(&self, from: (&Arc<Node>, Name<'_>), to: (&Arc<Node>, Name<'_>)) -> Result<()> {
        self.writable()?;
        self.visible(from.1)?;
        self.visible(to.1)?;
        self.move_entry(from, to)
    }

    fn rename_node(&self, node: &Arc<Node>, to: (&Arc<Node>, Name<'_>)) -> Result<()> {
        let place = node.place_now()?;
        self.rename((&place.parent, Name::new(&place.name)?), to)
    }

    fn unlink(&self, from: &Arc<Node>, name: Name<'_>, directory: bool) -> Result<()> {
        self.writable()?;
        self.visible(name)?;
        self.remove_entry(from, name, directory)
    }

    fn remove(&self, node: &Arc<Node>) -> Result<()> {
        let place = node.place_now()?;
        self.unlink(&place.parent, Name::new(&place.name)?, node.is_directory())
    }

    fn read_link(&self, node: &Node) -> Result<Vec<u8>> {
        self.link_target(node)
    }

    fn statistics(&self, node: &Node) -> Result<Statistics> {
        contents::statistics(node)
    }

    fn read(
        &self,
        file: &File,
        offset: u64,
        len: u32,
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32> {
        file.read(offset, len, payload, patience)
    }

    fn write(
        &self,
        file: &File,
        offset: u64,
        len: u32,
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32> {
        self.write_file(file, (offset, len), payload, patience)
    }

    fn read_directory(
        &self,
        file: &File,
        offset: u64,
        take: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<()> {
        self.list(file, offset, take)
    }

    fn sync(&self, file: &File, data_only: bool) -> Result<()> {
        file.sync(data_only)
    }

    fn xattr(&self, node: &Node, name: &[u8]) -> Result<Vec<u8>> {
        self.read_xattr(node, name)
    }

    fn xattr_names(&self, node: &Node) -> Result<Vec<u8>> {
        self.list_xattrs(node)
    }

    fn set_xattr(&self, node: &Node, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        self.writable()?;
        self.write_xattr(node, name, value, flags)
    }

    fn remove_xattr(&self, node: &Node, name: &[u8]) -> Result<()> {
        self.writable()?;
        self.delete_xattr(node, name)
    }
}
