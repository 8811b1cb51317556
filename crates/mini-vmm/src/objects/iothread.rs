//! `iothread`.

use std::time::Duration;

use virtio_device::props::PropError;

use super::{ObjectProps, Role};
use crate::backends::Backends;
use crate::devices::bad_property;
use crate::options::BadOption;

virtio_device::props! {
    /// Properties of an iothread.
    struct IothreadProps {
        /// Nanoseconds to look for work before a thread sleeps, at most a millisecond.
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

impl ObjectProps for IothreadProps {
    fn object(&mut self, option: &str, _: &mut Backends) -> Result<Role, BadOption> {
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
        match self.poll_max_ns {
            time @ 0..=MOST_POLL => Ok(Role::Iothread(Duration::from_nanos(time))),
            time => Err(refuse("poll-max-ns", time, "a number from 0 to 1000000")),
        }
    }
}

/// A millisecond: longer than that, sleeping always pays.
const MOST_POLL: u64 = 1_000_000;
