//! Extended attributes: a fid that stands for a value.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Session;
use crate::fid::{Fid, State, XattrRead, XattrWrite};
use crate::limits::XATTR_SIZE;
use crate::request::FidNumber;
use crate::{Errno, FileSystem, Payload, Reply, Result, XattrFlags};

impl<F: FileSystem> Session<F> {
    pub(super) fn xattr_walk(
        &self,
        number: FidNumber,
        newfid: FidNumber,
        name: &[u8],
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(number)?;
        let node = fid.node()?;
        self.fids.check_free(newfid)?;
        let permit = self.xattr_permit()?;
        let value = match name {
            [] => self.fs.xattr_names(node)?,
            name => self.fs.xattr(node, name)?,
        };
        reply.u64(value.len() as u64);
        let (node, uid) = (Arc::clone(node), fid.uid);
        let state = State::XattrRead(XattrRead {
            value,
            _permit: permit,
        });
        self.fids.add(newfid, Fid { node, uid, state })
    }

    pub(super) fn xattr_create(
        &self,
        number: FidNumber,
        name: &[u8],
        size: u64,
        flags: XattrFlags,
    ) -> Result<()> {
        let fid = self.fids.find(number)?;
        let (node, uid) = (Arc::clone(fid.unopened()?), fid.uid);
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= XATTR_SIZE);
        let write = XattrWrite {
            name: name.to_vec(),
            flags,
            size: size.ok_or(Errno::NOSPC)?,
            value: Mutex::default(),
            _permit: self.xattr_permit()?,
        };
        let state = State::XattrWrite(write);
        self.fids.replace(number, &fid, Fid { node, uid, state })
    }

    /// The fid is clunked: all of the value is there, or it is not set. One without a value
    /// removes the attribute.
    pub(super) fn set_xattr(&self, node: &F::Node, write: &XattrWrite) -> Result<()> {
        let value = write.value.lock().unwrap_or_else(PoisonError::into_inner);
        if value.len() != write.size {
            return Err(Errno::INVAL);
        }
        match write.size {
            0 => self.fs.remove_xattr(node, &write.name),
            _ => self.fs.set_xattr(node, &write.name, &value, write.flags),
        }
    }

    fn xattr_permit(&self) -> Result<XattrPermit> {
        let permit = XattrPermit(Arc::clone(&self.xattr_fids));
        let before = permit.0.fetch_add(1, Ordering::Relaxed);
        match before < self.limits.xattr_fids {
            true => Ok(permit),
            false => Err(Errno::NOSPC),
        }
    }
}

impl XattrWrite {
    /// Takes a part of the value.
    pub(super) fn write(&self, offset: u64, count: u32, payload: &mut impl Payload) -> Result<u32> {
        let end = offset.checked_add(count.into()).ok_or(Errno::NOSPC)?;
        let end = usize::try_from(end).ok().filter(|end| *end <= self.size);
        let end = end.ok_or(Errno::NOSPC)?;
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if value.len() < end {
            value.resize(end, 0);
        }
        let part = value.get_mut(offset as usize..end).ok_or(Errno::INVAL)?;
        payload.get(part)?;
        Ok(count)
    }
}

/// Leave to have one more fid that stands for an extended attribute, given back when dropped.
pub(crate) struct XattrPermit(Arc<AtomicUsize>);

impl Drop for XattrPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
