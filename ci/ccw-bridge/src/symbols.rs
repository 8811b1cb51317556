//! QEMU's functions, found by name.
//!
//! The types are those of QEMU 7.2 to 10. Where a function was renamed, both names are tried.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

/// QEMU's object for a CPU: `S390CPU *`, and `CPUState *`, which is its beginning.
pub(crate) type CpuPtr = *mut c_void;
/// The architectural part of a CPU: `CPUS390XState *`, which begins with the general registers.
pub(crate) type EnvPtr = *mut u64;

/// The head of glib's GByteArray.
#[repr(C)]
pub(crate) struct ByteArray {
    pub(crate) data: *mut u8,
    pub(crate) len: u32,
}

/// What the bridge calls. Those that may leave by `longjmp` say so by their ABI.
#[derive(Clone, Copy)]
pub(crate) struct Qemu {
    pub(crate) read_register: unsafe extern "C" fn(CpuPtr, *mut ByteArray, c_int) -> c_int,
    pub(crate) write_register: unsafe extern "C" fn(CpuPtr, *const u8, c_int) -> c_int,
    pub(crate) access: unsafe extern "C" fn(CpuPtr, u64, u8, *mut u8, c_int, bool) -> c_int,
    pub(crate) leave_by_exception: unsafe extern "C-unwind" fn(CpuPtr, usize),
    pub(crate) program_interrupt: unsafe extern "C-unwind" fn(EnvPtr, u32, usize),
    pub(crate) io_interrupt: unsafe extern "C" fn(u16, u16, u32, u32),
    pub(crate) channel_report: unsafe extern "C" fn(),
    pub(crate) lock: unsafe extern "C" fn(*const c_char, c_int),
    pub(crate) unlock: unsafe extern "C" fn(),
    pub(crate) cpu: unsafe extern "C" fn(c_int) -> CpuPtr,
    pub(crate) type_name: unsafe extern "C" fn(CpuPtr) -> *const c_char,
    pub(crate) type_size: unsafe extern "C" fn(*const c_char) -> usize,
    pub(crate) new_bytes: unsafe extern "C" fn() -> *mut ByteArray,
    pub(crate) free_bytes: unsafe extern "C" fn(*mut ByteArray, c_int) -> *mut u8,
}

impl Qemu {
    /// Whether this process is a QEMU for s390x that exports its symbols.
    pub(crate) fn is_here() -> bool {
        find(c"ioinst_handle_ssch").is_some()
    }

    /// Finds everything; ends the process where something is missing.
    pub(crate) fn find() -> Self {
        // SAFETY: each name is that of a function with the type of the field, in every version of
        // QEMU (and of glib) that has the name.
        unsafe {
            Self {
                read_register: function(&[c"s390_cpu_gdb_read_register"]),
                write_register: function(&[c"s390_cpu_gdb_write_register"]),
                access: function(&[c"s390_cpu_virt_mem_rw"]),
                leave_by_exception: function(&[c"s390_cpu_virt_mem_handle_exc"]),
                program_interrupt: function(&[c"s390_program_interrupt"]),
                io_interrupt: function(&[c"s390_io_interrupt"]),
                channel_report: function(&[c"s390_crw_mchk"]),
                lock: function(&[c"bql_lock_impl", c"qemu_mutex_lock_iothread_impl"]),
                unlock: function(&[c"bql_unlock", c"qemu_mutex_unlock_iothread"]),
                cpu: function(&[c"qemu_get_cpu"]),
                type_name: function(&[c"object_get_typename"]),
                type_size: function(&[c"object_type_get_instance_size"]),
                new_bytes: function(&[c"g_byte_array_new"]),
                free_bytes: function(&[c"g_byte_array_free"]),
            }
        }
    }
}

/// The address of `symbol` in this process.
pub(crate) fn find(symbol: &CStr) -> Option<*mut c_void> {
    // SAFETY: looks a name up; the handle is the one for the default order.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// The address of the first of `symbols` that exists; ends the process where there is none.
pub(crate) fn need(symbols: &[&CStr]) -> *mut c_void {
    let found = symbols.iter().find_map(|symbol| find(symbol));
    found.unwrap_or_else(|| {
        let names: Vec<_> = symbols.iter().map(|symbol| crate::name(symbol)).collect();
        crate::die(format_args!("this QEMU has no {}", names.join(", nor ")))
    })
}

/// # Safety
/// `F` is a function pointer type, the one of every function with one of these names.
unsafe fn function<F: Copy>(symbols: &[&CStr]) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let address = need(symbols);
    // SAFETY: a function pointer has the size and the representation of an address, and the type
    // is right as the caller says.
    unsafe { ptr::from_ref(&address).cast::<F>().read() }
}
