//! A device that writes an `x` into every buffer, at once or when it is let go.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use virtio_device::{
    Activation, AddressSpace, Chain, ConfigCell, Cx, DeviceHost, DeviceId, Error, Features, Info,
    Placed, Progress, QueueSize, Result, SavedState, VirtioDevice, Worker,
};

/// What the toy is to look like.
pub struct Toy {
    pub id: DeviceId,
    pub features: Features,
    pub queues: Vec<u16>,
    pub config: Arc<ConfigCell>,
    /// Activation fails.
    pub fails: bool,
    /// Requests stay in flight until [`Worn::let_go`].
    pub holds: bool,
    pub worn: Arc<Worn>,
}

/// The toy seen from outside.
#[derive(Default)]
pub struct Worn {
    pub queues: u16,
    pub served: AtomicU32,
    pub taken: AtomicU32,
    pub let_go: AtomicBool,
    host: Mutex<Option<Arc<dyn DeviceHost>>>,
}

impl Worn {
    pub fn host(&self) -> Arc<dyn DeviceHost> {
        self.host.lock().unwrap().clone().expect("active")
    }

    pub fn served(&self) -> u32 {
        self.served.load(Ordering::SeqCst)
    }
}

impl Default for Toy {
    /// An entropy device with two queues and 12 bytes of configuration, four of them writable.
    fn default() -> Self {
        Self::new(DeviceId::ENTROPY, vec![8, 16], b"a toy device")
    }
}

impl Toy {
    pub fn new(id: DeviceId, queues: Vec<u16>, config: &[u8]) -> Self {
        let worn = Worn {
            queues: queues.len() as u16,
            ..Worn::default()
        };
        Self {
            id,
            features: Features::bit(1),
            queues,
            config: Arc::new(ConfigCell::new(config)),
            fails: false,
            holds: false,
            worn: Arc::new(worn),
        }
    }

    pub fn worn(&self) -> Arc<Worn> {
        self.worn.clone()
    }
}

impl VirtioDevice for Toy {
    type Worker<AS: AddressSpace> = ToyWorker;

    fn info(&self) -> Info {
        Info {
            id: self.id,
            features: self.features,
            dependencies: &[],
            queue_sizes: self.queues.iter().map(|&n| QueueSize::of(n)).collect(),
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        for (at, &byte) in (offset..4).zip(data) {
            self.config.write(at as usize, &[byte]);
        }
    }

    fn activate<AS: AddressSpace>(&mut self, on: Activation) -> Result<Vec<Placed<ToyWorker>>> {
        *self.worn.host.lock().unwrap() = Some(on.host);
        if self.fails {
            return Err(Error::Misuse("as told"));
        }
        let worker = ToyWorker {
            worn: self.worn.clone(),
            holds: self.holds,
            held: Vec::new(),
        };
        let queues = (0..self.worn.queues).collect();
        Ok(vec![Placed { worker, queues }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, _: Vec<ToyWorker>) {}

    fn reset(&mut self) {}

    fn save(&self) -> Result<SavedState> {
        Ok(SavedState::new("toy", 1, self.config.snapshot().into()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        self.config.write(0, state.expect("toy", 1)?);
        Ok(())
    }
}

pub struct ToyWorker {
    worn: Arc<Worn>,
    holds: bool,
    held: Vec<(u16, Chain)>,
}

impl<AS: AddressSpace> Worker<AS> for ToyWorker {
    fn kick(&mut self, index: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let mut chain = Chain::new();
        while let Some(mut queue) = cx.queue(index) {
            if !queue.pop(&mut chain)? {
                break;
            }
            drop(queue);
            self.worn.taken.fetch_add(1, Ordering::SeqCst);
            self.held.push((index, std::mem::take(&mut chain)));
        }
        if !self.holds {
            self.complete(cx)?;
        }
        Ok(Progress::Idle)
    }

    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        if !self.held.is_empty() && !self.worn.let_go.load(Ordering::SeqCst) {
            return Ok(Progress::InFlight);
        }
        self.complete(cx)?;
        Ok(Progress::Idle)
    }
}

impl ToyWorker {
    fn complete<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<()> {
        for (index, mut chain) in self.held.drain(..) {
            if let Some(mut queue) = cx.queue(index) {
                let len = chain.writable_len().min(1);
                chain.write_at(queue.view(), 0, &b"x"[..len as usize])?;
                queue.push(&mut chain, len);
                self.worn.served.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}
