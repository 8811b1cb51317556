//! One CPU of the guest, while it executes an instruction.

use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::symbols::{CpuPtr, EnvPtr, Qemu};

/// A CPU that is stopped at an instruction, with QEMU's lock held by the thread that runs it.
#[derive(Clone, Copy)]
pub(crate) struct Cpu<'a> {
    qemu: &'a Qemu,
    cpu: CpuPtr,
    env: EnvPtr,
    /// The pointers belong to the thread of the CPU.
    _here: PhantomData<*mut ()>,
}

/// An exception that QEMU has noted down, and which [`Cpu::leave_by_exception`] makes happen.
pub(crate) struct AccessException;

/// Where data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    FromStorage,
    ToStorage,
}

impl<'a> Cpu<'a> {
    /// # Safety
    /// `cpu` is QEMU's object for a CPU, on whose thread this is, with QEMU's lock held, until the
    /// value is not used any more.
    pub(crate) unsafe fn new(qemu: &'a Qemu, cpu: CpuPtr) -> Self {
        // SAFETY: as the caller says.
        let env = unsafe { cpu.cast::<u8>().add(offset(qemu, cpu)) }.cast();
        Self {
            qemu,
            cpu,
            env,
            _here: PhantomData,
        }
    }

    /// The CPU whose architectural part is at `env`.
    ///
    /// # Safety
    /// As [`Self::new`].
    pub(crate) unsafe fn of(qemu: &'a Qemu, env: EnvPtr) -> Self {
        // SAFETY: QEMU's list of CPUs, which its lock guards, ends with a null pointer.
        let cpu = (0..).map(|index| unsafe { (qemu.cpu)(index) });
        let mut cpus = cpu.take_while(|cpu| !cpu.is_null());
        let contains = |cpu: &CpuPtr| {
            // SAFETY: `cpu` is a CPU.
            let size = unsafe { size(qemu, *cpu) };
            (cpu.addr()..cpu.addr() + size).contains(&env.addr())
        };
        let cpu = cpus.find(contains);
        let cpu = cpu.unwrap_or_else(|| crate::die(format_args!("a CPU that QEMU does not know")));
        Self {
            qemu,
            cpu,
            env,
            _here: PhantomData,
        }
    }

    /// General registers.
    pub(crate) fn registers(self) -> [u64; 16] {
        // SAFETY: `env` is the array of general registers, which only this thread changes.
        unsafe { self.env.cast::<[u64; 16]>().read() }
    }

    /// Sets a general register; there are 16.
    pub(crate) fn set_register(self, number: u32, value: u64) {
        if let index @ 0..16 = number as usize {
            // SAFETY: inside the array of general registers, which belongs to this thread.
            unsafe { self.env.add(index).write(value) };
        }
    }

    /// PSW mask.
    pub(crate) fn psw_mask(self) -> u64 {
        // SAFETY: `cpu` is a CPU.
        unsafe { register(self.qemu, self.cpu, PSW_MASK) }
    }

    /// Sets the condition code, of which the two low bits count.
    pub(crate) fn set_condition_code(self, code: u32) {
        let mask = self.psw_mask() & !(3 << CONDITION_CODE) | u64::from(code & 3) << CONDITION_CODE;
        let bytes = mask.to_be_bytes();
        // SAFETY: `cpu` is a CPU, and QEMU reads the eight bytes of a register.
        unsafe { (self.qemu.write_register)(self.cpu, bytes.as_ptr(), PSW_MASK) };
    }

    /// Fills `data` from storage at a logical address, or storage from `data`.
    pub(crate) fn transfer(
        self,
        direction: Direction,
        address: u64,
        access_register: u32,
        data: &mut [u8],
    ) -> Result<(), AccessException> {
        let write = direction == Direction::ToStorage;
        self.access(
            address,
            access_register,
            data.as_mut_ptr(),
            data.len(),
            write,
        )
    }

    /// Finds out whether storage at a logical address could be written.
    pub(crate) fn check_write(
        self,
        address: u64,
        access_register: u32,
        length: usize,
    ) -> Result<(), AccessException> {
        let nothing = std::ptr::null_mut();
        self.access(address, access_register, nothing, length, true)
    }

    /// Leaves the instruction by the exception that the last access met with.
    ///
    /// # Safety
    /// It met with one. `ra` is what QEMU passed for this instruction. This function may not
    /// return: no caller, up to QEMU, has anything to drop.
    pub(crate) unsafe fn leave_by_exception(self, ra: usize) {
        // SAFETY: as the caller says.
        unsafe { (self.qemu.leave_by_exception)(self.cpu, ra) }
    }

    /// Leaves the instruction by a program interruption.
    ///
    /// # Safety
    /// As [`Self::leave_by_exception`], but for the access.
    pub(crate) unsafe fn interrupt(self, code: u32, ra: usize) {
        // SAFETY: as the caller says.
        unsafe { (self.qemu.program_interrupt)(self.env, code, ra) }
    }

    fn access(
        self,
        address: u64,
        access_register: u32,
        data: *mut u8,
        length: usize,
        write: bool,
    ) -> Result<(), AccessException> {
        let (ar, length) = ((access_register & 15) as u8, length as i32);
        // SAFETY: `data` is null, which QEMU takes for a mere check, or has `length` bytes; the
        // length is at most that of a message.
        match unsafe { (self.qemu.access)(self.cpu, address, ar, data, length, write) } {
            0 => Ok(()),
            _ => Err(AccessException),
        }
    }
}

/// How far into a CPU's object its general registers are. QEMU tells nobody, but it tells what is
/// in the registers, and that is in one place of the object only.
///
/// # Safety
/// As [`Cpu::new`].
unsafe fn offset(qemu: &Qemu, cpu: CpuPtr) -> usize {
    static OFFSET: OnceLock<usize> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let registers: [u64; 16] =
            // SAFETY: `cpu` is a CPU, as the caller says.
            std::array::from_fn(|n| unsafe { register(qemu, cpu, FIRST_REGISTER + n as i32) });
        // SAFETY: the same.
        let words = unsafe { size(qemu, cpu) } / size_of::<u64>();
        // SAFETY: inside of the object, whose words other threads may change but not take away.
        let word = |index| unsafe { cpu.cast::<u64>().add(index).read_volatile() };
        let is_here = |start: &usize| (0..16).all(|n| word(start + n) == registers[n]);
        let mut found = (0..words.saturating_sub(16)).filter(is_here);
        match (found.next(), found.next()) {
            (Some(only), None) => only * size_of::<u64>(),
            _ => crate::die(format_args!(
                "cannot tell where this QEMU has the registers"
            )),
        }
    })
}

/// Number of bytes of a CPU's object.
///
/// # Safety
/// `cpu` is QEMU's object for a CPU.
unsafe fn size(qemu: &Qemu, cpu: CpuPtr) -> usize {
    // SAFETY: QEMU knows the name and the size of the type of an object that exists.
    unsafe { (qemu.type_size)((qemu.type_name)(cpu)) }
}

/// A register by the number that a debugger has for it.
///
/// # Safety
/// `cpu` is QEMU's object for a CPU, on whose thread this is.
unsafe fn register(qemu: &Qemu, cpu: CpuPtr, number: i32) -> u64 {
    // SAFETY: the array is made here, filled by QEMU with the eight bytes of a register (if it has
    // one of that number, which is checked), and freed once.
    unsafe {
        let array = (qemu.new_bytes)();
        let value = match (qemu.read_register)(cpu, array, number) {
            8 => u64::from_be_bytes((*array).data.cast::<[u8; 8]>().read()),
            _ => crate::die(format_args!("this QEMU has no register {number}")),
        };
        (qemu.free_bytes)(array, 1);
        value
    }
}

const PSW_MASK: i32 = 0;
const FIRST_REGISTER: i32 = 2;
/// Distance of the condition code from the right end of the PSW mask.
const CONDITION_CODE: u32 = 44;
