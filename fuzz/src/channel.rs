//! Channel programs and I/O instructions.

use std::sync::{Arc, Mutex, PoisonError};

use arbitrary::{Arbitrary, Unstructured};
use testkit::channel::{Ccw, Channel, Interruptions};
use testkit::{END, Ram, Space};
use virtio_ccw::css::{
    AccessException, Attachment, ChannelSubsystem, Command, Completion, ControlUnit, Effect,
    Instruction, Operand, OperandAccess, Outcome, Place as Slot, Sense, SenseId, Signal,
    SubchannelId, Transfer,
};
use virtio_ccw::intercept::{Intercept, TschIntercept};
use virtio_ccw::{CcwParts, CcwProps, CcwTransport};
use virtio_device::vm_memory::{Bytes, GuestAddress};

use crate::forge::{Few, Place, scribble, steps};
use crate::front::{Ground, Kind};

/// A virtio device and a control unit that takes its time, whose guest starts any program and
/// executes any instruction.
pub fn channel_programs(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((kind, revision, classic)) = u.arbitrary() else {
        return;
    };
    let machine = Machine::new(kind, revision, classic);
    for step in steps::<Step>(&mut u) {
        machine.step(step);
        machine.check();
    }
    machine.mend();
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Words to the program page of this number.
    Program(u8, Few<Word>),
    /// Indirect words, narrow or wide, to the same.
    List(u8, bool, Few<Place>),
    Start(Which, Control, u8),
    Function(Which, Function),
    Modify(Which, u16, bool),
    Intercept(Opcode, u32, [Register; 5]),
    Finish(u8),
    Alert,
    Run,
    Notify(Which, u8),
    Scribble(Place, [u8; 8]),
    Restore(u16, u16),
    Reset,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Virtio,
    Slow,
}

#[derive(Arbitrary, Debug)]
enum Word {
    Virtio(u8, u8, u8, Place),
    Command(u8, u8, u16, Place),
    /// To this word of this program page.
    Transfer(u8, u8),
    Any([u8; 8]),
}

#[derive(Arbitrary, Debug)]
enum Control {
    Usual,
    Known(u16, u8),
    Any(u32),
}

#[derive(Arbitrary, Debug)]
enum Function {
    Clear,
    Halt,
    Resume,
    Cancel,
    Test,
}

#[derive(Arbitrary, Debug)]
enum Opcode {
    Known(u8),
    Test,
    Any(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Register {
    Subchannel(u8),
    Address(Place),
    Any(u64),
}

impl Word {
    fn bytes(&self) -> [u8; 8] {
        let (command, flags, count, address) = match *self {
            Self::Virtio(index, flags, count, place) => {
                let command = VIRTIO[usize::from(index) % VIRTIO.len()];
                (command, flags & 0xe0, count.into(), place.address() as u32)
            }
            Self::Command(command, flags, count, place) => {
                (command, flags, count, place.address() as u32)
            }
            Self::Transfer(page, word) => (0x08, 0, 0, program(page) + 8 * u32::from(word)),
            Self::Any(bytes) => return bytes,
        };
        let [c0, c1] = count.to_be_bytes();
        let [a0, a1, a2, a3] = address.to_be_bytes();
        [command, flags, c0, c1, a0, a1, a2, a3]
    }
}

impl Control {
    fn bits(&self) -> u32 {
        match *self {
            Self::Usual => 0x0080_8000,
            Self::Known(high, low) => {
                u32::from(high & !4) << 16 | 0x0080_8000 | u32::from(low & 0xc0)
            }
            Self::Any(bits) => bits,
        }
    }
}

impl Register {
    fn value(self) -> u64 {
        match self {
            Self::Subchannel(number) => 0x1_0000 | u64::from(number & 3),
            Self::Address(place) => place.address(),
            Self::Any(value) => value,
        }
    }
}

/// Ends commands when it is told to, and writes as much as there is room for.
#[derive(Default)]
struct Slow {
    deferred: Mutex<Vec<Completion>>,
}

impl Slow {
    fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut self.deferred.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ControlUnit for Slow {
    fn sense_id(&self) -> SenseId {
        SenseId {
            cu_type: 0x1234,
            cu_model: 5,
            device_type: 6,
            device_model: 7,
            ciws: vec![],
        }
    }

    fn execute(&self, command: Command, transfer: &mut Transfer<'_>) -> Outcome {
        let mut data = [0; 256];
        let got = transfer.read(&mut data);
        transfer.rewind();
        assert!(transfer.write(&data[..got]) <= got, "more room than data");
        let mut deferred = self.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        match command.0 & 0x30 {
            0x00 => Outcome::End,
            0x10 if deferred.len() < 8 => {
                deferred.push(transfer.defer());
                Outcome::Pending
            }
            0x20 => Outcome::UnitException,
            _ => Outcome::UnitCheck(Sense::COMMAND_REJECT),
        }
    }

    fn signal(&self, _: Signal) {}

    fn notify(&self, _: u64, _: u64) -> Option<u64> {
        None
    }
}

struct Machine {
    ground: Ground,
    css: ChannelSubsystem,
    virtio: Arc<CcwTransport<Space>>,
    slow: Arc<Slow>,
    attachment: Attachment,
}

impl Machine {
    fn new(kind: Kind, revision: u8, classic: bool) -> Self {
        let ground = Ground::new();
        let css = ChannelSubsystem::new(ground.space.clone(), Arc::new(Interruptions::default()));
        let parts = CcwParts {
            device: kind.device(),
            runner: ground.runner(),
            memory: ground.space.clone(),
            features: Ground::features(),
            ioeventfds: None,
        };
        let props = CcwProps::default()
            .max_revision((revision % 3).into())
            .adapter_interrupts(!classic);
        let virtio = CcwTransport::new(&css, &props, parts).expect("a transport");
        let attachment = css.reserve(Slot::default()).expect("a place");
        let slow = Arc::new(Slow::default());
        attachment.install(slow.clone());
        let machine = Self {
            ground,
            css,
            virtio,
            slow,
            attachment,
        };
        for which in [Which::Virtio, Which::Slow] {
            machine.channel(which).enable();
        }
        machine
    }

    fn id(&self, which: Which) -> SubchannelId {
        match which {
            Which::Virtio => self.virtio.subchannel(),
            Which::Slow => self.attachment.id(),
        }
    }

    fn channel(&self, which: Which) -> Channel<Space> {
        Channel::new(&self.css, self.id(which), self.ground.ram(), OPERAND)
    }

    fn execute(&self, instruction: Instruction) -> Effect {
        self.css
            .execute(instruction, &mut Absolute(self.ground.space.clone()))
    }

    fn step(&self, step: Step) {
        match step {
            Step::Program(page, words) => {
                let bytes: Vec<u8> = words.0.iter().flat_map(Word::bytes).collect();
                self.store(program(page).into(), &bytes);
            }
            Step::List(page, wide, places) => self.list(page, wide, &places),
            Step::Start(which, control, page) => self.start(which, &control, page),
            Step::Function(which, function) => self.function(which, &function),
            Step::Modify(which, flags, sense) => self.modify(which, flags, sense),
            Step::Intercept(opcode, ipb, registers) => self.intercept(&opcode, ipb, registers),
            Step::Finish(outcome) => self.finish(outcome),
            Step::Alert => self.attachment.alert(),
            Step::Run => self.ground.settle(),
            Step::Notify(which, queue) => {
                let (subchannel, queue) = (self.id(which).word().into(), queue.into());
                let cookie = 0;
                let _ = self.execute(Instruction::Notify {
                    subchannel,
                    queue,
                    cookie,
                });
            }
            Step::Scribble(place, bytes) => scribble(&self.ram(), place.address(), &bytes),
            Step::Restore(flags, control) => self.restore(flags, control),
            Step::Reset => self.reset(),
        }
    }

    fn list(&self, page: u8, wide: bool, places: &Few<Place>) {
        let addresses = places.0.iter().map(|place| place.address() & !0xfff);
        let bytes: Vec<u8> = match wide {
            true => addresses.flat_map(u64::to_be_bytes).collect(),
            false => addresses
                .flat_map(|address| (address as u32).to_be_bytes())
                .collect(),
        };
        self.store(program(page).into(), &bytes);
    }

    fn start(&self, which: Which, control: &Control, page: u8) {
        let orb = [0x5eed, control.bits(), program(page)]
            .map(u32::to_be_bytes)
            .concat();
        self.store(OPERAND, &orb);
        let _ = self.execute(Instruction::Ssch {
            subchannel: self.id(which).word(),
            orb: operand(OPERAND),
        });
    }

    fn function(&self, which: Which, function: &Function) {
        let subchannel = self.id(which).word();
        let irb = operand(OPERAND);
        let _ = self.execute(match function {
            Function::Clear => Instruction::Csch { subchannel },
            Function::Halt => Instruction::Hsch { subchannel },
            Function::Resume => Instruction::Rsch { subchannel },
            Function::Cancel => Instruction::Xsch { subchannel },
            Function::Test => Instruction::Tsch { subchannel, irb },
        });
    }

    fn modify(&self, which: Which, flags: u16, sense: bool) {
        let mut schib = [0; 52];
        schib[4..6].copy_from_slice(&flags.to_be_bytes());
        schib[27] = sense.into();
        self.store(OPERAND, &schib);
        let _ = self.execute(Instruction::Msch {
            subchannel: self.id(which).word(),
            schib: operand(OPERAND),
        });
    }

    fn intercept(&self, opcode: &Opcode, ipb: u32, registers: [Register; 5]) {
        let mut gprs = [0; 16];
        for (gpr, register) in gprs.iter_mut().skip(1).zip(registers) {
            *gpr = register.value();
        }
        let psw_mask = gprs[5];
        if let Opcode::Test = opcode {
            let intercept = TschIntercept {
                dequeued: None,
                ipb,
                gprs,
                psw_mask,
            };
            let _ = intercept.execute(&self.css, &mut Absolute(self.ground.space.clone()));
            return;
        }
        let ipa = match *opcode {
            Opcode::Known(low) => 0xb230 | u16::from(low & 0x4f),
            Opcode::Any(ipa) => ipa,
            Opcode::Test => return,
        };
        let intercept = Intercept {
            ipa,
            ipb,
            gprs,
            psw_mask,
            cr6: gprs[4],
        };
        if let Some(instruction) = intercept.decode() {
            let _ = self.execute(instruction);
        }
    }

    fn finish(&self, outcome: u8) {
        for completion in self.slow.take() {
            match outcome & 3 {
                0 => drop(completion),
                1 => completion.finish(Outcome::UnitException),
                _ => completion.finish(Outcome::End),
            }
        }
    }

    /// A state that somebody has been at.
    fn restore(&self, flags: u16, control: u16) {
        let Ok(mut state) = self.attachment.save() else {
            return;
        };
        state.pmcw[4..6].copy_from_slice(&flags.to_be_bytes());
        state.scsw[2..4].copy_from_slice(&control.to_be_bytes());
        if self.attachment.restore(&state).is_ok() {
            let saved = self.attachment.save().expect("nothing is at work");
            assert_eq!(saved.scsw, state.scsw);
        }
    }

    fn reset(&self) {
        self.css.reset();
        self.virtio.reset();
    }

    /// The subchannel-status word is one that the architecture knows.
    fn check(&self) {
        for which in [Which::Virtio, Which::Slow] {
            let schib = self.channel(which).store().expect("a subchannel");
            let control = u16::from_be_bytes([schib[30], schib[31]]);
            let has = |bits: u16| control & bits != 0;
            assert!(!has(0x8000), "a bit that is none");
            assert!(!has(0x001e) || has(1), "status that is not pending");
            assert!(!has(0x0700), "a function that nobody performs");
            assert!(!has(0x08e0) || has(0x4000), "activity of no start function");
        }
    }

    /// Whatever was done to them, a reset mends them.
    fn mend(&self) {
        self.reset();
        self.ground.settle();
        for which in [Which::Virtio, Which::Slow] {
            let channel = self.channel(which);
            channel.enable();
            let program = [Ccw {
                command: 0xe4,
                flags: Ccw::SLI,
                count: 4,
                address: channel.data(),
            }];
            assert!(channel.run(&program).is_good());
        }
    }

    fn ram(&self) -> Ram<Space> {
        self.ground.ram()
    }

    fn store(&self, address: u64, bytes: &[u8]) {
        scribble(&self.ram(), address, bytes);
    }
}

/// Logical addresses are absolute ones.
struct Absolute(Space);

impl OperandAccess for Absolute {
    fn read(&mut self, operand: Operand, data: &mut [u8]) -> Result<(), AccessException> {
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
        let end = operand.address.checked_add(len as u64);
        let there = end.is_some_and(|end| end <= END);
        there.then_some(()).ok_or(AccessException)
    }
}

fn operand(address: u64) -> Operand {
    Operand {
        address,
        access_register: 0,
    }
}

/// Four pages of programs and lists, in reach of small addresses.
fn program(page: u8) -> u32 {
    0x4000 + 0x1000 * u32::from(page & 3)
}

const OPERAND: u64 = 0x2000;

/// Commands of virtio, sense, and nothing.
const VIRTIO: [u8; 16] = [
    0x83, 0x33, 0x12, 0x11, 0x31, 0x72, 0x22, 0x21, 0x32, 0x13, 0x43, 0x53, 0x73, 0x04, 0xe4, 0x03,
];
