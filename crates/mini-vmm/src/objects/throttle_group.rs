//! `throttle-group`: limits that disks keep to together.

use std::sync::Arc;

use virtio_blk::{Rates, ThrottleGroup};
use virtio_device::props::{DynProps, PropError, PropHelp, Props};

use super::{ObjectProps, Role};
use crate::backends::Backends;
use crate::devices::apply_pairs;
use crate::options::{BadOption, KeyVals, throttling};

virtio_device::props! {
    /// Limits, by the names that they have as properties.
    struct Limits {
        /// Requests in a second; 0: no limit.
        "x-iops-total" => iops_total: u64 = 0,
        /// After a time of rest; 0: no more.
        "x-iops-total-max" => iops_total_max: u64 = 0,
        /// For so many seconds.
        "x-iops-total-max-length" => iops_total_max_length: u64 = 1,
        /// The same of reads for themselves.
        "x-iops-read" => iops_read: u64 = 0,
        /// After a time of rest; 0: no more.
        "x-iops-read-max" => iops_read_max: u64 = 0,
        /// For so many seconds.
        "x-iops-read-max-length" => iops_read_max_length: u64 = 1,
        /// The same of writes for themselves.
        "x-iops-write" => iops_write: u64 = 0,
        /// After a time of rest; 0: no more.
        "x-iops-write-max" => iops_write_max: u64 = 0,
        /// For so many seconds.
        "x-iops-write-max-length" => iops_write_max_length: u64 = 1,
        /// A request of more bytes than this counts as several; 0: as one.
        "x-iops-size" => iops_size: u64 = 0,
        /// Bytes in a second; 0: no limit.
        "x-bps-total" => bps_total: u64 = 0,
        /// After a time of rest; 0: no more.
        "x-bps-total-max" => bps_total_max: u64 = 0,
        /// For so many seconds.
        "x-bps-total-max-length" => bps_total_max_length: u64 = 1,
        /// The same of reads for themselves.
        "x-bps-read" => bps_read: u64 = 0,
        /// After a time of rest; 0: no more.
        "x-bps-read-max" => bps_read_max: u64 = 0,
        /// For so many seconds.
        "x-bps-read-max-length" => bps_read_max_length: u64 = 1,
        /// The same of writes for themselves.
        "x-bps-write" => bps_write: u64 = 0,
        /// After a time of rest; 0: no more.
        "x-bps-write-max" => bps_write_max: u64 = 0,
        /// For so many seconds.
        "x-bps-write-max-length" => bps_write_max_length: u64 = 1,
    }
}

/// The same under both of QEMU's names: each may be a member of `limits` as well.
#[derive(Default)]
struct GroupProps(Limits);

pub(super) fn props() -> Box<dyn ObjectProps> {
    Box::new(GroupProps::default())
}

/// Has `group` keep to other limits, of which some are given. Its properties tell of them then.
pub(super) fn set(
    group: &ThrottleGroup,
    (option, properties): (&str, &mut Vec<PropHelp>),
    limits: &[(String, String)],
) -> Result<(), BadOption> {
    let mut props = GroupProps::default();
    let earlier = throttling::named(group.rates()).into_iter();
    let earlier = earlier.map(|(name, value)| (format!("{MEMBER}{name}"), value.to_string()));
    let pairs: Vec<_> = earlier.chain(limits.iter().cloned()).collect();
    apply_pairs(option, &pairs, &mut [&mut props])?;
    group.set_rates(props.rates(option)?);
    *properties = props.describe();
    Ok(())
}

impl GroupProps {
    fn rates(&self, option: &str) -> Result<Rates, BadOption> {
        let pairs = self.describe().into_iter();
        let pairs = pairs.map(|property| (property.name.to_owned(), property.value));
        let mut kv = KeyVals::of(option, pairs.collect());
        throttling::rates(&mut kv, &|name| format!("{PROPERTY}{name}"))
    }
}

impl DynProps for GroupProps {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError> {
        match name.strip_prefix(MEMBER) {
            Some(limit) => Props::set(&mut self.0, &format!("{PROPERTY}{limit}"), value),
            None => Props::set(&mut self.0, name, value),
        }
    }

    fn describe(&self) -> Vec<PropHelp> {
        Props::describe(&self.0)
    }
}

impl ObjectProps for GroupProps {
    fn object(&mut self, option: &str, _: &mut Backends) -> Result<Role, BadOption> {
        let rates = self.rates(option)?;
        Ok(Role::ThrottleGroup(Arc::new(ThrottleGroup::new(rates))))
    }
}

const PROPERTY: &str = "x-";
const MEMBER: &str = "limits.";
