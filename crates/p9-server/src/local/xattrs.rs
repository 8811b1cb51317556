//! Extended attributes that a client may have: its own (`user.*`) and access control lists.
//!
//! Where owners and modes are kept apart, so are the lists, which mean the client's users; and the
//! attributes that the security model keeps things in are not there for the client.

use rustix::fs::XattrFlags as HostFlags;
use rustix::io::Errno;

use super::Local;
use super::node::Node;
use crate::limits::XATTR_SIZE;
use crate::{Result, XattrFlags};

impl Local {
    pub(super) fn read_xattr(&self, node: &Node, name: &[u8]) -> Result<Vec<u8>> {
        let (path, name) = (node.path(), self.host_name(name)?.ok_or(Errno::NODATA)?);
        let mut value = vec![0; rustix::fs::getxattr_query(&*path, &*name)?.min(XATTR_SIZE)];
        // One that has grown meanwhile is ERANGE; an empty buffer would ask for the length.
        if !value.is_empty() {
            let len = rustix::fs::getxattr(&*path, &*name, &mut value[..])?;
            value.truncate(len);
        }
        Ok(value)
    }

    pub(super) fn list_xattrs(&self, node: &Node) -> Result<Vec<u8>> {
        let path = node.path();
        let mut list = vec![0; rustix::fs::listxattr_query(&*path)?.min(XATTR_SIZE)];
        if list.is_empty() {
            return Ok(list);
        }
        let len = rustix::fs::listxattr(&*path, &mut list[..])?;
        list.truncate(len);
        let names = list
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        let mut shown = Vec::new();
        for name in names.filter_map(|name| self.client_name(name)) {
            shown.extend(name);
            shown.push(0);
        }
        Ok(shown)
    }

    pub(super) fn write_xattr(
        &self,
        node: &Node,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<()> {
        let name = self.host_name(name)?.ok_or(Errno::ACCESS)?;
        let flags = match flags {
            XattrFlags::Any => HostFlags::empty(),
            XattrFlags::Create => HostFlags::CREATE,
            XattrFlags::Replace => HostFlags::REPLACE,
        };
        rustix::fs::setxattr(node.path(), &*name, value, flags)
    }

    pub(super) fn delete_xattr(&self, node: &Node, name: &[u8]) -> Result<()> {
        let name = self.host_name(name)?.ok_or(Errno::ACCESS)?;
        rustix::fs::removexattr(node.path(), &*name)
    }

    /// Where the client's attribute `name` is on the host; `None` where it is not the client's.
    fn host_name(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let mapped = self.model().is_mapped();
        if name.starts_with(OWN) {
            return Ok((!mapped).then(|| name.to_vec()));
        }
        match ACLS.contains(&name) {
            true if mapped => Ok(Some([OWN, name].concat())),
            true => Ok(Some(name.to_vec())),
            false if name.starts_with(USER) => Ok(Some(name.to_vec())),
            false => Err(Errno::OPNOTSUPP),
        }
    }

    /// What the client knows the host's attribute `name` by, if it knows it.
    fn client_name<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let mapped = self.model().is_mapped();
        match name.strip_prefix(OWN) {
            Some(own) if mapped => ACLS.contains(&own).then_some(own),
            None if mapped => name.starts_with(USER).then_some(name),
            _ => (name.starts_with(USER) || ACLS.contains(&name)).then_some(name),
        }
    }
}

const USER: &[u8] = b"user.";
const OWN: &[u8] = b"user.virtfs.";
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
