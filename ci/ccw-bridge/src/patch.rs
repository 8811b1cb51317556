//! Makes one function jump to another.

use std::ffi::c_void;
use std::io;

/// Overwrites the beginning of the function at `function`, so that it goes on at `target`.
///
/// # Errors
/// Where the host does not let its pages be written.
///
/// # Safety
/// `function` is the first byte of a function that no thread executes meanwhile, and `target` is
/// one that may be called in its place.
pub(crate) unsafe fn redirect(function: *mut c_void, target: *const c_void) -> io::Result<()> {
    let code = jump(target);
    let page = function.addr() & !(PAGE - 1);
    let length = function.addr() + code.len() - page;
    let page = function.with_addr(page);
    protect(page, length, libc::PROT_READ | libc::PROT_WRITE)?;
    // SAFETY: functions are aligned to 16 bytes, so these belong to this one and to the padding
    // after it; the pages can be written, and as nobody executes the function, nobody sees it
    // half done.
    unsafe { function.cast::<[u8; CODE]>().write_unaligned(code) };
    protect(page, length, libc::PROT_READ | libc::PROT_EXEC)
}

/// `movabs rax, target; jmp rax`: rax holds no argument, and functions need not keep it.
fn jump(target: *const c_void) -> [u8; CODE] {
    let mut code = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0];
    code[2..10].copy_from_slice(&target.addr().to_le_bytes());
    code
}

fn protect(page: *mut c_void, length: usize, protection: i32) -> io::Result<()> {
    // SAFETY: the pages are those of QEMU's code; the only thread there is executes this function,
    // which is not in them.
    match unsafe { libc::mprotect(page, length, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

const CODE: usize = 12;
const PAGE: usize = 4096;
