//! Lets a channel subsystem in another process serve a guest of `qemu-system-s390x`.
//!
//! Loaded with `LD_PRELOAD` into an unmodified QEMU, it takes the place of the functions that
//! execute I/O instructions and reports each of them to the other end of a socket, in the shape in
//! which KVM on s390x would (see the crate `ccw-message`). Orders that come back are carried out
//! with QEMU's own functions: storage is accessed by logical addresses with every exception that
//! this may meet with, condition codes and registers are set, program interruptions are injected.
//! I/O interruptions and machine checks come on a second socket and are made pending in QEMU, which
//! does masking, priorities and CPUs. TEST PENDING INTERRUPTION stays QEMU's, as it would stay
//! KVM's.
//!
//! This works where QEMU exports its symbols, as it does when it was built with modules: Debian's.
//! In any other program, and without `CCW_BRIDGE` in the environment, nothing happens.
//!
//! | module | what it is |
//! |---|---|
//! | `symbols` | QEMU's functions, found by name |
//! | `patch` | makes one function jump to another |
//! | `cpu` | one CPU of the guest |
//! | `handlers` | what QEMU's functions are replaced with |
//! | `link` | the sockets |

#![deny(unsafe_op_in_unsafe_fn)]

mod cpu;
mod handlers;
mod link;
mod patch;
mod symbols;

use std::ffi::CStr;

use crate::link::Link;
use crate::symbols::Qemu;

/// Runs before QEMU's `main`.
extern "C" fn initialize() {
    let Ok(paths) = std::env::var(ccw_message::VARIABLE) else {
        return;
    };
    if !Qemu::is_here() {
        return;
    }
    let link = Link::connect(&paths).unwrap_or_else(|error| die(format_args!("{error}")));
    // SAFETY: this is QEMU, and none of its threads has been started yet.
    unsafe { handlers::install(link) };
}

/// Ends QEMU at once. Unwinding into it, or leaving its guest without an answer, would be worse.
fn die(why: std::fmt::Arguments<'_>) -> ! {
    eprintln!("ccw-bridge: {why}");
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(STATUS) }
}

/// A symbol's name for messages.
fn name(symbol: &CStr) -> std::borrow::Cow<'_, str> {
    symbol.to_string_lossy()
}

// SAFETY: the dynamic linker calls what is in this section once, with arguments that a function
// without any may ignore.
#[used]
#[unsafe(link_section = ".init_array")]
static INITIALIZE: extern "C" fn() = initialize;

const STATUS: i32 = 97;
