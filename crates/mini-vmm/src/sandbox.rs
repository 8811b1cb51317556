//! The sandbox around a running machine: seccomp filters for each class of thread, and landlock
//! for the whole process.
//!
//! A system call outside a thread's list raises SIGSYS, which restores the terminal, names the
//! call and ends the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope, make_bitflags,
};
use libc as c;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// A class of thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The main thread: events, character devices, reset.
    Main,
    /// The main thread of a machine without vCPUs, which makes their accesses as well.
    Solo,
    /// A vCPU, which also starts and stops devices.
    Vcpu,
    /// A thread of a device.
    Worker,
    /// What starts those: whatever they may do, it must be able to hand on.
    Launcher,
    /// A process that opens files for this one.
    Broker,
    /// A thread of a device that serves files by name, within a [`Territory`].
    Sharer,
    /// What starts those.
    ShareLauncher,
}

/// The files that a thread may use by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Territory {
    /// None.
    Nowhere,
    /// Those below a directory.
    Below {
        /// The directory.
        path: PathBuf,
        /// Whether they are only read.
        read_only: bool,
        /// Whether device nodes, FIFOs and sockets are made.
        nodes: bool,
    },
}

/// Why the sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A filter is refused.
    #[error("seccomp: {0}")]
    Seccomp(String),
    /// A rule for files is refused.
    #[error("landlock: {0}")]
    Landlock(String),
}

/// Restricts this thread, and those it starts from now on, to files that are open, and to removing
/// files in `directories`. Hosts without landlock go without.
///
/// # Errors
/// Where the kernel refuses, or a directory cannot be opened.
pub fn restrict_files(directories: impl Iterator<Item = impl AsRef<Path>>) -> Result<(), Error> {
    restrict(directories.map(|directory| (directory, AccessFs::RemoveFile.into())))
}

/// Restricts this thread, and those it starts from now on, to files that are open, and to those of
/// `territory`.
///
/// # Errors
/// Where the kernel refuses, or the directory cannot be opened.
pub fn restrict_to(territory: &Territory) -> Result<(), Error> {
    restrict(territory.rule().into_iter())
}

impl Territory {
    fn rule(&self) -> Option<(&Path, BitFlags<AccessFs>)> {
        let Self::Below {
            path,
            read_only,
            nodes,
        } = self
        else {
            return None;
        };
        let mut access = AccessFs::ReadFile | AccessFs::ReadDir;
        if !read_only {
            access |= CHANGES;
        }
        if !read_only && *nodes {
            access |= NODES;
        }
        Some((path, access))
    }
}

fn restrict(
    rules: impl Iterator<Item = (impl AsRef<Path>, BitFlags<AccessFs>)>,
) -> Result<(), Error> {
    let refused = |error: &dyn std::fmt::Display| Error::Landlock(error.to_string());
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST_ABI))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST_ABI)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST_ABI)))
        .and_then(|ruleset| ruleset.create())
        .map_err(|error| refused(&error))?;
    for (directory, access) in rules {
        let fd = PathFd::new(directory).map_err(|error| refused(&error))?;
        let rule = PathBeneath::new(fd, access);
        ruleset = ruleset.add_rule(rule).map_err(|error| refused(&error))?;
    }
    ruleset
        .restrict_self()
        .map(drop)
        .map_err(|error| refused(&error))
}

/// Restricts this thread to the system calls of its class, for good.
///
/// # Errors
/// Where the kernel refuses.
pub fn restrict_calls(class: Class) -> Result<(), Error> {
    let apply = |program: Result<BpfProgram, seccompiler::BackendError>| {
        let program = program.map_err(|error| Error::Seccomp(error.to_string()))?;
        seccompiler::apply_filter(&program).map_err(|error| Error::Seccomp(error.to_string()))
    };
    if class.is_launcher() {
        apply(without_clone3())?;
    }
    apply(filter(class))
}

impl Class {
    fn is_launcher(self) -> bool {
        matches!(self, Self::Launcher | Self::ShareLauncher)
    }
}

fn filter(class: Class) -> Result<BpfProgram, seccompiler::BackendError> {
    let (calls, ioctls): (&[&[i64]], &[&[u16]]) = match class {
        // It starts devices where a machine that was stopped goes on.
        Class::Main => (&[MAIN, CHARDEV, VCPU], &[MAIN_IOCTLS, STOP_IOCTLS]),
        Class::Solo => (&[MAIN, CHARDEV, VCPU], &[MAIN_IOCTLS]),
        Class::Vcpu => (&[VCPU], &[VCPU_IOCTLS, STOP_IOCTLS]),
        Class::Worker => (&[WORKER, CHARDEV], &[WORKER_IOCTLS]),
        Class::Launcher => (&[LAUNCHER, WORKER, CHARDEV], &[WORKER_IOCTLS]),
        Class::Broker => (&[BROKER], &[BROKER_IOCTLS]),
        Class::Sharer => (&[WORKER, CHARDEV, SHARER], &[]),
        Class::ShareLauncher => (&[LAUNCHER, WORKER, CHARDEV, SHARER], &[]),
    };
    let calls = calls.iter().copied().chain([COMMON]).flatten();
    let mut rules: Rules = calls.map(|call| (*call, Vec::new())).collect();
    let ioctls = ioctls.iter().copied().chain([COMMON_IOCTLS]).flatten();
    let ioctls = ioctls.map(|number| ioctl(*number));
    rules.insert(c::SYS_ioctl, ioctls.collect::<Result<_, _>>()?);
    for call in [c::SYS_mmap, c::SYS_mprotect] {
        rules.insert(call, vec![no_new_code()?]);
    }
    rules
        .entry(c::SYS_fcntl)
        .or_insert(vec![look_at_descriptor()?]);
    if class.is_launcher() {
        rules.insert(c::SYS_clone, vec![threads_only()?]);
    }
    SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, ARCH)?.try_into()
}

/// A filter that has clone3 as unknown, whose flags are out of a filter's sight; the C library then
/// goes back to clone.
fn without_clone3() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = Rules::from([(c::SYS_clone3, Vec::new())]);
    let unknown = SeccompAction::Errno(c::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, unknown, ARCH)?.try_into()
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Type and number of an ioctl, in its low 16 bits; the size above them is the kernel's matter.
fn ioctl(number: u16) -> Result<SeccompRule, seccompiler::BackendError> {
    let low = SeccompCmpOp::MaskedEq(0xffff);
    SeccompRule::new(vec![SeccompCondition::new(
        1,
        SeccompCmpArgLen::Dword,
        low,
        number.into(),
    )?])
}

fn no_new_code() -> Result<SeccompRule, seccompiler::BackendError> {
    let executable = SeccompCmpOp::MaskedEq(c::PROT_EXEC as u64);
    SeccompRule::new(vec![SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        executable,
        0,
    )?])
}

/// What the standard library does before it closes a descriptor, where debug assertions are on.
fn look_at_descriptor() -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        1,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        c::F_GETFD as u64,
    )?])
}

fn threads_only() -> Result<SeccompRule, seccompiler::BackendError> {
    let thread = (c::CLONE_THREAD | c::CLONE_VM) as u64;
    let flags = SeccompCmpOp::MaskedEq(thread);
    SeccompRule::new(vec![SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        flags,
        thread,
    )?])
}

const NEWEST_ABI: ABI = ABI::V6;
const CHANGES: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | Refer
});
const NODES: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    MakeChar | MakeBlock | MakeFifo | MakeSock
});
const ARCH: TargetArch = TargetArch::x86_64;

#[rustfmt::skip]
/// Memory, locks, time, open descriptors and timers, and the end of a thread.
const COMMON: &[i64] = &[
    c::SYS_brk, c::SYS_clock_gettime, c::SYS_clock_nanosleep, c::SYS_close, c::SYS_exit,
    c::SYS_exit_group, c::SYS_futex, c::SYS_getpid, c::SYS_getrandom, c::SYS_gettid,
    c::SYS_madvise, c::SYS_membarrier, c::SYS_mremap, c::SYS_munmap, c::SYS_nanosleep,
    c::SYS_poll, c::SYS_ppoll, c::SYS_read, c::SYS_readv, c::SYS_restart_syscall,
    c::SYS_rt_sigprocmask, c::SYS_rt_sigreturn, c::SYS_sched_yield, c::SYS_sendto,
    c::SYS_sigaltstack, c::SYS_tgkill, c::SYS_timerfd_settime, c::SYS_write, c::SYS_writev,
];
/// Character devices, whose connections the broker makes, and waiting for events.
#[rustfmt::skip]
const CHARDEV: &[i64] = &[
    c::SYS_accept4, c::SYS_epoll_ctl, c::SYS_epoll_pwait, c::SYS_epoll_wait, c::SYS_getsockopt,
    c::SYS_recvfrom, c::SYS_recvmsg, c::SYS_sendmsg, c::SYS_setsockopt, c::SYS_shutdown,
];
/// Making and stopping devices and what they are connected to (an io_uring that is dropped waits for
/// the kernel, a qcow2 image writes its tables), reloading the kernel, and removing files at the end.
#[rustfmt::skip]
const MAIN: &[i64] = &[
    c::SYS_dup, c::SYS_epoll_create1, c::SYS_eventfd2, c::SYS_fallocate, c::SYS_fcntl,
    c::SYS_fstat, c::SYS_fstatfs, c::SYS_fsync, c::SYS_ftruncate, c::SYS_io_uring_enter,
    c::SYS_io_uring_register, c::SYS_lseek, c::SYS_newfstatat, c::SYS_pread64, c::SYS_preadv,
    c::SYS_pwritev, c::SYS_statx, c::SYS_timerfd_create, c::SYS_unlink, c::SYS_unlinkat,
];
/// Starting devices: timers, and io_uring with the event that it signals; and stopping them.
const VCPU: &[i64] = &[
    c::SYS_eventfd2,
    c::SYS_io_uring_enter,
    c::SYS_io_uring_register,
    c::SYS_io_uring_setup,
    c::SYS_timerfd_create,
];
/// Disk images, the rings and timers of which are made where they are used: SCSI disks come and go. qcow2
/// images grow, and are made durable as a whole.
#[rustfmt::skip]
const WORKER: &[i64] = &[
    c::SYS_eventfd2, c::SYS_fallocate, c::SYS_fdatasync, c::SYS_fsync, c::SYS_ftruncate,
    c::SYS_io_uring_enter, c::SYS_io_uring_register, c::SYS_io_uring_setup, c::SYS_pread64,
    c::SYS_preadv, c::SYS_preadv2, c::SYS_pwrite64, c::SYS_pwritev, c::SYS_pwritev2,
    c::SYS_timerfd_create,
];
/// Files by name.
#[rustfmt::skip]
const SHARER: &[i64] = &[
    c::SYS_fchmodat, c::SYS_fchownat, c::SYS_fsetxattr, c::SYS_fstat, c::SYS_fstatfs,
    c::SYS_fsync, c::SYS_ftruncate, c::SYS_getdents64, c::SYS_getxattr, c::SYS_linkat,
    c::SYS_listxattr, c::SYS_lseek, c::SYS_mkdirat, c::SYS_mknodat, c::SYS_openat, c::SYS_openat2,
    c::SYS_readlinkat, c::SYS_removexattr, c::SYS_renameat, c::SYS_setxattr, c::SYS_symlinkat,
    c::SYS_unlinkat, c::SYS_utimensat,
];
/// Opening what others may not.
#[rustfmt::skip]
const BROKER: &[i64] = &[
    c::SYS_bind, c::SYS_connect, c::SYS_listen, c::SYS_openat2, c::SYS_recvmsg, c::SYS_sendmsg,
    c::SYS_socket,
];
/// Making a thread, what it does first, and putting it into its own sandbox.
#[rustfmt::skip]
const LAUNCHER: &[i64] = &[
    c::SYS_clone3, c::SYS_epoll_create1, c::SYS_eventfd2, c::SYS_prctl, c::SYS_rseq,
    c::SYS_sched_getaffinity, c::SYS_seccomp, c::SYS_set_robust_list,
];

/// TCSETS2 and TCSETS: the terminal is restored by whichever thread fails. KVM_IRQ_LINE and
/// KVM_SIGNAL_MSI: interrupts. TUNSETOFFLOAD and TUNSETQUEUE: what a driver wants of a tap interface.
const COMMON_IOCTLS: &[u16] = &[0x542b, 0x5402, 0xae61, 0xaea5, 0x54d0, 0x54d9];
/// FIONBIO of accepted sockets; BLKGETSIZE64, BLKSSZGET, BLKPBSZGET, BLKGETZONESZ and BLKREPORTZONE of
/// disks that devices are made for; TUNGETIFF and TUNSETVNETHDRSZ of tap interfaces that are passed; KVM_SET_IRQCHIP,
/// KVM_SET_PIT2, KVM_SET_CLOCK and KVM_GET_CLOCK; TIOCGWINSZ of the user's terminal.
const MAIN_IOCTLS: &[u16] = &[
    0x5421, 0x1272, 0x1268, 0x127b, 0x1284, 0x1282, 0x54d2, 0x54d8, 0xae63, 0xaea0, 0xae7b, 0xae7c,
    0x5413,
];
/// KVM_IOEVENTFD, KVM_IRQFD and KVM_SET_GSI_ROUTING, of devices that are stopped or started.
const STOP_IOCTLS: &[u16] = &[0xae79, 0xae76, 0xae6a];
/// KVM_RUN, and what a reset puts back: SET_REGS, SET_SREGS, GET_SREGS, SET_MSRS, SET_FPU,
/// SET_LAPIC, SET_MP_STATE, SET_VCPU_EVENTS, SET_DEBUGREGS, SET_XCRS; GET_REGS for a report;
/// KVMCLOCK_CTRL after a pause.
const VCPU_IOCTLS: &[u16] = &[
    0xae80, 0xae82, 0xae84, 0xae83, 0xae89, 0xae8d, 0xae8f, 0xae99, 0xaea0, 0xaea2, 0xaea7, 0xae81,
    0xaead,
];
/// FIONBIO of sockets that listen.
const BROKER_IOCTLS: &[u16] = &[0x5421];
/// FIONBIO of accepted sockets; BLKDISCARD and BLKZEROOUT, BLKGETSIZE64 of one that may be gone;
/// BLKREPORTZONE, BLKRESETZONE, BLKOPENZONE, BLKCLOSEZONE and BLKFINISHZONE.
const WORKER_IOCTLS: &[u16] = &[
    0x5421, 0x1277, 0x127f, 0x1272, 0x1282, 0x1283, 0x1286, 0x1287, 0x1288,
];

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
