//! Failed requests of drives, as the machine sees to them and tells its monitors.

use std::collections::BTreeMap;

use guest_io::block::{Direction, Verdict};
use serde_json::json;

use super::{Machine, RunState};
use crate::devices::Control;
use crate::incidents::Incident;
use crate::qmp::Event;

/// What stopped the machine, by drive.
pub(super) type Errors = BTreeMap<String, IoStatus>;

/// How a drive that can stop the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoStatus {
    Ok,
    /// A request has failed, and waits.
    Failed,
    /// It waits for room on the host.
    NoSpace,
}

impl IoStatus {
    /// QEMU's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NoSpace => "nospace",
        }
    }
}

/// What a disk is on.
struct HostEnd {
    /// What QEMU calls it for good, whatever medium is in it.
    name: String,
    /// The drive, which may be another one by now.
    drive: String,
}

impl Machine {
    /// How `drive` is.
    pub(crate) fn io_status(&self, drive: &str) -> IoStatus {
        self.errors.get(drive).copied().unwrap_or(IoStatus::Ok)
    }

    /// Tells monitors of requests that have failed, and stops where such are kept.
    pub(super) fn see_to_errors(&mut self) {
        for (path, incident) in self.incidents.take() {
            let Some(HostEnd { name, drive }) = self.host_end(&path) else {
                continue;
            };
            self.tell_of_error((&path, &name, &drive), &incident);
            if incident.verdict == Verdict::Keep {
                let status = match incident.no_space {
                    true => IoStatus::NoSpace,
                    false => IoStatus::Failed,
                };
                self.errors.insert(drive, status);
                self.pause_as(RunState::IoError);
            }
        }
    }

    /// Nothing of the past is waited for any more.
    pub(super) fn forget_errors(&mut self) {
        self.errors.clear();
        drop(self.incidents.take());
    }

    fn tell_of_error(&self, (path, name, drive): (&str, &str, &str), incident: &Incident) {
        let operation = match incident.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        let action = match incident.verdict {
            Verdict::Report => "report",
            Verdict::Ignore => "ignore",
            Verdict::Keep => "stop",
        };
        let data = json!({
            "qom-path": path,
            "device": name,
            "node-name": drive,
            "operation": operation,
            "action": action,
            "nospace": incident.no_space,
            "reason": incident.reason,
        });
        self.tell(&Event::new("BLOCK_IO_ERROR", data));
    }

    /// What the disk at `path` is on now.
    fn host_end(&self, path: &str) -> Option<HostEnd> {
        let mut devices = self.hardware.devices.iter();
        devices.find_map(|device| match &device.control {
            Control::Blk(own) if device.backend_path() == path => Some(HostEnd {
                name: own.options.id.clone(),
                drive: own.options.id.clone(),
            }),
            Control::Scsi(_, units) => {
                let unit = units.iter().find(|unit| unit.path == path)?;
                let drive = unit.drive.as_ref().map(|drive| drive.options.id.clone());
                Some(HostEnd {
                    name: unit.host_end.clone(),
                    drive: drive.unwrap_or_default(),
                })
            }
            _ => None,
        })
    }
}
