//! `iothread`: a thread that does the work of the devices that name it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::thread::Pid;
use virtio_bus::{Activity, Job, NotStarted, Runner, Running, SharedThread};
use virtio_device::props::{PropError, PropHelp, Props};

use super::{Lease, ObjectProps, Role};
use crate::backends::Backends;
use crate::devices::{apply_pairs, bad_property};
use crate::memory::SharedMemory;
use crate::options::BadOption;
use crate::thread_number::ThreadNumber;
use crate::workers::Workers;

/// A thread that is started for the first device, or who asks for its number, and ends with the
/// object.
pub struct Iothread {
    runner: SharedThread<SharedMemory>,
    /// What the thread is to do, until there is one.
    work: Mutex<Option<Work>>,
    number: ThreadNumber,
}

type Work = Box<dyn FnOnce() + Send>;

impl Iothread {
    fn new(poll: Duration, activity: Option<&Activity>) -> io::Result<Self> {
        let (runner, work) = SharedThread::with_activity(poll, activity)?;
        let (number, teller) = ThreadNumber::new();
        let work = move || {
            teller.tell();
            work();
        };
        Ok(Self {
            runner,
            work: Mutex::new(Some(Box::new(work))),
            number,
        })
    }

    /// The number that the host gave the thread of the iothread `id`.
    ///
    /// # Errors
    /// A host that had no thread to give.
    pub fn thread_id(&self, id: &str, workers: &Workers) -> io::Result<Pid> {
        self.start(id, workers);
        self.number.ask()
    }

    /// Has `workers` start the thread, if it was not.
    fn start(&self, id: &str, workers: &Workers) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(work) = work.take() {
            workers.spawn(format!("IO {id}"), work);
        }
    }
}

/// The right of a device to an iothread, which is in use as long as there is one.
#[derive(Clone)]
pub struct Place {
    pub(super) id: String,
    pub(super) thread: Arc<Iothread>,
    #[expect(dead_code, reason = "held, not read")]
    pub(super) lease: Lease,
}

impl Place {
    /// What runs a device there. The thread is one of `workers`.
    pub fn runner(&self, workers: &Workers) -> Arc<dyn Runner<SharedMemory>> {
        self.thread.start(&self.id, workers);
        workers.through(Arc::new(self.clone()))
    }
}

impl Runner<SharedMemory> for Place {
    fn start(
        &self,
        job: Job<SharedMemory>,
    ) -> Result<Box<dyn Running<SharedMemory>>, NotStarted<SharedMemory>> {
        self.thread.runner.start(job)
    }
}

/// Sets the property `name` of an iothread that was made with `properties`, which tell of it then.
pub(super) fn set(
    thread: &Iothread,
    (option, properties): (&str, &mut Vec<PropHelp>),
    (name, value): (&str, &str),
) -> Result<(), BadOption> {
    let mut props = IothreadProps::default();
    let earlier = properties.iter();
    let earlier = earlier.map(|property| (property.name.to_owned(), property.value.clone()));
    let new = (name.to_owned(), value.to_owned());
    let pairs: Vec<_> = earlier.chain([new]).collect();
    apply_pairs(option, &pairs, &mut [&mut props])?;
    thread.runner.set_poll(props.poll(option)?);
    *properties = Props::describe(&props);
    Ok(())
}

virtio_device::props! {
    /// Properties of an iothread.
    struct IothreadProps {
        /// Nanoseconds to look for work before the thread sleeps, at most a millisecond.
        "poll-max-ns" => poll_max_ns: u64 = 32_768,
        /// How that time grows; it is in proportion to the work there was, so only 0 is accepted.
        "poll-grow" => poll_grow: u64 = 0,
        /// How that time shrinks; as poll-grow.
        "poll-shrink" => poll_shrink: u64 = 0,
        /// Requests handed to the host at once; 0, the only value, leaves it to the device.
        "aio-max-batch" => aio_max_batch: u64 = 0,
    }
}

pub(super) fn props() -> Box<dyn ObjectProps> {
    Box::new(IothreadProps::default())
}

impl IothreadProps {
    /// The time to poll, if nothing else is asked for that is not done.
    fn poll(&self, option: &str) -> Result<Duration, BadOption> {
        let refuse = |name, value: u64, accepts| {
            let value = value.to_string();
            bad_property(
                option,
                PropError::Value {
                    name,
                    value,
                    accepts,
                },
            )
        };
        for (name, value) in [
            ("poll-grow", self.poll_grow),
            ("poll-shrink", self.poll_shrink),
            ("aio-max-batch", self.aio_max_batch),
        ] {
            if value != 0 {
                return Err(refuse(name, value, "0"));
            }
        }
        if self.poll_max_ns > MOST_POLL {
            let accepts = "a number from 0 to 1000000";
            return Err(refuse("poll-max-ns", self.poll_max_ns, accepts));
        }
        Ok(Duration::from_nanos(self.poll_max_ns))
    }
}

impl ObjectProps for IothreadProps {
    fn object(&mut self, option: &str, backends: &mut Backends) -> Result<Role, BadOption> {
        let thread = Iothread::new(self.poll(option)?, backends.activity());
        let thread = thread.map_err(|error| {
            let accepted = "a host with descriptors left";
            BadOption::new(option, error, accepted)
        })?;
        Ok(Role::Iothread(Arc::new(thread)))
    }
}

/// A millisecond: longer than that, sleeping always pays.
const MOST_POLL: u64 = 1_000_000;
