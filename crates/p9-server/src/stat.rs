//! Stat records of 9P2000.u (stat(5), with four fields more): how Rstat and a directory that is read
//! by Tread tell attributes, and Twstat changes them.

use crate::name::Component;
use crate::qid::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG};
use crate::wire::{Reader, put_qid, put_string};
use crate::{Attributes, Change, Changes, Errno, Result, Timestamp, mode};

/// What is told of a file.
pub(crate) struct Record<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) attributes: Attributes,
    /// The target of a link; of others see [`extension`].
    pub(crate) extension: Vec<u8>,
}

impl Record<'_> {
    /// Bytes of it, its own length included.
    pub(crate) fn len(&self) -> usize {
        FIXED + self.name.len() + self.extension.len()
    }

    /// Appends it. Names have at most 255 bytes and targets 4095, so that lengths fit.
    pub(crate) fn put(&self, bytes: &mut Vec<u8>) {
        let Attributes {
            qid,
            mode,
            uid,
            gid,
            size,
            accessed,
            modified,
            ..
        } = &self.attributes;
        let number = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
        bytes.extend(((self.len() - LENGTH) as u16).to_le_bytes());
        // The kind and number of the server's own device.
        bytes.extend([0; 6]);
        put_qid(bytes, qid);
        number(bytes, mode::from_host(*mode));
        // Until 2106.
        number(bytes, accessed.seconds as u32);
        number(bytes, modified.seconds as u32);
        bytes.extend(size.to_le_bytes());
        put_string(bytes, self.name);
        // Users have numbers; who has changed it last is not known.
        NAMELESS.iter().for_each(|user| put_string(bytes, user));
        put_string(bytes, &self.extension);
        [*uid, *gid, 0]
            .into_iter()
            .for_each(|user| number(bytes, user));
    }
}

/// What there is to say of a file that is no symbolic link: which device, or how many names.
pub(crate) fn extension(attributes: &Attributes) -> Vec<u8> {
    let Attributes {
        mode, nlink, rdev, ..
    } = *attributes;
    let device = |kind| {
        let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        format!("{kind} {major} {minor}")
    };
    let text = match mode & S_IFMT {
        S_IFCHR => device('c'),
        S_IFBLK => device('b'),
        S_IFDIR | S_IFREG => format!("HARDLINKCOUNT {nlink}"),
        _ => String::new(),
    };
    text.into_bytes()
}

/// What a Twstat changes. The other fields are the server's, and say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// What the file is, by its mode, which cannot be changed.
    pub(crate) kind: Option<u32>,
    pub(crate) changes: Changes,
    pub(crate) name: Option<Component<'a>>,
}

impl<'a> Wanted<'a> {
    /// Parses the record that ends a Twstat. Its length comes twice.
    pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self> {
        let (all, len) = (r.u16()?, r.u16()?);
        if usize::from(len) != r.len() || usize::from(all) != r.len() + LENGTH {
            return Err(Errno::INVAL);
        }
        let (_type, _dev, _qid) = (r.u16()?, r.u32()?, (r.u8()?, r.u32()?, r.u64()?));
        let (mode, accessed, modified, size) = (r.u32()?, r.u32()?, r.u32()?, r.u64()?);
        let (name, _users, _extension) = (
            r.string()?,
            (r.string()?, r.string()?, r.string()?),
            r.string()?,
        );
        let (uid, gid, _changer) = (r.u32()?, r.u32()?, r.u32()?);
        let mode = given(mode);
        Ok(Self {
            kind: mode.map(|mode| mode & mode::KIND),
            changes: Changes {
                mode: mode.map(mode::permissions),
                uid: given(uid),
                gid: given(gid),
                size: (size != u64::MAX).then_some(size),
                accessed: given(accessed).map(time),
                modified: given(modified).map(time),
            },
            name: match name {
                [] => None,
                name => Some(Component::new(name)?),
            },
        })
    }
}

/// All ones are no value.
fn given(value: u32) -> Option<u32> {
    (value != u32::MAX).then_some(value)
}

fn time(seconds: u32) -> Change {
    Change::To(Timestamp {
        seconds: seconds.into(),
        nanoseconds: 0,
    })
}

/// Names of the owner, the group, and who changed it last.
const NAMELESS: [&[u8]; 3] = [b""; 3];
/// Bytes of a record's length.
const LENGTH: usize = 2;
/// Bytes of a record without its strings.
const FIXED: usize = LENGTH + 61;
