//! The data plane: one worker for all queues.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, Chain, ConfigCell, Cx, Interest, MemoryError, Progress, QueueError, Result,
    Source, Virtqueue, Worker,
};

use crate::config_space;
use crate::control::{HEADER, Request, encode};
use crate::dialogue::Notice;
use crate::handle::{Inbox, Letters};
use crate::port_state::PortState;
use crate::ports::{Negotiated, Ports};
use crate::queues::{CONTROL_RECEIVE, CONTROL_TRANSMIT, Role, transmit_queue};
use crate::roster::{Change, Roster};
use crate::transmit::SCRATCH;
use crate::watch::port_of;

/// Serves all queues of a [`Serial`](crate::Serial).
///
/// What is to be done is kept as a queue of tasks, one direction of one port each. A call goes
/// through them once, for a bounded number of bytes each, so that ports take turns whatever one of
/// them is up to.
pub struct SerialWorker {
    ports: Ports,
    office: Office,
    negotiated: Negotiated,
    tasks: VecDeque<Task>,
    /// Whether the event loop knows what is to be watched. It is another one after each stop.
    started: bool,
    chain: Chain,
    scratch: Box<[u8]>,
}

/// What the worker shares with the device and the VMM.
pub(crate) struct Office {
    pub(crate) config: Arc<ConfigCell>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) roster: Arc<Roster>,
}

/// One direction of the port of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Receive(u16),
    Transmit(u16),
}

impl SerialWorker {
    pub(crate) fn new(ports: Ports, office: Office, negotiated: Negotiated) -> Self {
        Self {
            ports,
            office,
            negotiated,
            tasks: VecDeque::new(),
            started: false,
            chain: Chain::new(),
            scratch: vec![0; SCRATCH].into(),
        }
    }

    pub(crate) fn into_ports(self) -> Ports {
        self.ports
    }

    /// Looks at everything once: what became ready before the event loop was there has not been
    /// reported.
    fn start<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let numbers: Vec<_> = self.ports.by_number.keys().copied().collect();
        for number in numbers {
            self.add(Task::Transmit(number));
            self.add(Task::Receive(number));
        }
        self.read_inbox(cx);
    }

    fn add(&mut self, task: Task) {
        if !self.tasks.contains(&task) {
            self.tasks.push_back(task);
        }
    }

    /// Does every task once and sends what messages are due.
    fn advance<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Progress {
        for _ in 0..self.tasks.len() {
            let Some(task) = self.tasks.pop_front() else {
                break;
            };
            // The ring knows that it is broken, and so does whoever runs this worker. Other
            // queues go on.
            if self.run(task, cx).unwrap_or(false) {
                self.add(task);
            }
        }
        let _ = self.tell(cx);
        match self.tasks.is_empty() {
            true => Progress::Idle,
            false => Progress::Again,
        }
    }

    /// True if there is more of it to do.
    fn run<AS: AddressSpace>(
        &mut self,
        task: Task,
        cx: &mut Cx<'_, AS>,
    ) -> Result<bool, QueueError> {
        let (Task::Receive(number) | Task::Transmit(number)) = task;
        let Some(port) = self.ports.by_number.get_mut(&number) else {
            return self.discard(task, cx);
        };
        let more = match task {
            Task::Receive(_) => port.receive(cx, &mut self.chain),
            Task::Transmit(_) => port.transmit(cx, &mut self.scratch),
        };
        port.watch(cx);
        let stranded = port.is_stranded();
        if port.patience(self.ports.patience, Instant::now()).is_some() {
            self.ports.timer.arm(self.ports.patience);
        }
        if stranded {
            self.add(Task::Transmit(number));
        }
        more
    }

    /// What the guest sends to a port that is not there is lost.
    fn discard<AS: AddressSpace>(
        &mut self,
        task: Task,
        cx: &mut Cx<'_, AS>,
    ) -> Result<bool, QueueError> {
        if let Task::Transmit(number) = task
            && let Some(mut queue) = cx.queue(transmit_queue(number))
        {
            while queue.pop(&mut self.chain)? {
                queue.push(&mut self.chain, 0);
            }
        }
        Ok(false)
    }

    /// Takes the guest's control messages.
    fn hear<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<(), QueueError> {
        let host = cx.host();
        let Some(mut queue) = cx.queue(CONTROL_TRANSMIT) else {
            return Ok(());
        };
        while queue.pop(&mut self.chain)? {
            let message = self.chain.read_array::<HEADER, _>(queue.view(), 0);
            queue.push(&mut self.chain, 0);
            match message {
                Ok(message) => self.heed(Request::parse(message, self.negotiated.order)),
                // Nothing that this device knows is shorter.
                Err(MemoryError::Short { .. }) => {}
                Err(_) => host.needs_reset(),
            }
        }
        Ok(())
    }

    fn heed(&mut self, request: Option<Request>) {
        let Some(request) = request else { return };
        let (number, sized) = (request.port(), self.negotiated.size);
        let port = number.and_then(|number| self.ports.by_number.get_mut(&number));
        match (request, port, number) {
            (Request::DeviceReady(ready), ..) => self.ports.device_ready = ready,
            (Request::PortReady(_, ready), Some(port), _) => port.set_ready(ready, sized),
            (Request::PortOpen(_, open), Some(port), Some(number)) => {
                port.set_guest_open(open);
                self.add(Task::Receive(number));
            }
            _ => {}
        }
    }

    /// Gives the guest the messages that are due, as far as it has buffers: first of ports that are
    /// gone, whose numbers others may have by now.
    fn tell<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<(), QueueError> {
        let Ports {
            by_number,
            removed,
            device_ready,
            ..
        } = &mut self.ports;
        let mut due = by_number
            .values_mut()
            .filter(|port| *device_ready || port.dialogue.ready)
            .filter(|port| port.notice().is_some())
            .peekable();
        let nothing = removed.is_empty() && due.peek().is_none();
        if !self.negotiated.multiport || nothing {
            return Ok(());
        }
        let (size, host) = (config_space::size(&self.office.config), cx.host());
        let order = self.negotiated.order;
        let Some(mut queue) = cx.queue(CONTROL_RECEIVE) else {
            return Ok(());
        };
        let mut post = Post {
            queue: &mut queue,
            chain: &mut self.chain,
            bad: &mut || host.needs_reset(),
        };
        while let Some(number) = removed.first().copied() {
            let message = encode(Notice::Removed, number, "", size, order);
            match post.send(&message)? {
                Sent::NoBuffer => return Ok(()),
                Sent::Lost => {}
                Sent::Whole => drop(removed.pop_first()),
            }
        }
        for port in due {
            while let Some(notice) = port.notice() {
                match post.send(&port.encode(notice, size, order))? {
                    Sent::NoBuffer => return Ok(()),
                    Sent::Lost => {}
                    Sent::Whole => port.dialogue.given(notice),
                }
            }
        }
        Ok(())
    }

    fn change<AS: AddressSpace>(&mut self, change: Change, cx: &mut Cx<'_, AS>) {
        match change {
            Change::Add(number, state) => {
                self.ports.by_number.insert(number, *state);
                self.add(Task::Transmit(number));
                self.add(Task::Receive(number));
            }
            Change::Remove(number) => {
                if let Some(port) = self.ports.remove(number) {
                    port.depart(cx);
                    // What the guest has sent it by now is given back as well.
                    self.add(Task::Transmit(number));
                }
            }
        }
    }

    fn read_inbox<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        let Letters { resized, emergency } = self.office.inbox.take();
        let changes = self.office.roster.entries().take_changes();
        for change in changes {
            self.change(change, cx);
        }
        if let Some(console) = self.ports.by_number.get_mut(&0) {
            emergency
                .into_iter()
                .for_each(|character| console.emergency(character));
        }
        if resized && self.negotiated.size {
            self.ports
                .by_number
                .values_mut()
                .for_each(PortState::resized);
            cx.host().config_changed();
        }
    }

    /// Some console may have held its guest up for long enough.
    fn check_patience(&mut self) {
        self.ports.timer.disarm();
        let (limit, now) = (self.ports.patience, Instant::now());
        let mut tasks = Vec::new();
        for (number, port) in &mut self.ports.by_number {
            match port.patience(limit, now) {
                Some(Duration::ZERO) => {
                    port.lose_patience();
                    tasks.push(Task::Transmit(*number));
                }
                Some(rest) => self.ports.timer.arm(rest),
                None => {}
            }
        }
        tasks.into_iter().for_each(|task| self.add(task));
    }
}

impl<AS: AddressSpace> Worker<AS> for SerialWorker {
    fn kick(&mut self, queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.start(cx);
        match Role::of(queue) {
            Role::Receive(number) => self.add(Task::Receive(number)),
            Role::Transmit(number) => self.add(Task::Transmit(number)),
            // A driver that knows one port only has no control queues.
            Role::ControlTransmit if self.negotiated.multiport => drop(self.hear(cx)),
            Role::ControlTransmit | Role::ControlReceive => {}
        }
        Ok(self.advance(cx))
    }

    fn event(&mut self, token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.start(cx);
        match token {
            INBOX => self.read_inbox(cx),
            TIMER => self.check_patience(),
            _ => {
                let number = port_of(token);
                self.add(Task::Transmit(number));
                self.add(Task::Receive(number));
            }
        }
        Ok(self.advance(cx))
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        for (token, fd) in [
            (INBOX, self.office.inbox.as_fd()),
            (TIMER, self.ports.timer.as_fd()),
        ] {
            add(Source {
                token,
                fd,
                interest: Interest::Read,
            });
        }
    }

    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        for port in self.ports.by_number.values_mut() {
            port.park(cx);
        }
        self.tasks.clear();
        self.started = false;
        Ok(Progress::Idle)
    }
}

/// The queue by which messages go to the guest.
struct Post<'a, 'q, M: GuestMemory> {
    queue: &'a mut Virtqueue<'q, M>,
    chain: &'a mut Chain,
    /// Called for a buffer that is not guest memory.
    bad: &'a mut dyn FnMut(),
}

/// What became of a message.
enum Sent {
    /// The guest has no buffer for it.
    NoBuffer,
    /// The buffer was none.
    Lost,
    Whole,
}

impl<M: GuestMemory> Post<'_, '_, M> {
    /// Puts `message` into the next buffer. One that is too short gets as much as it holds.
    fn send(&mut self, message: &[u8]) -> Result<Sent, QueueError> {
        if !self.queue.pop(self.chain)? {
            return Ok(Sent::NoBuffer);
        }
        let len = message.len().min(self.chain.writable_len() as usize);
        let part = message.get(..len).unwrap_or_default();
        if self.chain.write_at(self.queue.view(), 0, part).is_ok() {
            self.queue.push(self.chain, len as u32);
            return Ok(Sent::Whole);
        }
        (self.bad)();
        self.queue.push(self.chain, 0);
        Ok(Sent::Lost)
    }
}

const INBOX: u16 = 0;
const TIMER: u16 = 1;
