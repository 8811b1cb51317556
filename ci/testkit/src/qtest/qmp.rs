//! The client's end of a monitor.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

/// A monitor that has been introduced to.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Greets the monitor at the other end of `stream`.
    pub fn new(stream: UnixStream) -> Self {
        let mut this = Self {
            stream: BufReader::new(stream),
            events: VecDeque::new(),
        };
        let greeting = this.receive().expect("a greeting");
        assert!(greeting["QMP"]["version"]["qemu"].is_object(), "{greeting}");
        this.execute("qmp_capabilities", json!({})).unwrap();
        this
    }

    /// Has `command` executed, and returns what it returns or its error.
    ///
    /// # Errors
    /// The monitor's.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Value> {
        self.send(&json!({"execute": command, "arguments": arguments}).to_string());
        self.result()
    }

    fn result(&mut self) -> Result<Value, Value> {
        let mut answer = self.answer();
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["return"].take()),
        }
    }

    /// Has `command` executed with a descriptor beside it.
    ///
    /// # Errors
    /// The monitor's.
    pub fn pass(&mut self, fd: impl AsFd, command: &str, arguments: Value) -> Result<Value, Value> {
        let text = json!({"execute": command, "arguments": arguments}).to_string();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        assert!(passed.push(SendAncillaryMessage::ScmRights(&fds)));
        let (bytes, flags) = ([IoSlice::new(text.as_bytes())], SendFlags::empty());
        sendmsg(self.stream.get_ref(), &bytes, &mut passed, flags).unwrap();
        self.result()
    }

    /// The socket to the monitor.
    pub fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    /// Sends any text.
    pub fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next message that is no event.
    pub fn answer(&mut self) -> Value {
        loop {
            let message = self.receive().expect("an answer");
            match message.get("event") {
                Some(_) => self.events.push_back(message),
                None => return message,
            }
        }
    }

    /// The next event called `name`; those before it are forgotten.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let event = self.events.pop_front();
            let event = event.or_else(|| self.receive()).expect("an event");
            if event["event"] == name {
                return event;
            }
        }
    }

    /// The next message; `None` when the monitor has hung up.
    pub fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).unwrap() {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap()),
        }
    }
}
