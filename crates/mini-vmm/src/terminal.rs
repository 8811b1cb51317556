//! The user's terminal: raw while the guest has it, restored whatever happens.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::stdio;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty,
    tcgetattr, tcgetwinsize, tcsetattr,
};

/// The terminal of standard input in raw mode; restored when dropped.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw, so that every key reaches the guest; with `signal`, the keys that
    /// make signals still do. `None` where standard input is no terminal.
    ///
    /// # Errors
    /// Where the terminal refuses.
    pub fn enter(signal: bool) -> io::Result<Option<Self>> {
        if !isatty(stdio::stdin()) {
            return Ok(None);
        }
        let saved = tcgetattr(stdio::stdin())?;
        let raw = raw(saved.clone(), signal);
        let _ = SAVED.set(saved);
        IS_RAW.store(true, Ordering::SeqCst);
        tcsetattr(stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Columns and rows of the window of standard input, where it is a terminal that has some.
pub fn window() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdio::stdin()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Restores the terminal, where it is raw. Safe to call from a signal handler.
pub fn restore() {
    if IS_RAW.swap(false, Ordering::SeqCst)
        && let Some(saved) = SAVED.get()
    {
        let _ = tcsetattr(stdio::stdin(), OptionalActions::Now, saved);
    }
}

/// From now on, a panic in any thread ends the process; the terminal is restored before it, and
/// before a fatal signal does, a system call that the sandbox refuses among them.
///
/// # Errors
/// Where a signal handler is refused.
pub fn restore_on_crash() -> io::Result<()> {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        print(info);
        // A machine that lost a thread would hang.
        // SAFETY: ends the process, and has no other effect.
        unsafe { libc::_exit(crate::exit::FAILURE.into()) };
    }));
    for signal in FATAL {
        install(*signal)?;
    }
    Ok(())
}

fn raw(mut modes: Termios, signal: bool) -> Termios {
    use {InputModes as I, LocalModes as L};
    modes.input_modes -=
        I::IGNBRK | I::BRKINT | I::PARMRK | I::ISTRIP | I::INLCR | I::IGNCR | I::ICRNL | I::IXON;
    modes.output_modes |= OutputModes::OPOST;
    modes.local_modes -= L::ECHO | L::ECHONL | L::ICANON | L::IEXTEN;
    modes.local_modes.set(L::ISIG, signal);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

fn install(signal: c_int) -> io::Result<()> {
    // SAFETY: all zero is a valid sigaction: no handler, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fatal as *const () as usize;
    // On the stack that Rust gives each thread for this: its own may be what is used up.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_ONSTACK;
    // SAFETY: `action` is initialised, and `on_fatal` has the signature that SA_SIGINFO asks for
    // and calls only what is async-signal-safe.
    let result = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// SA_RESETHAND has put the default action back: raised again, the signal ends the process when this
/// returns. A refused system call is told to the user first.
extern "C" fn on_fatal(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    restore();
    if signal == libc::SIGSYS {
        // SAFETY: the kernel hands a siginfo_t of 128 bytes; for SIGSYS, the number of the system
        // call is its 32-bit field at offset 24.
        let number = unsafe { info.cast::<c_int>().add(6).read() };
        report(number);
        // SAFETY: async-signal-safe, and ends the process.
        unsafe { libc::_exit(crate::exit::FAILURE.into()) };
    }
    // SAFETY: async-signal-safe.
    unsafe { libc::raise(signal) };
}

/// Prints the number of the refused system call without allocating.
fn report(number: c_int) {
    let mut text = *b"mini-vmm: the sandbox refused system call 0000\n";
    let mut rest = number.unsigned_abs();
    for digit in text.iter_mut().rev().skip(1).take(4) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let _ = rustix::io::write(stdio::stderr(), &text);
}

static SAVED: OnceLock<Termios> = OnceLock::new();
static IS_RAW: AtomicBool = AtomicBool::new(false);
const FATAL: &[c_int] = &[
    libc::SIGSYS,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGILL,
    libc::SIGFPE,
];
