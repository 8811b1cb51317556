//! The data plane of the entropy device.

use std::os::fd::AsFd;
use std::time::Instant;

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, Chain, Cx, GuestView, Interest, Progress, QueueError, Result, Source, Timer,
    Virtqueue, Worker,
};

use crate::EntropySource;
use crate::pool::{Pool, Supply};
use crate::quota::Quota;

/// Serves the request queue of an [`Rng`](crate::Rng).
///
/// A request gets what its writable part, the quota and a limit of 4096 bytes allow, at least one
/// byte unless the source fails (section 5.4.6.2). Requests are never in flight between calls:
/// one is only taken once there is something to give.
pub struct RngWorker<S> {
    source: S,
    quota: Quota,
    timer: Timer,
    pool: Pool,
    chain: Chain,
    /// The log has been told.
    failing: bool,
}

/// What keeps the queue from being drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    No,
    Quota,
    Source,
}

impl<S: EntropySource> RngWorker<S> {
    pub(crate) fn new(source: S, quota: Quota, timer: Timer) -> Self {
        Self {
            source,
            quota,
            timer,
            pool: Pool::new(),
            chain: Chain::new(),
            failing: false,
        }
    }

    pub(crate) fn into_parts(self) -> (S, Quota) {
        (self.source, self.quota)
    }

    fn serve<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let blocked = match cx.queue(REQUESTS) {
            Some(mut queue) => self.drain(&mut queue)?,
            None => Blocked::No,
        };
        match blocked {
            Blocked::No => {}
            Blocked::Quota => self.await_quota(),
            Blocked::Source => self.await_source(cx)?,
        }
        Ok(Progress::Idle)
    }

    fn drain<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
    ) -> Result<Blocked, QueueError> {
        loop {
            let now = Instant::now();
            let quota = self.quota.left(now);
            if quota == 0 {
                return Ok(Blocked::Quota);
            }
            let supply = self.refill();
            if supply == Supply::Later {
                return Ok(Blocked::Source);
            }
            if !queue.pop(&mut self.chain)? {
                return Ok(Blocked::No);
            }
            let written = self.fill(queue.view(), quota);
            self.quota.spend(written.into(), now);
            queue.push(&mut self.chain, written);
        }
    }

    /// Writes into the chain what the pool has, and once more what the source adds to that.
    fn fill<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>, quota: u64) -> u32 {
        let want = u64::from(self.chain.writable_len()).min(quota);
        let want = want.min(Pool::CAPACITY as u64) as usize;
        let mut written = 0;
        for _ in 0..2 {
            let at = written as u32;
            let give = |bytes: &[u8]| self.chain.write_at(view, at, bytes).is_ok();
            written += self.pool.take(want - written, give);
            if written == want || self.refill() != Supply::Ready {
                break;
            }
        }
        written as u32
    }

    fn refill(&mut self) -> Supply {
        let supply = self.pool.refill(&mut self.source);
        let failed = supply == Supply::Failed;
        if failed && !self.failing {
            log::warn!("the entropy source fails: the guest's requests get no bytes");
        }
        self.failing = failed;
        supply
    }

    fn await_quota(&mut self) {
        self.timer.fire_in(self.quota.wait(Instant::now()));
    }

    fn await_source<AS: AddressSpace>(&self, cx: &mut Cx<'_, AS>) -> Result<()> {
        if let Some(fd) = self.source.readiness() {
            cx.watch(Source {
                token: SOURCE,
                fd,
                interest: Interest::Read,
            })?;
        }
        Ok(())
    }
}

impl<S: EntropySource, AS: AddressSpace> Worker<AS> for RngWorker<S> {
    fn kick(&mut self, _queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.serve(cx)
    }

    fn event(&mut self, token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        match token {
            // Not watched for longer than it is needed: many a source is always readable.
            SOURCE => cx.unwatch(SOURCE),
            _ => self.timer.disarm(),
        }
        self.serve(cx)
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        add(Source {
            token: TIMER,
            fd: self.timer.as_fd(),
            interest: Interest::Read,
        });
    }
}

/// The only queue (section 5.4.2).
const REQUESTS: u16 = 0;
const SOURCE: u16 = 0;
const TIMER: u16 = 1;
