//! Requests on entries of directories.

use super::Request;
use crate::Result;
use crate::name::Component;
use crate::wire::{Kind, Message, Reader};

impl<'a> Request<'a> {
    pub(super) fn directories(message: &Message, r: &mut Reader<'a>) -> Result<Option<Self>> {
        let name = |r: &mut Reader<'a>| Component::new(r.string()?);
        Ok(Some(if message.is(Kind::Tlcreate) {
            Self::Lcreate {
                fid: r.u32()?,
                name: name(r)?,
                flags: r.u32()?,
                mode: r.u32()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Tsymlink) {
            Self::Symlink {
                directory: r.u32()?,
                name: name(r)?,
                target: r.string()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Tmknod) {
            Self::Mknod {
                directory: r.u32()?,
                name: name(r)?,
                mode: r.u32()?,
                major: r.u32()?,
                minor: r.u32()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Tmkdir) {
            Self::Mkdir {
                directory: r.u32()?,
                name: name(r)?,
                mode: r.u32()?,
                gid: r.u32()?,
            }
        } else if message.is(Kind::Trename) {
            Self::Rename {
                fid: r.u32()?,
                directory: r.u32()?,
                name: name(r)?,
            }
        } else if message.is(Kind::Trenameat) {
            Self::RenameAt {
                from: (r.u32()?, name(r)?),
                to: (r.u32()?, name(r)?),
            }
        } else if message.is(Kind::Tlink) {
            Self::Link {
                directory: r.u32()?,
                fid: r.u32()?,
                name: name(r)?,
            }
        } else if message.is(Kind::Tunlinkat) {
            Self::UnlinkAt {
                directory: r.u32()?,
                name: name(r)?,
                flags: r.u32()?,
            }
        } else if message.is(Kind::Treadlink) {
            Self::ReadLink(r.u32()?)
        } else if message.is(Kind::Treaddir) {
            Self::ReadDir {
                fid: r.u32()?,
                offset: r.u64()?,
                count: r.u32()?,
            }
        } else {
            return Ok(None);
        }))
    }
}
