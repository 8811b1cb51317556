//! The sandbox around a running machine: seccomp filters for each class of thread, and landlock
//! for the whole process.
//!
//! A system call outside a thread's list raises SIGSYS, which restores the terminal, names the
//! call and ends the process.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
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
    /// A vCPU.
    Vcpu,
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
pub fn restrict_files<'a>(directories: impl Iterator<Item = &'a Path>) -> Result<(), Error> {
    let refused = |error: &dyn std::fmt::Display| Error::Landlock(error.to_string());
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST_ABI))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST_ABI)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST_ABI)))
        .and_then(|ruleset| ruleset.create())
        .map_err(|error| refused(&error))?;
    for directory in directories {
        let fd = PathFd::new(directory).map_err(|error| refused(&error))?;
        let rule = PathBeneath::new(fd, AccessFs::RemoveFile);
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
    let program = filter(class).map_err(|error| Error::Seccomp(error.to_string()))?;
    seccompiler::apply_filter(&program).map_err(|error| Error::Seccomp(error.to_string()))
}

fn filter(class: Class) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        COMMON.iter().map(|call| (*call, Vec::new())).collect();
    let (calls, ioctls) = match class {
        Class::Main => (MAIN, MAIN_IOCTLS),
        Class::Vcpu => (VCPU, VCPU_IOCTLS),
    };
    rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    let ioctls = COMMON_IOCTLS.iter().chain(ioctls);
    rules.insert(
        c::SYS_ioctl,
        ioctls
            .map(|number| ioctl(*number))
            .collect::<Result<_, _>>()?,
    );
    for call in [c::SYS_mmap, c::SYS_mprotect] {
        rules.insert(call, vec![no_new_code()?]);
    }
    let arch = TargetArch::x86_64;
    SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, arch)?.try_into()
}

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

const NEWEST_ABI: ABI = ABI::V6;

#[rustfmt::skip]
/// Memory, locks, time, open descriptors, and the end of a thread.
const COMMON: &[i64] = &[
    c::SYS_brk, c::SYS_clock_gettime, c::SYS_clock_nanosleep, c::SYS_close, c::SYS_exit,
    c::SYS_exit_group, c::SYS_futex, c::SYS_getpid, c::SYS_getrandom, c::SYS_gettid,
    c::SYS_madvise, c::SYS_membarrier, c::SYS_mremap, c::SYS_munmap, c::SYS_nanosleep,
    c::SYS_poll, c::SYS_ppoll, c::SYS_read, c::SYS_readv, c::SYS_restart_syscall,
    c::SYS_rt_sigprocmask, c::SYS_rt_sigreturn, c::SYS_sched_yield, c::SYS_sendto,
    c::SYS_sigaltstack, c::SYS_tgkill, c::SYS_write, c::SYS_writev,
];
#[rustfmt::skip]
/// Character devices, reloading the kernel, waiting for events, removing files at the end.
const MAIN: &[i64] = &[
    c::SYS_accept4, c::SYS_dup, c::SYS_epoll_ctl, c::SYS_epoll_pwait, c::SYS_epoll_wait,
    c::SYS_fcntl, c::SYS_fstat, c::SYS_lseek, c::SYS_newfstatat, c::SYS_pread64, c::SYS_recvfrom,
    c::SYS_statx, c::SYS_unlink, c::SYS_unlinkat,
];
const VCPU: &[i64] = &[];

/// TCSETS2 and TCSETS: the terminal is restored by whichever thread fails.
const COMMON_IOCTLS: &[u16] = &[0x542b, 0x5402];
/// FIONBIO of accepted sockets; KVM_SET_IRQCHIP and KVM_SET_PIT2.
const MAIN_IOCTLS: &[u16] = &[0x5421, 0xae63, 0xaea0];
/// KVM_RUN, and what a reset puts back: SET_REGS, SET_SREGS, GET_SREGS, SET_MSRS, SET_FPU,
/// SET_LAPIC, SET_MP_STATE, SET_VCPU_EVENTS, SET_DEBUGREGS, SET_XCRS; GET_REGS for a report.
const VCPU_IOCTLS: &[u16] = &[
    0xae80, 0xae82, 0xae84, 0xae83, 0xae89, 0xae8d, 0xae8f, 0xae99, 0xaea0, 0xaea2, 0xaea7, 0xae81,
];

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
