//! Contents, attributes and locks of files.

use super::Session;
use crate::fid::State;
use crate::locks::UNLOCK;
use crate::request::{FidNumber, Lock};
use crate::{Changes, Errno, FileSystem, Patience, Payload, Reply, Result};

/// A fid, and a place in its file.
type At = (FidNumber, u64, u32);

impl<F: FileSystem> Session<F> {
    pub(super) fn read(
        &self,
        (fid, offset, count): At,
        payload: &mut impl Payload,
        patience: Patience<'_>,
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(fid)?;
        let count = self.fit(count, payload);
        let count = match &fid.state {
            State::XattrRead(read) => read_value(&read.value, offset, count, payload)?,
            State::Open(open) if self.reads_records(open) => {
                self.read_records(&fid.node, open, (offset, count), payload)?
            }
            _ => self
                .fs
                .read(fid.file()?, offset, count, payload, patience)?,
        };
        reply.count(count);
        Ok(())
    }

    pub(super) fn write(
        &self,
        (fid, offset, count): At,
        payload: &mut impl Payload,
        patience: Patience<'_>,
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(fid)?;
        let count = match &fid.state {
            State::XattrWrite(write) => write.write(offset, count, payload)?,
            _ => self
                .fs
                .write(fid.file()?, offset, count, payload, patience)?,
        };
        reply.u32(count);
        Ok(())
    }

    pub(super) fn attributes(&self, fid: FidNumber, reply: &mut Reply) -> Result<()> {
        let attributes = self.fs.attributes(self.fids.find(fid)?.node()?)?;
        reply.attributes(&attributes);
        Ok(())
    }

    pub(super) fn change(&self, fid: FidNumber, changes: &Changes) -> Result<()> {
        let fid = self.fids.find(fid)?;
        self.fs.change(fid.node()?, fid.file().ok(), changes)
    }

    pub(super) fn read_link(&self, fid: FidNumber, reply: &mut Reply) -> Result<()> {
        let target = self.fs.read_link(self.fids.find(fid)?.node()?)?;
        reply.string(&target);
        Ok(())
    }

    pub(super) fn statfs(&self, fid: FidNumber, reply: &mut Reply) -> Result<()> {
        let statistics = self.fs.statistics(self.fids.find(fid)?.node()?)?;
        reply.statistics(&statistics);
        Ok(())
    }

    pub(super) fn lock(&self, number: FidNumber, lock: &Lock<'_>, reply: &mut Reply) -> Result<()> {
        let fid = self.fids.find(number)?;
        fid.file()?;
        let qid = self.fs.qid(&fid.node)?;
        let taken = self.locks.apply(qid.path, number, lock)?;
        reply.u8(if taken { LOCK_SUCCESS } else { LOCK_BLOCKED });
        Ok(())
    }

    pub(super) fn find_lock(
        &self,
        fid: FidNumber,
        lock: &Lock<'_>,
        reply: &mut Reply,
    ) -> Result<()> {
        let fid = self.fids.find(fid)?;
        fid.file()?;
        let qid = self.fs.qid(&fid.node)?;
        let Some(held) = self.locks.in_the_way(qid.path, lock) else {
            put_lock(
                reply,
                &Lock {
                    kind: UNLOCK,
                    ..*lock
                },
            );
            return Ok(());
        };
        let found = Lock {
            kind: held.write.into(),
            start: held.start,
            length: held.length(),
            process: held.process,
            client: &held.client,
        };
        put_lock(reply, &found);
        Ok(())
    }
}

fn put_lock(reply: &mut Reply, lock: &Lock<'_>) {
    reply.u8(lock.kind);
    reply.u64(lock.start);
    reply.u64(lock.length);
    reply.u32(lock.process);
    reply.string(lock.client);
}

/// Reads part of a value in memory.
fn read_value(value: &[u8], offset: u64, count: u32, payload: &mut impl Payload) -> Result<u32> {
    let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
    let rest = value.get(offset..).unwrap_or_default();
    let part = rest.get(..count as usize).unwrap_or(rest);
    payload.put(part)?;
    Ok(part.len() as u32)
}

const LOCK_SUCCESS: u8 = 0;
const LOCK_BLOCKED: u8 = 1;
