//! A guest with one CPU and a control unit that does what its commands say.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its own part of the support"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub use testkit::channel::Interruptions;
use virtio_ccw::css::{
    AccessException, Attachment, ChannelSubsystem, Command, Completion, ConditionCode, ControlUnit,
    DeviceNumber, Effect, Instruction, Interruption, Operand, OperandAccess, Outcome, Place, Sense,
    SenseId, Signal, SubchannelId, Transfer,
};
use virtio_ccw::virtio_device::vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// A control unit of a few commands.
#[derive(Default)]
pub struct Toy {
    /// What WRITE has got.
    pub written: Mutex<Vec<u8>>,
    /// What READ gives.
    pub readable: Mutex<Vec<u8>>,
    /// Commands, in the order in which they came.
    pub commands: Mutex<Vec<u8>>,
    pub signals: Mutex<Vec<Signal>>,
    pub deferred: Mutex<Option<Completion>>,
    pub attachment: Mutex<Option<Attachment>>,
    /// DETACH is none of its commands.
    pub stays: AtomicBool,
}

impl Toy {
    pub const WRITE: u8 = 0x01;
    pub const READ: u8 = 0x02;
    /// Ends at once, without data.
    pub const CONTROL: u8 = 0x0b;
    /// Reads a selector at offset 4, writes it four times at offset 0.
    pub const SELECT: u8 = 0x12;
    /// Ends when the test says so.
    pub const DEFER: u8 = 0x07;
    /// Is deferred, and completed before it returns.
    pub const EARLY: u8 = 0x17;
    /// Says that it is deferred, and is not.
    pub const FORGET: u8 = 0x27;
    pub const UNIT_EXCEPTION: u8 = 0x37;
    /// Raises unsolicited status while it is executed.
    pub const ALERT: u8 = 0x47;
    /// Detaches its device while it is executed.
    pub const DETACH: u8 = 0x57;

    pub fn finish(&self, outcome: Outcome) {
        let completion = lock(&self.deferred).take().expect("a deferred command");
        completion.finish(outcome);
    }

    pub fn commands(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.commands))
    }

    pub fn signals(&self) -> Vec<Signal> {
        std::mem::take(&mut lock(&self.signals))
    }

    fn select(transfer: &mut Transfer<'_>) -> Outcome {
        transfer.advance(4);
        let Some([selector]) = transfer.read_array() else {
            return Outcome::UnitCheck(Sense::COMMAND_REJECT);
        };
        transfer.rewind();
        transfer.write(&[selector; 4]);
        Outcome::End
    }
}

impl ControlUnit for Toy {
    fn sense_id(&self) -> SenseId {
        SenseId {
            cu_type: 0x3832,
            cu_model: 4,
            device_type: 0,
            device_model: 0,
            ciws: vec![],
        }
    }

    fn execute(&self, command: Command, transfer: &mut Transfer<'_>) -> Outcome {
        lock(&self.commands).push(command.0);
        match command.0 {
            Self::WRITE => {
                let mut data = vec![0; 0x1_0000];
                let len = transfer.read(&mut data);
                data.truncate(len);
                *lock(&self.written) = data;
            }
            Self::READ => {
                transfer.write(&lock(&self.readable));
            }
            Self::CONTROL => {}
            Self::SELECT => return Self::select(transfer),
            Self::DEFER => {
                *lock(&self.deferred) = Some(transfer.defer());
                return Outcome::Pending;
            }
            Self::EARLY => {
                transfer.defer().finish(Outcome::End);
                return Outcome::Pending;
            }
            Self::FORGET => return Outcome::Pending,
            Self::UNIT_EXCEPTION => return Outcome::UnitException,
            Self::ALERT => lock(&self.attachment).as_ref().expect("attached").alert(),
            Self::DETACH if !self.stays.load(Ordering::Relaxed) => {
                lock(&self.attachment).as_ref().expect("attached").detach()
            }
            _ => return Outcome::UnitCheck(Sense::COMMAND_REJECT),
        }
        Outcome::End
    }

    fn signal(&self, signal: Signal) {
        lock(&self.signals).push(signal);
    }

    fn notify(&self, queue: u64, cookie: u64) -> Option<u64> {
        (queue < 2).then_some(cookie + 1)
    }
}

/// Real storage is absolute and logical storage; addresses from `UNMAPPED` on are not accessible
/// to the CPU.
pub struct Storage(pub(crate) Arc<GuestMemoryMmap>);

pub const UNMAPPED: u64 = 0xf_0000;

impl OperandAccess for Storage {
    fn read(&mut self, operand: Operand, data: &mut [u8]) -> Result<(), AccessException> {
        self.check_write(operand, data.len())?;
        let address = GuestAddress(operand.address);
        self.0
            .read_slice(data, address)
            .map_err(|_| AccessException)
    }

    fn write(&mut self, operand: Operand, data: &[u8]) -> Result<(), AccessException> {
        self.check_write(operand, data.len())?;
        let address = GuestAddress(operand.address);
        self.0
            .write_slice(data, address)
            .map_err(|_| AccessException)
    }

    fn check_write(&mut self, operand: Operand, len: usize) -> Result<(), AccessException> {
        let end = operand.address.saturating_add(len as u64);
        (end <= UNMAPPED).then_some(()).ok_or(AccessException)
    }
}

/// A guest of 1 MiB, with a [`Toy`] at subchannel 0, device number 0x1234.
pub struct Guest {
    pub memory: Arc<GuestMemoryMmap>,
    pub host: Arc<Interruptions>,
    pub css: ChannelSubsystem,
    pub toy: Arc<Toy>,
    pub attachment: Attachment,
}

/// Where operands are, and channel programs.
pub const OPERAND: u64 = 0x1000;
pub const PROGRAM: u32 = 0x2000;
/// Where data goes.
pub const DATA: u32 = 0x8000;
pub const END: u32 = 0x10_0000;
pub const SUBCHANNEL: u32 = 0x1_0000;
pub const PARAMETER: u32 = 0xcafe_f00d;

pub use ConditionCode::{Cc0, Cc1, Cc2, Cc3};

impl Guest {
    /// With the subchannel disabled, as after power-on.
    pub fn cold() -> Self {
        let range = (GuestAddress(0), END as usize);
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&[range]).expect("memory"));
        let host = Arc::new(Interruptions::default());
        let css = ChannelSubsystem::new(memory.clone(), host.clone());
        let place = Place {
            device: Some(DeviceNumber(0x1234)),
            ..Place::default()
        };
        let attachment = css.reserve(place).expect("a place");
        let toy = Arc::new(Toy::default());
        *lock(&toy.attachment) = Some(attachment.clone());
        attachment.install(toy.clone());
        Self {
            memory,
            host,
            css,
            toy,
            attachment,
        }
    }

    /// With the subchannel enabled, subclass 3.
    pub fn new() -> Self {
        let guest = Self::cold();
        assert_eq!(guest.msch(schib(0x1880)), Effect::ConditionCode(Cc0));
        guest
    }

    pub fn execute(&self, instruction: Instruction) -> Effect {
        let mut storage = Storage(self.memory.clone());
        self.css.execute(instruction, &mut storage)
    }

    pub fn store(&self, address: u32, bytes: &[u8]) {
        let address = GuestAddress(address.into());
        self.memory.write_slice(bytes, address).expect("memory");
    }

    pub fn load<const N: usize>(&self, address: u32) -> [u8; N] {
        self.load_all(address, N).try_into().expect("N bytes")
    }

    pub fn load_all(&self, address: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let address = GuestAddress(address.into());
        self.memory.read_slice(&mut bytes, address).expect("memory");
        bytes
    }

    pub fn msch(&self, schib: [u8; 52]) -> Effect {
        self.store(OPERAND as u32, &schib);
        self.execute(Instruction::Msch {
            subchannel: SUBCHANNEL,
            schib: operand(OPERAND),
        })
    }

    /// The subchannel-information block.
    pub fn stsch(&self) -> [u8; 52] {
        let effect = self.execute(Instruction::Stsch {
            subchannel: SUBCHANNEL,
            schib: operand(OPERAND),
        });
        assert_eq!(effect, Effect::ConditionCode(Cc0));
        self.load(OPERAND as u32)
    }

    /// The subchannel-status word as STORE SUBCHANNEL sees it.
    pub fn status(&self) -> Scsw {
        let schib = self.stsch();
        Scsw::parse(&schib[28..40])
    }

    /// START SUBCHANNEL with the program at `PROGRAM`.
    pub fn ssch(&self, control: u32) -> ConditionCode {
        self.ssch_at(control, PROGRAM)
    }

    pub fn ssch_at(&self, control: u32, program: u32) -> ConditionCode {
        let orb = [PARAMETER, control, program].map(u32::to_be_bytes).concat();
        self.store(OPERAND as u32, &orb);
        code(self.execute(Instruction::Ssch {
            subchannel: SUBCHANNEL,
            orb: operand(OPERAND),
        }))
    }

    /// TEST SUBCHANNEL: condition code and interruption-response block.
    pub fn tsch(&self) -> (ConditionCode, Irb) {
        let effect = self.execute(Instruction::Tsch {
            subchannel: SUBCHANNEL,
            irb: operand(OPERAND),
        });
        (code(effect), Irb(self.load(OPERAND as u32)))
    }

    /// Status that is there, from TEST SUBCHANNEL.
    pub fn fetch(&self) -> Scsw {
        let (code, irb) = self.tsch();
        assert_eq!(code, Cc0, "status pending");
        irb.scsw()
    }

    pub fn csch(&self) -> ConditionCode {
        let subchannel = SUBCHANNEL;
        code(self.execute(Instruction::Csch { subchannel }))
    }

    pub fn hsch(&self) -> ConditionCode {
        let subchannel = SUBCHANNEL;
        code(self.execute(Instruction::Hsch { subchannel }))
    }

    pub fn rsch(&self) -> ConditionCode {
        let subchannel = SUBCHANNEL;
        code(self.execute(Instruction::Rsch { subchannel }))
    }

    pub fn xsch(&self) -> ConditionCode {
        let subchannel = SUBCHANNEL;
        code(self.execute(Instruction::Xsch { subchannel }))
    }

    /// Puts format-1 words at `PROGRAM`.
    pub fn program(&self, words: &[[u8; 8]]) {
        self.store(PROGRAM, &words.concat());
    }

    /// Runs format-1 words and returns the status that they end with.
    pub fn run(&self, words: &[[u8; 8]]) -> Scsw {
        self.program(words);
        assert_eq!(self.ssch(FORMAT_1), Cc0);
        self.fetch()
    }

    pub fn interruption(&self) -> Option<Interruption> {
        self.host.next()
    }

    pub fn set_readable(&self, data: &[u8]) {
        *lock(&self.toy.readable) = data.to_vec();
    }

    pub fn written(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.toy.written))
    }
}

/// A subchannel-status word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scsw {
    pub flags: u16,
    pub control: u16,
    pub address: u32,
    pub device: u8,
    pub subchannel: u8,
    pub count: u16,
}

impl Scsw {
    pub fn parse(bytes: &[u8]) -> Self {
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: half(0),
            control: half(2),
            address: u32::from(half(4)) << 16 | u32::from(half(6)),
            device: bytes[8],
            subchannel: bytes[9],
            count: half(10),
        }
    }
}

pub struct Irb(pub(crate) [u8; 64]);

impl Irb {
    pub fn scsw(&self) -> Scsw {
        Scsw::parse(&self.0)
    }
}

/// Path 0x80, format 1.
pub const FORMAT_1: u32 = 0x0080_8000;
/// Path 0x80, format 0.
pub const FORMAT_0: u32 = 0x0000_8000;

// Flags of a channel-command word.
pub const CD: u8 = 0x80;
pub const CC: u8 = 0x40;
pub const SLI: u8 = 0x20;
pub const SKIP: u8 = 0x10;
pub const PCI: u8 = 0x08;
pub const IDA: u8 = 0x04;
pub const SUSPEND: u8 = 0x02;
pub const MIDA: u8 = 0x01;

// Function, activity and status control.
pub const START: u16 = 0x4000;
pub const HALT: u16 = 0x2000;
pub const CLEAR: u16 = 0x1000;
pub const RESUME_PENDING: u16 = 0x0800;
pub const ACTIVE: u16 = 0x00c0;
pub const SUSPENDED: u16 = 0x0020;
pub const ALERT: u16 = 0x0010;
pub const INTERMEDIATE: u16 = 0x0008;
pub const ENDING: u16 = 0x0007;
pub const PENDING: u16 = 0x0001;

pub const CHANNEL_AND_DEVICE_END: u8 = 0x0c;
pub const UNIT_CHECK: u8 = 0x02;

pub const INCORRECT_LENGTH: u8 = 0x40;
pub const PROGRAM_CHECK: u8 = 0x20;
pub const CHANNEL_CONTROL_CHECK: u8 = 0x04;

/// A format-1 word.
pub fn ccw(command: u8, flags: u8, count: u16, address: u32) -> [u8; 8] {
    let [c0, c1] = count.to_be_bytes();
    let [a0, a1, a2, a3] = address.to_be_bytes();
    [command, flags, c0, c1, a0, a1, a2, a3]
}

/// A format-0 word.
pub fn ccw0(command: u8, flags: u8, count: u16, address: u32) -> [u8; 8] {
    let [c0, c1] = count.to_be_bytes();
    let [_, a1, a2, a3] = address.to_be_bytes();
    [command, a1, a2, a3, flags, 0, c0, c1]
}

pub fn tic(address: u32) -> [u8; 8] {
    ccw(0x08, 0, 0, address)
}

/// A block for MODIFY SUBCHANNEL.
pub fn schib(flags: u16) -> [u8; 52] {
    let mut schib = [0; 52];
    schib[..4].copy_from_slice(&PARAMETER.to_be_bytes());
    schib[4..6].copy_from_slice(&flags.to_be_bytes());
    (schib[8], schib[14]) = (0x80, 0xff);
    schib
}

pub fn operand(address: u64) -> Operand {
    Operand {
        address,
        access_register: 0,
    }
}

pub fn code(effect: Effect) -> ConditionCode {
    match effect {
        Effect::ConditionCode(code) => code,
        other => panic!("{other:?}"),
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with it")
}
