//! Scenarios that only channel I/O has, and which guests run which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use anyhow::{Context, Result, bail, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario, Shared, nothing};
use crate::guest::scenarios::{console, fio, hub, mount, port, reboot, rng, scsi};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use crate::socket;

/// Scenarios for one kernel on one number of processors.
pub(super) struct Course {
    /// What their names begin with.
    pub(super) label: &'static str,
    pub(super) kernel: Release,
    pub(super) processors: u32,
    pub(super) scenarios: &'static [Scenario],
}

impl Course {
    /// Whether one of its scenarios has a name that contains `filter`.
    pub(super) fn matches(&self, filter: &str) -> bool {
        let mut scenarios = self.scenarios.iter();
        scenarios.any(|scenario| scenario.matches(self.label, filter))
    }
}

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    LongTerm,
    Newest,
}

/// All courses. Four processors, and so four queues of a disk, cost more than they have of the host:
/// they only do what needs them.
pub(super) const COURSES: &[Course] = &[
    Course {
        label: "s390x-",
        kernel: Release::LongTerm,
        processors: 4,
        scenarios: &[fio::SCENARIO],
    },
    Course {
        label: "s390x-single-",
        kernel: Release::LongTerm,
        processors: 1,
        scenarios: &[
            console::SCENARIO,
            rng::SCENARIO,
            port::SCENARIO,
            hub::SCENARIO,
            mount::SCENARIO,
            INTERRUPTS,
            ONLINE,
            PLUG,
            VIEW,
        ],
    },
    Course {
        label: "s390x-newest-",
        kernel: Release::Newest,
        processors: 2,
        scenarios: &[
            console::SCENARIO,
            rng::SCENARIO,
            port::SCENARIO,
            hub::SCENARIO,
            mount::SCENARIO,
            fio::SCENARIO,
            scsi::SCENARIO,
            INTERRUPTS,
            ONLINE,
            PLUG,
            RESTART,
        ],
    },
];

/// Classic interrupts and adapter interrupts, each where they were asked for.
const INTERRUPTS: Scenario = Scenario {
    name: "interrupts",
    equip: |machine| {
        machine.disk("virtio-blk-ccw", "adapter", 1 << 20)?;
        machine.disk(
            "virtio-blk-ccw,x-adapter-interrupts=off",
            "classic",
            1 << 20,
        )
    },
    play: Play::Shared(Shared {
        checks: |_| {
            vec![
                "interrupts-classic".to_owned(),
                "interrupts-adapter".to_owned(),
            ]
        },
        beside: nothing,
        after: nothing,
    }),
};

/// Fifty times offline and online, and fifty times without a driver, under reads.
const ONLINE: Scenario = Scenario {
    name: "online",
    equip: |machine| machine.disk("virtio-blk-ccw", "online", 4 << 20),
    play: Play::Shared(Shared {
        checks: |_| vec!["online".to_owned(), "online-bind".to_owned()],
        beside: nothing,
        after: nothing,
    }),
};

/// A disk grows, memory shrinks, devices come and go. The guest says when, to the monitor.
const PLUG: Scenario = Scenario {
    name: "plug",
    equip: |machine| {
        machine.monitor("monitor");
        machine.socket("monitor-port");
        machine.device("virtio-serial-ccw");
        machine.device("virtserialport,chardev=monitor-port,name=org.example.monitor");
        machine.device("virtio-balloon-ccw");
        let image = machine.file("plug");
        File::create(&image)?.set_len(4 << 20)?;
        machine.drive_only("plug", &image, "");
        machine.disk("virtio-blk-ccw", "resize", 16 << 20)
    },
    play: Play::Shared(Shared {
        checks: |_| {
            ["resize", "balloon", "plug", "plug-disk"]
                .map(str::to_owned)
                .to_vec()
        },
        beside: |machine| vec![Verdict::of("plug-monitor", relay(machine))],
        after: nothing,
    }),
};

/// A reboot: every device was reset on the way, with interrupts of both kinds, and works again.
const RESTART: Scenario = Scenario {
    name: "restart",
    equip: |machine| {
        machine.reboots = true;
        machine.disk("virtio-blk-ccw", "adapter", 1 << 20)?;
        machine.disk(
            "virtio-blk-ccw,x-adapter-interrupts=off",
            "classic",
            1 << 20,
        )?;
        machine.device("virtio-rng-ccw");
        machine.device("virtio-serial-ccw");
        machine.device("virtserialport,name=org.example.restart");
        Ok(())
    },
    play: Play::Alone(reboot::play),
};

/// The same guest sees the same in sysfs on our devices as on QEMU's own.
const VIEW: Scenario = Scenario {
    name: "view",
    equip: |machine| {
        machine.disk(
            "virtio-blk-ccw,devno=fe.0.0010,num-queues=2",
            "view",
            8 << 20,
        )?;
        machine.disk(
            "virtio-blk-ccw,devno=fe.1.0020,packed=on",
            "packed",
            8 << 20,
        )?;
        machine.disk(
            "virtio-blk-ccw,devno=fe.0.0011,max_revision=1",
            "revision",
            8 << 20,
        )?;
        machine.device("virtio-balloon-ccw,devno=fe.0.0005");
        machine.device("virtio-rng-ccw,devno=fe.0.0001");
        machine.option("-netdev", "hubport,id=view,hubid=0");
        machine.device("virtio-net-ccw,devno=fe.0.0006,netdev=view,mac=52:54:00:12:34:56");
        machine.device("virtio-scsi-ccw,devno=fe.0.0007");
        let share = machine.file("view-share");
        std::fs::create_dir(&share)?;
        let share = share.display();
        machine.option(
            "-fsdev",
            &format!("local,id=view,path={share},security_model=none"),
        );
        machine.device("virtio-9p-ccw,devno=fe.0.0008,fsdev=view,mount_tag=view");
        machine.device("virtio-serial-ccw,devno=fe.0.0003");
        machine.socket("view-port");
        machine.device("virtserialport,chardev=view-port,name=org.example.view");
        machine.socket("view-console");
        machine.device("virtconsole,chardev=view-console");
        Ok(())
    },
    play: Play::Alone(compare),
};

/// Carries lines from the guest's port to the monitor and answers back, until the VMM ends.
fn relay(machine: &Machine) -> Result<String> {
    let port = socket::connect(&machine.file("monitor-port"))?;
    let monitor = socket::connect(&machine.file("monitor"))?;
    let mut answers = BufReader::new(&monitor);
    let mut count = 0;
    for line in BufReader::new(&port).lines().map_while(Result::ok) {
        let mut answer = String::new();
        writeln!(&monitor, "{line}")?;
        answers.read_line(&mut answer)?;
        (&port).write_all(answer.as_bytes())?;
        count += 1;
    }
    Ok(format!("{count} commands of the guest's"))
}

fn compare(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let ours = facts(guest)?;
    let mut other = machine.clone();
    other.vmm = machine.vmm.beside().context("no QEMU to compare with")?;
    let theirs = facts(&mut Guest::start(&other)?)?;
    let names = ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>();
    Ok(names
        .into_iter()
        .map(|name| {
            Verdict::of(
                &format!("view-{name}"),
                same(ours.get(name), theirs.get(name)),
            )
        })
        .collect())
}

fn same(ours: Option<&String>, theirs: Option<&String>) -> Result<String> {
    let ours = ours.context("only QEMU shows it")?;
    let theirs = theirs.context("QEMU does not show it")?;
    let only = |one: &str, other: &str| {
        let words = one.split(' ');
        let only = words.filter(|word| !other.split(' ').any(|same| same == *word));
        only.collect::<Vec<_>>().join(" ")
    };
    ensure!(
        ours == theirs,
        "only ours: {:?}, only QEMU's: {:?}",
        only(ours, theirs),
        only(theirs, ours)
    );
    let count = ours.split(' ').count();
    Ok(format!("{count} attributes as QEMU shows them"))
}

/// What a guest that only looks around tells, by device.
fn facts(guest: &mut Guest) -> Result<BTreeMap<String, String>> {
    let mut facts = BTreeMap::new();
    guest.ready(BOOT)?;
    loop {
        match guest.report(SILENCE)? {
            Report::Fact { name, value } => {
                facts.insert(name, value);
            }
            Report::Done => break,
            other => bail!("expected facts, got {other:?}; {}", guest.last_words()),
        }
    }
    while guest.report(SILENCE)? != Report::Ended {}
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::{COURSES, same};

    #[test]
    fn a_difference_between_views_is_told() {
        let (ours, theirs) = ("size=1 ro=0".to_owned(), "size=2 ro=0 serial=x".to_owned());
        assert!(same(Some(&ours), Some(&ours)).is_ok());
        let error = same(Some(&ours), Some(&theirs)).unwrap_err().to_string();
        assert_eq!(
            error,
            "only ours: \"size=1\", only QEMU's: \"size=2 serial=x\""
        );
        assert!(same(Some(&ours), None).is_err() && same(None, Some(&theirs)).is_err());
    }

    #[test]
    fn a_course_is_chosen_by_its_own_name_and_its_scenarios() {
        let chosen = |filter| {
            COURSES
                .iter()
                .filter(|course| course.matches(filter))
                .count()
        };
        assert_eq!(chosen("s390x"), COURSES.len());
        assert_eq!(chosen("s390x-newest-restart"), 1);
        assert_eq!(chosen("kill"), 0);
    }
}
