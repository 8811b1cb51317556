//! Commands of several steps on their way.

use guest_io::MemoryGuard;
use guest_io::block::Backend;

use crate::path::Path;
use crate::task::{Plan, Step, step};
use crate::{Buffers, Ending, Task};

impl<B: Backend, G: MemoryGuard + Send + Sync> Path<B, G> {
    /// What has become of a step, and what comes next.
    pub(crate) fn advance(
        &mut self,
        step: Step,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        match step {
            Step::Pending => None,
            Step::Ended(ending) => Some(ending),
            Step::Done => match take_in(&mut task.plan, buffers) {
                Some(ending) => Some(ending),
                None => self.go_on(task, token, buffers),
            },
        }
    }

    /// Does what is next, as far as it can be done at once. `None` if it is in flight.
    pub(crate) fn go_on(
        &mut self,
        task: &mut Task,
        token: u64,
        buffers: &mut impl Buffers<G>,
    ) -> Option<Ending> {
        loop {
            match self.next_step(&mut task.plan, token, buffers) {
                Step::Pending => return None,
                Step::Ended(ending) => return Some(ending),
                Step::Done => {}
            }
            if let Some(ending) = take_in(&mut task.plan, buffers) {
                return Some(ending);
            }
        }
    }

    fn next_step(&mut self, plan: &mut Plan, token: u64, buffers: &mut impl Buffers<G>) -> Step {
        let attempt = plan.attempt();
        let submitted = match plan {
            Plan::Ranges(ranges) => ranges.next(token, &mut self.channel),
            Plan::Fill(fill) => self.own.as_mut().and_then(|own| fill.next(token, own)),
            Plan::Compare(compare) => match (compare.piece(), &compare.then_write) {
                (0, None) => None,
                (0, Some(write)) => {
                    let (at, len) = (compare.range.offset(), compare.done);
                    let to = (at, write.flags);
                    compare.writing = true;
                    Some(buffers.write(&mut self.channel, token, to, len, len))
                }
                (len, _) => {
                    let at = compare.range.offset() + u64::from(compare.done);
                    let own = self.own.as_mut();
                    own.map(|own| compare.scratch.read(own, token, at, len))
                }
            },
            _ => None,
        };
        match submitted {
            Some(submitted) => step(submitted, |result| self.unit.judge(attempt, result)),
            None => Step::Ended(Ending::good(plan.transferred())),
        }
    }
}

/// Takes note of a step that was done. `None` if there may be more to do.
fn take_in<G: MemoryGuard>(plan: &mut Plan, buffers: &mut impl Buffers<G>) -> Option<Ending> {
    match plan {
        Plan::Nothing | Plan::Synchronize => Some(Ending::good(0)),
        Plan::Transfer(transfer) => Some(Ending::good(transfer.len)),
        Plan::Ranges(_) => None,
        Plan::Fill(fill) => {
            fill.advance();
            None
        }
        Plan::Compare(compare) if compare.writing => Some(Ending::good(2 * compare.done)),
        Plan::Compare(compare) => compare.check(buffers).err(),
    }
}
