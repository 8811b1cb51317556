//! A device on a bus in memory, and a client as its driver.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use testkit::TestBus;
use testkit::p9::{Client, Wire};
use virtio_9p::p9_server::{FileSystem, Limits, Local, LocalOptions, SecurityModel, Synth};
use virtio_9p::{Executor, NineP, NinePProps, Task};
use virtio_device::Features;

/// Messages in a chain of two buffers.
pub struct OnBus<'b>(pub &'b mut TestBus);

impl Wire for OnBus<'_> {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let response = self.0.request(0, &[request], &[ROOM]);
        response.bytes[..response.len as usize].to_vec()
    }
}

pub fn props() -> NinePProps {
    NinePProps::default().mount_tag(Some("share".into()))
}

pub fn device<F: FileSystem>(fs: F) -> NineP<F> {
    NineP::new(&props(), Arc::new(fs), Limits::default()).unwrap()
}

pub fn local(directory: &TempDir) -> Local {
    let options = LocalOptions {
        security_model: SecurityModel::MappedXattr,
        ..LocalOptions::default()
    };
    Local::new(directory.path(), options).unwrap()
}

pub fn synth() -> NineP<Synth> {
    device(Synth::new())
}

/// Ring formats, with everything that drivers use.
pub fn formats() -> [Features; 2] {
    let split = Features::VERSION_1 | Features::INDIRECT_DESC | Features::EVENT_IDX;
    [split, split | Features::RING_PACKED]
}

pub fn attached(bus: &mut TestBus) -> Client<OnBus<'_>> {
    Client::attached(OnBus(bus))
}

/// Tasks that run when a test says so.
#[derive(Clone, Default)]
pub struct ByHand(Arc<Mutex<VecDeque<Task>>>);

impl ByHand {
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Takes the first, or the last.
    pub fn take(&self, first: bool) -> Option<Task> {
        let mut tasks = self.0.lock().unwrap();
        if first {
            tasks.pop_front()
        } else {
            tasks.pop_back()
        }
    }
}

impl Executor for ByHand {
    fn execute(&self, task: Task) -> Result<(), Task> {
        self.0.lock().unwrap().push_back(task);
        Ok(())
    }
}

/// A thread for each task.
pub struct Threads;

impl Executor for Threads {
    fn execute(&self, task: Task) -> Result<(), Task> {
        std::thread::spawn(task);
        Ok(())
    }
}

/// Has no room for anything.
pub struct Full;

impl Executor for Full {
    fn execute(&self, task: Task) -> Result<(), Task> {
        Err(task)
    }
}

pub const ROOM: u32 = 32 << 10;
pub const WRONLY: u32 = 1;
pub const RDWR: u32 = 2;
pub const CREAT: u32 = 0o100;
