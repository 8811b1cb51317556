//! A guest's way to a device on channel I/O: instructions, channel programs, interruptions.

pub mod command;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use virtio_ccw::css::{
    AccessException, ChannelSubsystem, ConditionCode, CssHost, Effect, FloatingInterruptions,
    Instruction, Interruption, IscMask, Operand, OperandAccess, SubchannelId,
};
use virtio_device::AddressSpace;

use crate::{PATIENCE, Ram};

/// The interruptions of a machine, as its CPUs see them.
#[derive(Debug, Default)]
pub struct Interruptions {
    pending: Mutex<FloatingInterruptions>,
    adapter: AtomicU32,
    reports: AtomicU32,
}

/// A CPU that drives one subchannel. Its addresses are absolute ones.
pub struct Channel<AS> {
    css: ChannelSubsystem,
    subchannel: SubchannelId,
    ram: Ram<AS>,
    page: u64,
}

/// A channel-command word of format 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ccw {
    /// Command code.
    pub command: u8,
    /// See the constants.
    pub flags: u8,
    /// Bytes.
    pub count: u16,
    /// Where they are.
    pub address: u32,
}

/// How a program ended, or what else there was to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// First word of the subchannel-status word.
    pub control: u32,
    /// Address of the last CCW, plus 8.
    pub address: u32,
    /// Device status.
    pub device: u8,
    /// Subchannel status.
    pub subchannel: u8,
    /// Residual count.
    pub residual: u16,
}

/// What a command that was rejected left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Status of the program.
    pub status: Status,
    /// First sense byte; 0 where there was no unit check.
    pub sense: u8,
}

impl Ccw {
    /// Command chaining.
    pub const CC: u8 = 0x40;
    /// Data chaining.
    pub const CD: u8 = 0x80;
    /// Suppress incorrect-length indication.
    pub const SLI: u8 = 0x20;

    fn bytes(self) -> [u8; 8] {
        let [a, b] = self.count.to_be_bytes();
        let [c, d, e, f] = self.address.to_be_bytes();
        [self.command, self.flags, a, b, c, d, e, f]
    }
}

impl Status {
    /// Channel end and device end.
    pub const END: u8 = 0x0c;
    /// Unit check, in the device status.
    pub const UNIT_CHECK: u8 = 0x02;
    /// Incorrect length, in the subchannel status.
    pub const INCORRECT_LENGTH: u8 = 0x40;
    /// Program check, in the subchannel status.
    pub const PROGRAM_CHECK: u8 = 0x20;
    /// Alert status, in the status control.
    pub const ALERT: u32 = 0x10;

    /// Whether everything was as the program had it.
    pub fn is_good(&self) -> bool {
        (self.device, self.subchannel) == (Self::END, 0)
    }

    fn of(irb: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = irb[at..at + 4].try_into();
            u32::from_be_bytes(bytes.expect("four bytes"))
        };
        Self {
            control: word(0),
            address: word(4),
            device: irb[8],
            subchannel: irb[9],
            residual: word(8) as u16,
        }
    }
}

impl Interruptions {
    /// Takes the most urgent pending interruption.
    pub fn next(&self) -> Option<Interruption> {
        self.take(IscMask::ALL)
    }

    /// Whether there is one.
    pub fn is_pending(&self) -> bool {
        self.pending().is_pending(IscMask::ALL)
    }

    /// Adapter interruptions that were raised.
    pub fn adapter(&self) -> u32 {
        self.adapter.load(Ordering::Acquire)
    }

    /// How often a channel report was announced.
    pub fn reports(&self) -> u32 {
        self.reports.load(Ordering::Acquire)
    }

    fn pending(&self) -> MutexGuard<'_, FloatingInterruptions> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CssHost for Interruptions {
    fn raise(&self, interruption: Interruption) {
        if matches!(interruption, Interruption::Adapter { .. }) {
            self.adapter.fetch_add(1, Ordering::AcqRel);
        }
        self.pending().raise(interruption);
    }

    fn withdraw(&self, subchannel: SubchannelId) {
        self.pending().withdraw(subchannel);
    }

    fn take(&self, enabled: IscMask) -> Option<Interruption> {
        self.pending().take(enabled)
    }

    fn channel_report_pending(&self) {
        self.reports.fetch_add(1, Ordering::AcqRel);
    }
}

impl<AS: AddressSpace> Channel<AS> {
    /// Interruption parameter of its programs.
    pub const PARAMETER: u32 = 0x5eed;

    /// A CPU that drives `subchannel` and has the page at `page`, below 2 GiB, to itself.
    pub fn new(css: &ChannelSubsystem, subchannel: SubchannelId, ram: Ram<AS>, page: u64) -> Self {
        let css = css.clone();
        Self {
            css,
            subchannel,
            ram,
            page,
        }
    }

    /// Where [`command`](Self::command) puts its data: 2048 bytes, more in the next page.
    pub fn data(&self) -> u32 {
        self.at(DATA) as u32
    }

    /// Guest memory.
    pub fn ram(&self) -> &Ram<AS> {
        &self.ram
    }

    /// The subchannel.
    pub fn subchannel(&self) -> SubchannelId {
        self.subchannel
    }

    /// Enables the subchannel for interruption subclass 3, as Linux does.
    pub fn enable(&self) {
        self.modify(|pmcw| [pmcw[4], pmcw[5]] = [3 << 3, pmcw[5] | ENABLED]);
    }

    /// Disables it.
    pub fn disable(&self) {
        self.modify(|pmcw| pmcw[5] &= !ENABLED);
    }

    /// STORE SUBCHANNEL: path-management and subchannel-status words. `None` where there is no
    /// such subchannel.
    pub fn store(&self) -> Option<Vec<u8>> {
        let schib = self.operand();
        let subchannel = self.subchannel.word();
        let code = self.instruction(Instruction::Stsch { subchannel, schib });
        (code == ConditionCode::Cc0).then(|| self.ram.read(schib.address, SCHIB))
    }

    /// START SUBCHANNEL, with a program of these words.
    pub fn start(&self, program: &[Ccw]) -> ConditionCode {
        let bytes: Vec<u8> = program.iter().flat_map(|ccw| ccw.bytes()).collect();
        self.ram.write(self.at(PROGRAM), &bytes);
        let mut block = [0; ORB];
        block[..4].copy_from_slice(&Self::PARAMETER.to_be_bytes());
        block[4..8].copy_from_slice(&FORMAT_1.to_be_bytes());
        block[8..12].copy_from_slice(&(self.at(PROGRAM) as u32).to_be_bytes());
        let orb = self.operand();
        self.ram.write(orb.address, &block);
        let subchannel = self.subchannel.word();
        self.instruction(Instruction::Ssch { subchannel, orb })
    }

    /// TEST SUBCHANNEL; `None` where no status is pending.
    pub fn test(&self) -> Option<Status> {
        let irb = self.operand();
        let subchannel = self.subchannel.word();
        let code = self.instruction(Instruction::Tsch { subchannel, irb });
        (code == ConditionCode::Cc0).then(|| Status::of(&self.ram.read(irb.address, IRB)))
    }

    /// CLEAR SUBCHANNEL, and its status.
    pub fn clear(&self) -> Status {
        let subchannel = self.subchannel.word();
        let code = self.instruction(Instruction::Csch { subchannel });
        assert_eq!(code, ConditionCode::Cc0, "CLEAR SUBCHANNEL");
        self.wait()
    }

    /// HALT SUBCHANNEL, and its status.
    pub fn halt(&self) -> Status {
        let subchannel = self.subchannel.word();
        let code = self.instruction(Instruction::Hsch { subchannel });
        assert_eq!(code, ConditionCode::Cc0, "HALT SUBCHANNEL");
        self.wait()
    }

    /// Waits for status.
    ///
    /// # Panics
    /// Where none comes within [`PATIENCE`].
    pub fn wait(&self) -> Status {
        let start = Instant::now();
        loop {
            if let Some(status) = self.test() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Starts a program and waits for its end. Status from before is looked at first, as a driver
    /// would do it.
    pub fn run(&self, program: &[Ccw]) -> Status {
        while self.start(program) != ConditionCode::Cc0 {
            self.wait();
        }
        self.wait()
    }

    /// Runs a program of one command on a copy of `data`, which is then what the command has made
    /// of it.
    pub fn command(&self, command: u8, flags: u8, data: &mut [u8]) -> Status {
        let address = self.data();
        self.ram.write(address.into(), data);
        let count = data.len() as u16;
        let status = self.run(&[Ccw {
            command,
            flags,
            count,
            address,
        }]);
        data.copy_from_slice(&self.ram.read(address.into(), data.len()));
        status
    }

    /// As [`command`](Self::command), for one that is to succeed, of exactly this length.
    ///
    /// # Errors
    /// Where it does not, and why.
    pub fn try_command(&self, command: u8, data: &mut [u8]) -> Result<(), Refused> {
        let status = self.command(command, 0, data);
        if status.is_good() {
            return Ok(());
        }
        let mut sense = [0; 32];
        if status.device & Status::UNIT_CHECK != 0 {
            self.command(SENSE, 0, &mut sense);
        }
        let [sense, ..] = sense;
        Err(Refused { status, sense })
    }

    /// Notifies the device; what comes back is a cookie, or an error below 0.
    pub fn notify(&self, queue: u64, cookie: u64) -> i64 {
        self.diagnose(self.subchannel.word().into(), queue, cookie)
    }

    /// DIAGNOSE 0x500, subcode 3, with these general registers 2, 3 and 4: register 2.
    pub fn diagnose(&self, subchannel: u64, queue: u64, cookie: u64) -> i64 {
        let notify = Instruction::Notify {
            subchannel,
            queue,
            cookie,
        };
        match self.css.execute(notify, &mut Absolute(&self.ram)) {
            Effect::Register { number: 2, value } => value as i64,
            other => panic!("{other:?}"),
        }
    }

    fn modify(&self, change: impl FnOnce(&mut [u8])) {
        let mut block = self.store().expect("a subchannel");
        change(&mut block);
        let schib = self.operand();
        self.ram.write(schib.address, &block);
        let subchannel = self.subchannel.word();
        let code = self.instruction(Instruction::Msch { subchannel, schib });
        assert_eq!(code, ConditionCode::Cc0, "MODIFY SUBCHANNEL");
    }

    fn instruction(&self, instruction: Instruction) -> ConditionCode {
        match self.css.execute(instruction, &mut Absolute(&self.ram)) {
            Effect::ConditionCode(code) => code,
            other => panic!("{instruction:?}: {other:?}"),
        }
    }

    fn operand(&self) -> Operand {
        Operand {
            address: self.page,
            access_register: 0,
        }
    }

    fn at(&self, offset: u64) -> u64 {
        self.page + offset
    }
}

/// Storage without translation.
struct Absolute<'a, AS>(&'a Ram<AS>);

impl<AS: AddressSpace> OperandAccess for Absolute<'_, AS> {
    fn read(&mut self, operand: Operand, data: &mut [u8]) -> Result<(), AccessException> {
        data.copy_from_slice(&self.0.read(operand.address, data.len()));
        Ok(())
    }

    fn write(&mut self, operand: Operand, data: &[u8]) -> Result<(), AccessException> {
        self.0.write(operand.address, data);
        Ok(())
    }

    fn check_write(&mut self, _: Operand, _: usize) -> Result<(), AccessException> {
        Ok(())
    }
}

const SENSE: u8 = 0x04;
/// Lengths of operands in bytes.
const SCHIB: usize = 52;
const ORB: usize = 32;
const IRB: usize = 96;
/// Offsets in the page; its start is for operands.
const PROGRAM: u64 = 0x100;
const DATA: u64 = 0x800;
/// In byte 5 of a path-management word.
const ENABLED: u8 = 0x80;
/// Of an operation-request block: CCWs of format 1, every path.
const FORMAT_1: u32 = 0x0080_ff00;
