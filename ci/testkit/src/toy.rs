//! A device that answers with what it was sent, at once or when told to.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    Activation, AddressSpace, Chain, ConfigCell, Cx, DeviceHost, DeviceId, Error, Features,
    GuestView, Info, Interest, Placed, Progress, QueueSize, Result, SavedState, Source,
    VirtioDevice, Worker,
};

/// What a test can turn and see of a [`Toy`], wherever its workers are.
#[derive(Default)]
pub struct Knobs {
    /// Activation fails.
    pub refuse_activation: AtomicBool,
    /// FEATURES_OK is refused.
    pub refuse_features: AtomicBool,
    /// Requests stay in flight until [`release`](Self::release).
    pub hold: AtomicBool,
    /// Interrupts of a worker that starts from now on may wait for one another.
    pub gathers: AtomicBool,
    /// Workers get only those of their queues that are enabled.
    pub frugal: AtomicBool,
    /// Requests in flight.
    pub held: AtomicU32,
    /// How often it was activated.
    pub activations: AtomicU32,
    /// Calls of a worker to be quiesced.
    pub quiesced: AtomicU32,
    /// Workers that came back.
    pub returned: AtomicU32,
    /// What the last activation came with.
    pub host: Mutex<Option<Arc<dyn DeviceHost>>>,
    done: Mutex<Vec<PipeWriter>>,
}

impl Knobs {
    /// Lets the workers complete what they have in flight. One that is gone does not listen.
    pub fn release(&self) {
        for done in self.done.lock().unwrap().iter_mut() {
            let _ = done.write_all(&[0]);
        }
    }

    /// Turns a knob.
    pub fn set(knob: &AtomicBool, on: bool) {
        knob.store(on, Ordering::SeqCst);
    }

    /// Reads a counter.
    pub fn count(knob: &AtomicU32) -> u32 {
        knob.load(Ordering::SeqCst)
    }
}

/// Answers each request with its readable bytes. A request that begins with `F` makes its worker
/// fail, one with `P` makes it panic.
pub struct Toy {
    /// Which queues each worker has; those that are nobody's are served by nobody.
    groups: Vec<Vec<u16>>,
    queues: usize,
    knobs: Arc<Knobs>,
    config: Arc<ConfigCell>,
}

impl Toy {
    /// A device of `queues` queues of 16 descriptors.
    pub fn new(queues: usize, groups: &[&[u16]]) -> (Self, Arc<Knobs>) {
        let knobs = Arc::<Knobs>::default();
        let toy = Self {
            groups: groups.iter().map(|group| group.to_vec()).collect(),
            queues,
            knobs: knobs.clone(),
            config: Arc::new(ConfigCell::new([1, 2, 3, 4])),
        };
        (toy, knobs)
    }
}

impl VirtioDevice for Toy {
    type Worker<AS: AddressSpace> = ToyWorker;

    fn info(&self) -> Info {
        Info {
            id: DeviceId(42),
            features: Features::bit(0),
            dependencies: &[],
            queue_sizes: vec![QueueSize::of(16); self.queues],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let Ok(offset) = usize::try_from(offset) {
            self.config.write(offset, data);
        }
    }

    fn accept(&self, _: Features) -> bool {
        !self.knobs.refuse_features.load(Ordering::SeqCst)
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<ToyWorker>>> {
        if self.knobs.refuse_activation.load(Ordering::SeqCst) {
            return Err(Error::Misuse("a test said so"));
        }
        self.knobs.activations.fetch_add(1, Ordering::SeqCst);
        *self.knobs.host.lock().unwrap() = Some(activation.host.clone());
        let mut done = self.knobs.done.lock().unwrap();
        done.clear();
        let place = |queues: &Vec<u16>| {
            let (reader, writer) = std::io::pipe()?;
            done.push(writer);
            let worker = ToyWorker {
                chain: Chain::new(),
                held: Vec::new(),
                done: reader,
                knobs: self.knobs.clone(),
            };
            let mut queues = queues.clone();
            if self.knobs.frugal.load(Ordering::SeqCst) {
                queues.retain(|queue| activation.queues.contains(queue));
            }
            Ok(Placed { worker, queues })
        };
        self.groups.iter().map(place).collect()
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<ToyWorker>) {
        let count = workers.len() as u32;
        assert!(
            workers.iter().all(|worker| worker.held.is_empty()),
            "quiesced"
        );
        self.knobs.returned.fetch_add(count, Ordering::SeqCst);
    }

    fn reset(&mut self) {
        self.config.write(0, &[1, 2, 3, 4]);
    }

    fn save(&self) -> Result<SavedState> {
        Ok(SavedState::new("toy", 1, self.config.snapshot().into()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        let bytes: &[u8; 4] = state
            .expect("toy", 1)?
            .try_into()
            .map_err(|_| Error::State("four bytes"))?;
        self.config.write(0, bytes);
        Ok(())
    }
}

/// Its worker.
pub struct ToyWorker {
    chain: Chain,
    held: Vec<(u16, Chain)>,
    done: PipeReader,
    knobs: Arc<Knobs>,
}

impl<AS: AddressSpace> Worker<AS> for ToyWorker {
    fn kick(&mut self, index: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let Some(mut queue) = cx.queue(index) else {
            return Ok(Progress::Idle);
        };
        while queue.pop(&mut self.chain)? {
            match self.chain.read_array::<1, _>(queue.view(), 0) {
                Ok([b'F']) => return Err(std::io::Error::other("a test said so").into()),
                Ok([b'P']) => panic!("a test said so"),
                _ if self.knobs.hold.load(Ordering::SeqCst) => {
                    self.held.push((index, std::mem::take(&mut self.chain)));
                    self.knobs.held.fetch_add(1, Ordering::SeqCst);
                }
                _ => {
                    let written = echo(&self.chain, queue.view());
                    queue.push(&mut self.chain, written);
                }
            }
        }
        Ok(progress(&self.held))
    }

    fn event(&mut self, _: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.done.read_exact(&mut [0])?;
        for (index, mut chain) in self.held.drain(..) {
            self.knobs.held.fetch_sub(1, Ordering::SeqCst);
            if let Some(mut queue) = cx.queue(index) {
                let written = echo(&chain, queue.view());
                queue.push(&mut chain, written);
            }
        }
        Ok(Progress::Idle)
    }

    fn gathers(&self) -> bool {
        self.knobs.gathers.load(Ordering::SeqCst)
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        add(Source {
            token: 0,
            fd: self.done.as_fd(),
            interest: Interest::Read,
        });
    }

    fn quiesce(&mut self, _: &mut Cx<'_, AS>) -> Result<Progress> {
        self.knobs.quiesced.fetch_add(1, Ordering::SeqCst);
        Ok(progress(&self.held))
    }
}

fn progress(held: &[(u16, Chain)]) -> Progress {
    match held.is_empty() {
        true => Progress::Idle,
        false => Progress::InFlight,
    }
}

fn echo<M: GuestMemory>(chain: &Chain, view: &mut GuestView<'_, M>) -> u32 {
    let len = chain.readable_len().min(chain.writable_len()).min(4096);
    let mut bytes = vec![0; len as usize];
    let copied = chain
        .read_at(view, 0, &mut bytes)
        .and_then(|()| chain.write_at(view, 0, &bytes));
    copied.map_or(0, |()| len)
}
