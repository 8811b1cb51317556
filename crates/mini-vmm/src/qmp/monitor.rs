//! One monitor: a peer, what it has said, and whether it has introduced itself.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_manager::{EventOps, EventSubscriber, Events};
use serde_json::{Value, json};

use super::commands::version;
use super::error::QmpError;
use super::event::Event;
use super::framer::{Frame, Framer};
use super::request::{Request, answer};
use crate::chardev::{Chardev, Heard, Talk};

/// A monitor: an event subscriber of the main thread, which executes what it hears.
pub struct Monitor(Mutex<Session>);

struct Session {
    talk: Talk,
    framer: Framer,
    negotiated: bool,
    /// Descriptors that came with what was said, in order.
    passed: VecDeque<OwnedFd>,
}

impl Monitor {
    /// A monitor for whoever is at the other end of `chardev`.
    pub fn new(chardev: Arc<Chardev>) -> Self {
        chardev.want_passed();
        Self(Mutex::new(Session {
            talk: Talk::new(chardev),
            framer: Framer::default(),
            negotiated: false,
            passed: VecDeque::new(),
        }))
    }

    /// The next command to execute, while the peer reads answers. What needs no machine is
    /// answered here.
    pub fn next(&self) -> Option<Request> {
        let mut session = self.session();
        while session.talk.backlog() == 0
            && let Some(frame) = session.framer.next()
        {
            if let Some(request) = session.hear(frame) {
                return Some(request);
            }
        }
        None
    }

    /// Takes the descriptors that came so far.
    pub fn take_passed(&self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.session().passed)
    }

    /// Gives back those that a command did not take: they are for later ones.
    pub fn give_back(&self, passed: VecDeque<OwnedFd>) {
        self.session().passed = passed;
    }

    /// Answers a request with this `id`.
    pub fn answer(&self, result: Result<Value, QmpError>, id: Option<Value>) {
        self.session().say(&answer(result, id));
    }

    /// Tells the peer of `event`. One that is too far behind is cut off, rather than made to
    /// believe that it has heard of everything.
    pub fn tell(&self, event: &Event) {
        let mut session = self.session();
        if !session.negotiated {
            return;
        }
        session.say(&event.to_json());
        if session.talk.backlog() > MOST_UNREAD {
            log::warn!("a monitor that does not read is cut off");
            session.talk.hang_up();
            session.start();
        }
    }

    /// Has the event loop wait for what the peer does next.
    pub fn watch(&self, ops: &mut EventOps) {
        self.session().talk.watch(ops);
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSubscriber for Monitor {
    /// The peer may be there already.
    fn init(&self, ops: &mut EventOps) {
        let mut session = self.session();
        session.read();
        session.talk.watch(ops);
    }

    fn process(&self, _: Events, ops: &mut EventOps) {
        let mut session = self.session();
        session.talk.flush();
        if session.talk.backlog() == 0 {
            session.read();
        }
        session.talk.watch(ops);
    }
}

impl Session {
    fn read(&mut self) {
        let mut buffer = [0; READING];
        let heard = self.talk.read(&mut buffer);
        if self.talk.is_new_peer() {
            self.start();
            let greeting = json!({"QMP": {"version": version(), "capabilities": []}});
            self.say(&greeting);
        }
        let room = MOST_PASSED.saturating_sub(self.passed.len());
        self.passed
            .extend(self.talk.passed().into_iter().take(room));
        if let Heard::Bytes(length) = heard {
            self.framer.push(buffer.get(..length).unwrap_or_default());
        }
    }

    fn start(&mut self) {
        self.framer = Framer::default();
        self.negotiated = false;
        self.passed.clear();
    }

    fn say(&mut self, value: &Value) {
        self.talk.write(format!("{value}\r\n").as_bytes());
        if !self.talk.has_peer() {
            // What else it asked for is not done: nobody would hear of it.
            self.start();
        }
    }

    /// The request in `frame`, if the machine is to execute it.
    fn hear(&mut self, frame: Frame) -> Option<Request> {
        let request = match frame {
            Frame::Value(bytes) => Request::parse(&bytes),
            Frame::TooLong => Err((QmpError::generic("request too long"), None)),
        };
        let (result, id) = match request {
            Ok(request) => match self.negotiate(&request) {
                None => return Some(request),
                Some(result) => (result, request.id),
            },
            Err((error, id)) => (Err(error), id),
        };
        self.say(&answer(result, id));
        None
    }

    /// The answer to what only the monitor can answer.
    fn negotiate(&mut self, request: &Request) -> Option<Result<Value, QmpError>> {
        match (request.execute.as_str(), self.negotiated) {
            (CAPABILITIES, false) => {
                let enable = request.arguments.get("enable").and_then(Value::as_array);
                if enable.is_some_and(|wanted| !wanted.is_empty()) {
                    return Some(Err(QmpError::generic("no such capability")));
                }
                self.negotiated = true;
                Some(Ok(json!({})))
            }
            (CAPABILITIES, true) => Some(Err(QmpError::no_command(
                "Capabilities negotiation is already complete, command ignored",
            ))),
            (_, false) => Some(Err(QmpError::no_command(
                "Expecting capabilities negotiation with 'qmp_capabilities'",
            ))),
            (_, true) => None,
        }
    }
}

pub(super) const CAPABILITIES: &str = "qmp_capabilities";
/// Bytes read at once.
const READING: usize = 64 << 10;
/// Descriptors that no command has taken yet.
const MOST_PASSED: usize = 16;
/// Bytes of events that a peer may leave unread.
const MOST_UNREAD: usize = 1 << 20;
