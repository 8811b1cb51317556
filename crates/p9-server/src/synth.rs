//! A tree in memory, with files that do what a test of a client wants: the names and contents that
//! QEMU's `-fsdev synth` has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use crate::qid::{S_IFDIR, S_IFREG};
use crate::{
    Attributes, Changes, Creation, Entry, FileSystem, Found, Name, Owner, Patience, Payload, Qid,
    Result, Statistics, Timestamp, XattrFlags,
};

/// The tree:
///
/// - `WALK0/WALK1/.../WALK15`: directories to walk through
/// - `LOPEN`: a file that can be opened
/// - `WRITE`: a file that takes what is written and forgets it; any file does so with attributes
/// - `FLUSH`: a file where a write of a byte that is not 0 waits until it is given up
/// - `ReadDirDir/ReadDirFile0` to `ReadDirFile99`: entries to list
/// - `stat/xattr_count`: how many fids of the client stand for an attribute, as a little-endian u64
#[derive(Debug)]
pub struct Synth {
    nodes: Vec<Arc<SynthNode>>,
    xattr_fids: Arc<AtomicUsize>,
}

/// A file or directory of a [`Synth`].
#[derive(Debug)]
pub struct SynthNode {
    number: usize,
    parent: usize,
    name: String,
    directory: bool,
}

impl Synth {
    /// A new tree.
    pub fn new() -> Self {
        let mut this = Self {
            nodes: Vec::new(),
            xattr_fids: Arc::default(),
        };
        this.add(ROOT, "", true);
        let mut parent = ROOT;
        for level in 0..16 {
            parent = this.add(parent, &format!("WALK{level}"), true);
        }
        for name in ["LOPEN", "WRITE", FLUSH] {
            this.add(ROOT, name, false);
        }
        let directory = this.add(ROOT, "ReadDirDir", true);
        for number in 0..100 {
            this.add(directory, &format!("ReadDirFile{number}"), false);
        }
        let directory = this.add(ROOT, "stat", true);
        this.add(directory, XATTR_COUNT, false);
        this
    }

    fn add(&mut self, parent: usize, name: &str, directory: bool) -> usize {
        let number = self.nodes.len();
        self.nodes.push(Arc::new(SynthNode {
            number,
            parent,
            name: name.to_owned(),
            directory,
        }));
        number
    }

    /// The newest first, which is QEMU's order: how many entries fit a message depends on it, and so
    /// how many messages a client needs.
    fn children(&self, directory: usize) -> impl Iterator<Item = &Arc<SynthNode>> {
        let others = self.nodes.iter().skip(1).rev();
        others.filter(move |node| node.parent == directory)
    }

    fn node(&self, number: usize) -> Arc<SynthNode> {
        self.nodes
            .get(number)
            .map_or_else(|| self.root(), Arc::clone)
    }
}

impl Default for Synth {
    fn default() -> Self {
        Self::new()
    }
}

impl SynthNode {
    fn mode(&self) -> u32 {
        match self.directory {
            true => S_IFDIR | 0o700,
            false => S_IFREG | 0o600,
        }
    }

    fn qid(&self) -> Qid {
        Qid::new(self.mode(), 0, self.number as u64)
    }
}

impl FileSystem for Synth {
    type Node = SynthNode;
    type File = Arc<SynthNode>;

    fn root(&self) -> Arc<SynthNode> {
        // Made with the tree.
        Arc::clone(&self.nodes[ROOT])
    }

    fn parent(&self, node: &Arc<SynthNode>) -> Arc<SynthNode> {
        self.node(node.parent)
    }

    fn name(&self, node: &SynthNode) -> Vec<u8> {
        node.name.clone().into_bytes()
    }

    fn lookup(&self, directory: &Arc<SynthNode>, name: Name<'_>) -> Result<Found<SynthNode>> {
        if !directory.directory {
            return Err(Errno::NOTDIR);
        }
        let mut children = self.children(directory.number);
        let found = children.find(|node| node.name.as_bytes() == name.bytes());
        let node = found.cloned().ok_or(Errno::NOENT)?;
        let qid = node.qid();
        Ok(Found { node, qid })
    }

    fn qid(&self, node: &SynthNode) -> Result<Qid> {
        Ok(node.qid())
    }

    fn attributes(&self, node: &SynthNode) -> Result<Attributes> {
        Ok(Attributes {
            qid: node.qid(),
            mode: node.mode(),
            uid: 0,
            gid: 0,
            nlink: 1,
            rdev: 0,
            size: 0,
            block_size: 4096,
            blocks: 0,
            accessed: Timestamp::default(),
            modified: Timestamp::default(),
            changed: Timestamp::default(),
        })
    }

    fn change(&self, _: &SynthNode, _: Option<&Arc<SynthNode>>, _: &Changes) -> Result<()> {
        Err(Errno::PERM)
    }

    fn open(&self, node: &Arc<SynthNode>, flags: u32) -> Result<Arc<SynthNode>> {
        match node.directory && flags & 0o3 != 0 {
            true => Err(Errno::ISDIR),
            false => Ok(Arc::clone(node)),
        }
    }

    fn create(
        &self,
        _: &Arc<SynthNode>,
        _: Name<'_>,
        _: u32,
        _: u32,
        _: Owner,
    ) -> Result<(Found<SynthNode>, Arc<SynthNode>)> {
        Err(Errno::PERM)
    }

    fn make(
        &self,
        _: &Arc<SynthNode>,
        _: Name<'_>,
        _: Creation<'_>,
        _: Owner,
    ) -> Result<Found<SynthNode>> {
        Err(Errno::PERM)
    }

    fn link(&self, _: &SynthNode, _: &Arc<SynthNode>, _: Name<'_>) -> Result<()> {
        Err(Errno::PERM)
    }

    fn rename(&self, _: (&Arc<SynthNode>, Name<'_>), _: (&Arc<SynthNode>, Name<'_>)) -> Result<()> {
        Err(Errno::PERM)
    }

    fn rename_node(&self, _: &Arc<SynthNode>, _: (&Arc<SynthNode>, Name<'_>)) -> Result<()> {
        Err(Errno::PERM)
    }

    fn unlink(&self, _: &Arc<SynthNode>, _: Name<'_>, _: bool) -> Result<()> {
        Err(Errno::PERM)
    }

    fn remove(&self, _: &Arc<SynthNode>) -> Result<()> {
        Err(Errno::PERM)
    }

    fn read_link(&self, _: &SynthNode) -> Result<Vec<u8>> {
        Err(Errno::INVAL)
    }

    fn statistics(&self, _: &SynthNode) -> Result<Statistics> {
        Ok(Statistics {
            block_size: 512,
            name_length: 255,
            ..Statistics::default()
        })
    }

    fn read(
        &self,
        file: &Arc<SynthNode>,
        offset: u64,
        len: u32,
        payload: &mut impl Payload,
        _: Patience<'_>,
    ) -> Result<u32> {
        match &*file.name {
            _ if file.directory => Err(Errno::ISDIR),
            XATTR_COUNT => {
                let count = self.xattr_fids.load(Ordering::Relaxed) as u64;
                let count = count.to_le_bytes();
                let rest = count.iter().skip(offset.min(8) as usize);
                let part: Vec<_> = rest.take(len as usize).copied().collect();
                payload.put(&part)?;
                Ok(part.len() as u32)
            }
            _ => Ok(0),
        }
    }

    fn write(
        &self,
        file: &Arc<SynthNode>,
        _: u64,
        len: u32,
        payload: &mut impl Payload,
        patience: Patience<'_>,
    ) -> Result<u32> {
        if file.name != FLUSH {
            return Ok(len);
        }
        let mut byte = [0];
        payload.get(&mut byte)?;
        match (byte, patience) {
            ([0], _) => Ok(len),
            (_, Patience::None) => Err(Errno::AGAIN),
            (_, Patience::Host) => Err(Errno::INTR),
            (_, Patience::Until(cancel)) => {
                cancel.wait();
                Err(Errno::INTR)
            }
        }
    }

    /// An entry's place is its number among them; `.` and `..` are the last two.
    fn read_directory(
        &self,
        file: &Arc<SynthNode>,
        offset: u64,
        take: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<()> {
        let parent = self.node(file.parent);
        let own = [(".", file), ("..", &parent)];
        let children = self
            .children(file.number)
            .map(|node| (node.name.as_str(), node));
        let entries = children.chain(own).zip(1..);
        let rest = entries.skip(usize::try_from(offset).unwrap_or(usize::MAX));
        for ((name, node), next) in rest {
            let kind = if node.directory { 4 } else { 8 };
            let (qid, name) = (node.qid(), name.as_bytes());
            if !take(&Entry {
                qid,
                next,
                kind,
                name,
            }) {
                break;
            }
        }
        match file.directory {
            true => Ok(()),
            false => Err(Errno::NOTDIR),
        }
    }

    fn sync(&self, _: &Arc<SynthNode>, _: bool) -> Result<()> {
        Ok(())
    }

    fn xattr(&self, _: &SynthNode, _: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP)
    }

    fn xattr_names(&self, _: &SynthNode) -> Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP)
    }

    fn set_xattr(&self, _: &SynthNode, _: &[u8], _: &[u8], _: XattrFlags) -> Result<()> {
        Ok(())
    }

    fn remove_xattr(&self, _: &SynthNode, _: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    fn xattr_fids(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.xattr_fids)
    }
}

const ROOT: usize = 0;
const FLUSH: &str = "FLUSH";
const XATTR_COUNT: &str = "xattr_count";
