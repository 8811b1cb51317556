//! Commands that take several steps, each checked as a whole before the first.

use std::io;

use guest_io::block::Backend;
use guest_io::{FileRange, MemoryGuard};

use crate::command::{Extent, Operation};
use crate::compare::{Compare, Exclusive, Write};
use crate::fill::Fill;
use crate::path::{Path, fitting};
use crate::ranges::{self, RangeKind, Ranges};
use crate::reply::parameters;
use crate::scratch::{Permit, Scratch};
use crate::task::Plan;
use crate::vital::max_compare;
use crate::{Buffers, Ending, Sense, Status};

impl<B: Backend, G: MemoryGuard + Send + Sync> Path<B, G> {
    /// What is to be done step by step, checked as a whole.
    pub(crate) fn plan(
        &mut self,
        operation: Operation,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        match operation {
            Operation::Verify { extent, compare } => self.verify(extent, compare, buffers),
            Operation::Unmap { len } => self.unmap(len, buffers),
            Operation::WriteSame {
                extent,
                unmap,
                data,
            } => self.write_same(extent, unmap, data, buffers),
            Operation::CompareAndWrite { extent, stable } => {
                self.compare_and_write(extent, stable, buffers)
            }
            _ => Ok(Plan::Nothing),
        }
    }

    fn verify(
        &mut self,
        extent: Extent,
        compare: bool,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        let range = self.medium.range(extent)?;
        if !compare || range.is_empty() {
            return Ok(Plan::Nothing);
        }
        fitting(range, buffers.out_len())?;
        self.compare(range, None)
    }

    fn compare_and_write(
        &mut self,
        extent: Extent,
        stable: bool,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        self.medium.writable()?;
        let range = self.medium.range(extent)?;
        if extent.blocks > max_compare(self.medium.block.logical).into() {
            return Err(Sense::INVALID_CDB.into());
        }
        if range.is_empty() {
            return Ok(Plan::Nothing);
        }
        if range.len() * 2 > buffers.out_len().into() {
            return Err(Ending::Overrun);
        }
        let exclusive = Exclusive::take(&self.unit.exclusive);
        let write = Write {
            flags: self.flags(stable),
            _exclusive: exclusive.ok_or(Ending::status(Status::Busy))?,
        };
        self.compare(range, Some(write))
    }

    fn compare(&mut self, range: FileRange, then_write: Option<Write>) -> Result<Plan, Ending> {
        Ok(Plan::Compare(Compare {
            range,
            done: 0,
            scratch: self.scratch()?,
            then_write,
            writing: false,
        }))
    }

    fn unmap(&mut self, len: u32, buffers: &mut impl Buffers<G>) -> Result<Plan, Ending> {
        self.medium.writable()?;
        let list = parameters(buffers, len)?;
        let ranges = ranges::parse(&list, &self.unit.setup, &self.medium)?;
        Ok(Plan::Ranges(Ranges::new(ranges, RangeKind::Discard, false)))
    }

    /// WRITE SAME: zeroes have a short way.
    fn write_same(
        &mut self,
        extent: Extent,
        may_unmap: bool,
        data: bool,
        buffers: &mut impl Buffers<G>,
    ) -> Result<Plan, Ending> {
        self.medium.writable()?;
        let range = self.medium.range(extent)?;
        if range.len() > self.unit.setup.max_write_same() {
            return Err(Sense::INVALID_CDB.into());
        }
        let len = if data { self.medium.block.logical } else { 0 };
        let pattern = pattern(len, buffers)?;
        if pattern.iter().all(|&byte| byte == 0) {
            let kind = RangeKind::Zero { may_unmap };
            let sync = self.unit.writes_through();
            return Ok(Plan::Ranges(Ranges::new(vec![range], kind, sync)));
        }
        let mut scratch = self.scratch()?;
        scratch.fill(&pattern);
        Ok(Plan::Fill(Fill::new(range, self.flags(false), scratch)))
    }

    /// Memory to look at data in, and the channel for it.
    fn scratch(&mut self) -> Result<Scratch, Ending> {
        let permit = Permit::take(&self.unit.scratches);
        let permit = permit.ok_or(Ending::status(Status::Busy))?;
        let failed = |error: io::Error| {
            self.unit.failures.report(&error);
            Sense::TARGET_FAILURE
        };
        if self.own.is_none() {
            self.own = Some(self.medium.channel(self.depth).map_err(failed)?);
        }
        Ok(Scratch::new(permit).map_err(failed)?)
    }
}

/// The block that is to be written over and over.
fn pattern<G: MemoryGuard>(len: u32, buffers: &mut impl Buffers<G>) -> Result<Vec<u8>, Ending> {
    if len > buffers.out_len() {
        return Err(Ending::Overrun);
    }
    let mut block = vec![0; len as usize];
    let fetched = buffers.fetch(0, &mut block);
    fetched.map_err(|_| Ending::BadBuffer).map(|()| block)
}
