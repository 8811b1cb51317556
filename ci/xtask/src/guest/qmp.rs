//! The client's end of a QMP monitor, for what a scenario has done to a guest from outside.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::socket;

/// A monitor that has been introduced to.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    /// Events that nobody has waited for yet.
    events: VecDeque<Value>,
}

impl Qmp {
    /// Greets the monitor that listens, or will soon, on the socket at `path`.
    pub fn connect(path: &Path) -> Result<Self> {
        let mut this = Self {
            stream: BufReader::new(socket::connect(path)?),
            events: VecDeque::new(),
        };
        let greeting = this.receive()?;
        ensure!(greeting["QMP"].is_object(), "no monitor: {greeting}");
        this.execute("qmp_capabilities", json!({}))?;
        Ok(this)
    }

    /// Has `command` executed and returns what it returns; the monitor's error is one.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        writeln!(self.stream.get_mut(), "{request}")?;
        loop {
            let mut message = self.receive()?;
            if message.get("event").is_some() {
                self.events.push_back(message);
            } else if let Some(error) = message.get("error") {
                bail!("{command}: {error}");
            } else {
                return Ok(message["return"].take());
            }
        }
    }

    /// Waits for the event called `name` whose data is `wanted`; those before it are forgotten.
    pub fn event(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.receive()?,
            };
            if event["event"] == name && wanted(&event["data"]) {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the monitor has hung up");
        Ok(serde_json::from_str(&line)?)
    }
}
