//! The data plane of the balloon.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::SystemTime;

use virtio_device::vm_memory::{GuestMemory, Permissions};
use virtio_device::{
    Activation, AddressSpace, ByteOrder, Chain, Cx, Features, GuestView, Interest, Progress,
    QueueError, Result, Source, Virtqueue, Worker,
};

use crate::device::may_zero;
use crate::layout::POISON;
use crate::pages::Pages;
use crate::role::Role;
use crate::shared::Shared;
use crate::stats::{Report, Stats};
use crate::{PAGE, Reclaim};

/// Serves the queues of a [`Balloon`](crate::Balloon).
///
/// The one buffer for statistics is kept until the guest is to send new ones; nothing else is in
/// flight between calls.
pub struct BalloonWorker<R> {
    memory: Memory<R>,
    shared: Arc<Shared>,
    features: Features,
    order: ByteOrder,
    roles: Vec<Role>,
    pages: Pages,
    chain: Chain,
    /// The buffer for statistics, while it is here.
    held: Chain,
}

/// Guest memory on its way back to the host.
struct Memory<R> {
    reclaim: R,
    /// The log has been told.
    failing: bool,
}

impl<R: Reclaim> BalloonWorker<R> {
    pub(crate) fn new(reclaim: R, shared: Arc<Shared>, activation: &Activation) -> Self {
        Self {
            pages: Pages::new(reclaim.page_size()),
            memory: Memory {
                reclaim,
                failing: false,
            },
            shared,
            features: activation.features,
            order: activation.order,
            roles: Role::all(activation.features).collect(),
            chain: Chain::new(),
            held: Chain::new(),
        }
    }

    pub(crate) fn into_reclaim(self) -> R {
        self.memory.reclaim
    }

    fn serve<M: GuestMemory>(
        &mut self,
        role: Role,
        queue: &mut Virtqueue<'_, M>,
    ) -> Result<(), QueueError> {
        while queue.pop(&mut self.chain)? {
            match role {
                Role::Inflate => self.inflate(queue.view()),
                Role::Deflate => self.deflate(queue.view()),
                Role::Stats => {
                    self.note_stats(queue.view());
                    queue.push(&mut self.held, 0);
                    std::mem::swap(&mut self.chain, &mut self.held);
                    continue;
                }
                Role::Hints => self.note_hints(queue.view()),
                Role::Reports => self.take_reported(queue.view()),
            }
            queue.push(&mut self.chain, 0);
        }
        Ok(())
    }

    /// Section 5.5.6: numbers of pages that the guest does not use any more.
    fn inflate<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>) {
        let Self {
            pages,
            memory,
            shared,
            ..
        } = self;
        for_each_page(&self.chain, self.order, view, |view, address| {
            if !view.check(address, PAGE as u32, Permissions::ReadWrite) {
                shared.refuse(1);
            } else if let Some(run) = pages.give(address) {
                memory.reclaim(view, run);
            }
        });
        if let Some(run) = pages.finish() {
            memory.reclaim(view, run);
        }
    }

    /// Memory is there again as soon as the guest touches it.
    fn deflate<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>) {
        if self.pages.remembers() {
            let pages = &mut self.pages;
            for_each_page(&self.chain, self.order, view, |_, address| {
                pages.take(address);
            });
        }
    }

    fn note_stats<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>) {
        let mut entries = [0; Stats::ENTRY * MOST_STATS];
        let len = entries.len().min(self.chain.readable_len() as usize);
        if self.chain.read_at(view, 0, &mut entries[..len]).is_ok() {
            *self.shared.report() = Report {
                stats: Stats::parse(&entries[..len], self.order),
                at: Some(SystemTime::now()),
            };
        }
    }

    /// A command, or ranges of pages that are free at the moment.
    fn note_hints<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>) {
        let mut hints = self.shared.hints();
        if let Ok(command) = self.chain.read_array(view, 0) {
            hints.command(self.order.u32(command));
        }
        for buffer in self.chain.writable() {
            let there = view.check(buffer.address, buffer.len, Permissions::ReadWrite);
            if there && buffer.len > 0 {
                hints.hint(buffer.address, buffer.len.into());
            }
        }
    }

    /// Section 5.5.6.7: pages that are free until the chain comes back.
    fn take_reported<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>) {
        if !may_zero(self.features, POISON.load(&self.shared.config)) {
            return;
        }
        for buffer in self.chain.writable() {
            let Some(end) = buffer.address.checked_add(buffer.len.into()) else {
                self.shared.refuse(u64::from(buffer.len) / PAGE);
                continue;
            };
            match view.check(buffer.address, buffer.len, Permissions::ReadWrite) {
                true => self.memory.reclaim(view, buffer.address..end),
                false => self.shared.refuse(u64::from(buffer.len) / PAGE),
            }
        }
    }

    /// The guest is to send new statistics.
    fn ask_for_stats<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        let index = self.roles.iter().position(|role| *role == Role::Stats);
        let queue = index.and_then(|index| cx.queue(index as u16));
        if let Some(mut queue) = queue {
            queue.push(&mut self.held, 0);
        }
    }
}

impl<R: Reclaim> Memory<R> {
    /// Gives up whole pages of the host in `range`, which is the guest's.
    fn reclaim<M: GuestMemory>(&mut self, view: &mut GuestView<'_, M>, range: Range<u64>) {
        let Ok(len) = u32::try_from(range.end - range.start) else {
            return;
        };
        let mut failure = None;
        // It was checked; whatever changed since then is left alone.
        let _ = view.for_each_slice(range.start, len, Permissions::ReadWrite, |slice| {
            failure = self.reclaim.reclaim(&slice).err().or(failure.take());
        });
        if let Some(error) = failure
            && !std::mem::replace(&mut self.failing, true)
        {
            log::warn!("the host does not take memory back that the guest gave up: {error}");
        }
    }
}

/// Calls `f` with the guest address of each page whose number is in the readable part of `chain`.
fn for_each_page<M: GuestMemory>(
    chain: &Chain,
    order: ByteOrder,
    view: &mut GuestView<'_, M>,
    mut f: impl FnMut(&mut GuestView<'_, M>, u64),
) {
    let bytes = chain.readable_len().min(4 * MOST_PAGES) / 4 * 4;
    let mut batch = [0; 4 * BATCH];
    for offset in (0..bytes).step_by(batch.len()) {
        let len = batch.len().min((bytes - offset) as usize);
        if chain.read_at(view, offset, &mut batch[..len]).is_err() {
            return;
        }
        let mut numbers = [0; BATCH];
        let words = batch[..len].as_chunks().0;
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = order.u32(*word);
        }
        // Neighbours next to one another are given up at once.
        let numbers = &mut numbers[..len / 4];
        numbers.sort_unstable();
        for number in numbers {
            f(view, u64::from(*number) * PAGE);
        }
    }
}

impl<R: Reclaim, AS: AddressSpace> Worker<AS> for BalloonWorker<R> {
    fn kick(&mut self, index: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let role = self.roles.get(usize::from(index)).copied();
        if let (Some(role), Some(mut queue)) = (role, cx.queue(index)) {
            self.serve(role, &mut queue)?;
        }
        Ok(Progress::Idle)
    }

    fn event(&mut self, _: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.shared.poll.hear();
        self.ask_for_stats(cx);
        Ok(Progress::Idle)
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        add(Source {
            token: POLL,
            fd: self.shared.poll.as_fd(),
            interest: Interest::Read,
        });
    }

    /// The driver fills the buffer for statistics again and has it back here afterwards.
    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.ask_for_stats(cx);
        Ok(Progress::Idle)
    }
}

const POLL: u16 = 0;
/// Page numbers that are read at once; drivers send as many in a chain.
const BATCH: usize = 256;
/// Page numbers of a chain that count: 16 MiB of memory.
const MOST_PAGES: u32 = 4096;
/// Statistics of a buffer that count; there are 16.
const MOST_STATS: usize = 64;
