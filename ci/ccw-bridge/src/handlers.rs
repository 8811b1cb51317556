//! What QEMU's functions are replaced with.
//!
//! QEMU calls them on the thread of the CPU that executes the instruction, with its lock held. `ra`
//! lets QEMU find out where in its translated code it was, if the instruction is left by
//! `longjmp`: nothing in these functions, nor in what they call at that time, has a destructor.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use ccw_message::Class;

use crate::cpu::Cpu;
use crate::link::{Interruptions, Link, Outcome};
use crate::patch::redirect;
use crate::symbols::{CpuPtr, EnvPtr, Qemu, find, need};

struct Bridge {
    qemu: Qemu,
    link: Link,
}

/// Puts the bridge into QEMU.
///
/// # Safety
/// This is QEMU, and there is one thread.
pub(crate) unsafe fn install(mut link: Link) {
    let qemu = Qemu::find();
    let interruptions = link.take_interruptions();
    let _ = BRIDGE.set(Bridge { qemu, link });
    let reset_function = (need(&[c"css_reset"]), reset as *const c_void);
    let others = [hypercalls(), reset_function];
    for (function, handler) in instructions().into_iter().chain(others) {
        // SAFETY: the handlers have the types of the functions, which nobody executes yet.
        if let Err(error) = unsafe { redirect(function, handler) } {
            crate::die(format_args!("cannot write to QEMU's code: {error}"));
        }
    }
    if let Some(interruptions) = interruptions {
        std::thread::spawn(move || deliver(qemu, interruptions));
    }
}

/// QEMU's functions for the I/O instructions, and ours.
fn instructions() -> [(*mut c_void, *const c_void); 10] {
    [
        (c"ioinst_handle_csch", csch as *const c_void),
        (c"ioinst_handle_hsch", hsch as _),
        (c"ioinst_handle_msch", msch as _),
        (c"ioinst_handle_ssch", ssch as _),
        (c"ioinst_handle_stsch", stsch as _),
        (c"ioinst_handle_tsch", tsch as _),
        (c"ioinst_handle_rsch", rsch as _),
        (c"ioinst_handle_stcrw", stcrw as _),
        (c"ioinst_handle_chsc", chsc as _),
        (c"ioinst_handle_xsch", xsch as _),
    ]
    .map(|(name, handler)| (need(&[name]), handler))
}

/// QEMU's function for DIAGNOSE 0x500, before or since version 10, and ours.
fn hypercalls() -> (*mut c_void, *const c_void) {
    match find(c"s390_virtio_hypercall") {
        Some(function) => (function, hypercall as _),
        None => (need(&[c"handle_diag_500"]), diagnose as _),
    }
}

/// Makes interruptions pending as they come.
fn deliver(qemu: Qemu, mut interruptions: Interruptions) {
    while let Some(interruption) = interruptions.next() {
        // SAFETY: QEMU's lock may be taken by any thread, and with it held, interruptions be made
        // pending.
        unsafe {
            (qemu.lock)(c"ccw-bridge".as_ptr(), 0);
            match interruption.class {
                Class::ChannelReport => (qemu.channel_report)(),
                Class::Io => (qemu.io_interrupt)(
                    interruption.subchannel_id,
                    interruption.subchannel_nr,
                    interruption.parameter,
                    interruption.word,
                ),
            }
            (qemu.unlock)();
        }
    }
    crate::die(format_args!("the channel subsystem went away"));
}

/// Executes an instruction. It may be left by `longjmp`.
///
/// # Safety
/// As QEMU calls its own functions for instructions.
unsafe fn execute(cpu: CpuPtr, ipa: u32, ipb: u32, ra: usize) {
    let Bridge { qemu, link } = bridge();
    // SAFETY: QEMU passes its object for the CPU of this thread, with its lock held.
    let cpu = unsafe { Cpu::new(qemu, cpu) };
    match link.report(cpu, ipa, ipb) {
        Outcome::Executed => (),
        // SAFETY: `ra` comes from QEMU, and what is on the stack from here to QEMU has no
        // destructors.
        Outcome::Program(code) => unsafe { cpu.interrupt(code, ra) },
        // SAFETY: the same; and the host says so only when an access has met with an exception.
        Outcome::Exception => unsafe { cpu.leave_by_exception(ra) },
    }
}

/// Instructions whose operand is in general register 1.
macro_rules! register {
    ($name:ident, $ipa:literal) => {
        unsafe extern "C-unwind" fn $name(cpu: CpuPtr, _register_1: u64, ra: usize) {
            // SAFETY: QEMU is the caller.
            unsafe { execute(cpu, $ipa, 0, ra) }
        }
    };
}

/// Instructions with an operand in storage besides.
macro_rules! storage {
    ($name:ident, $ipa:literal) => {
        unsafe extern "C-unwind" fn $name(
            cpu: CpuPtr,
            _register_1: u64,
            ipb: u32,
            ra: usize,
        ) -> c_int {
            // SAFETY: QEMU is the caller.
            unsafe { execute(cpu, $ipa, ipb, ra) };
            0
        }
    };
}

/// Instructions with nothing but what they say themselves.
macro_rules! plain {
    ($name:ident, $ipa:literal) => {
        unsafe extern "C-unwind" fn $name(cpu: CpuPtr, ipb: u32, ra: usize) {
            // SAFETY: QEMU is the caller.
            unsafe { execute(cpu, $ipa, ipb, ra) }
        }
    };
}

register!(csch, 0xb230);
register!(hsch, 0xb231);
storage!(msch, 0xb232);
storage!(ssch, 0xb233);
storage!(stsch, 0xb234);
storage!(tsch, 0xb235);
register!(rsch, 0xb238);
plain!(stcrw, 0xb239);
plain!(chsc, 0xb25f);
register!(xsch, 0xb276);

/// The reset of QEMU's own channel subsystem, which has no devices, when the machine is reset.
unsafe extern "C" fn reset() {
    bridge().link.report_reset();
}

/// DIAGNOSE 0x500 since QEMU 10.
unsafe extern "C-unwind" fn diagnose(cpu: CpuPtr, ra: usize) {
    // SAFETY: QEMU is the caller.
    unsafe { execute(cpu, DIAGNOSE, DIAGNOSE_500, ra) }
}

/// DIAGNOSE 0x500 before that. A result other than 0 is a specification exception.
unsafe extern "C-unwind" fn hypercall(env: EnvPtr) -> c_int {
    let Bridge { qemu, link } = bridge();
    // SAFETY: QEMU passes the part of its object for the CPU of this thread, with its lock held.
    let cpu = unsafe { Cpu::of(qemu, env) };
    match link.report(cpu, DIAGNOSE, DIAGNOSE_500) {
        Outcome::Executed => 0,
        _ => -libc::EINVAL,
    }
}

fn bridge() -> &'static Bridge {
    BRIDGE
        .get()
        .unwrap_or_else(|| crate::die(format_args!("an instruction before the start")))
}

static BRIDGE: OnceLock<Bridge> = OnceLock::new();
/// `diag %r2,%r4,0x500`, as Linux writes it.
const DIAGNOSE: u32 = 0x8324;
const DIAGNOSE_500: u32 = 0x0500_0000;
