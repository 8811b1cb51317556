//! The sockets. See the crate `ccw-message`.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use ccw_message::{Access, Exit, Interruption, MOST_BYTES, Order, Reason, What, receive, send};

use crate::cpu::{AccessException, Cpu, Direction};

/// The connection to the host of the channel subsystem.
pub(crate) struct Link {
    exits: Mutex<UnixStream>,
    interruptions: Option<UnixStream>,
}

/// What becomes of an instruction.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// It is executed.
    Executed,
    /// It is suppressed, with this program interruption.
    Program(u32),
    /// It is suppressed, with the exception that the last access met with.
    Exception,
}

impl Link {
    /// Connects to two sockets, whose paths have a colon in between.
    pub(crate) fn connect(paths: &str) -> io::Result<Self> {
        let (exits, interruptions) = paths.split_once(':').unwrap_or((paths, ""));
        Ok(Self {
            exits: Mutex::new(UnixStream::connect(exits)?),
            interruptions: Some(UnixStream::connect(interruptions)?),
        })
    }

    /// The stream of interruptions, for the one who has taken it first.
    pub(crate) fn take_interruptions(&mut self) -> Option<Interruptions> {
        self.interruptions.take().map(Interruptions)
    }

    /// Reports a reset of the machine, and waits until the host has done it.
    pub(crate) fn report_reset(&self) {
        let exit = Exit {
            reason: Reason::Reset,
            ipa: 0,
            ipb: 0,
            reserved: 0,
            psw_mask: 0,
            gprs: [0; 16],
        };
        let mut stream = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        let done = send(&mut *stream, &exit, &[]).and_then(|()| receive::<Order>(&mut *stream));
        if let Err(error) = done {
            went_away(&error);
        }
    }

    /// Reports an instruction and does what the host wants, until it says what becomes of it.
    pub(crate) fn report(&self, cpu: Cpu<'_>, ipa: u32, ipb: u32) -> Outcome {
        let exit = Exit {
            reason: match ipa {
                TSCH => Reason::Tsch,
                _ => Reason::Sieic,
            },
            ipa,
            ipb,
            reserved: 0,
            psw_mask: cpu.psw_mask(),
            gprs: cpu.registers(),
        };
        // A thread that went down in here took the process with it.
        let mut stream = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        match converse(&mut stream, cpu, &exit) {
            Ok(outcome) => outcome,
            Err(error) => went_away(&error),
        }
    }
}

/// The stream of interruptions.
pub(crate) struct Interruptions(UnixStream);

impl Interruptions {
    /// The next one; `None` when the host went away.
    pub(crate) fn next(&mut self) -> Option<Interruption> {
        receive(&mut self.0).ok()
    }
}

fn went_away(error: &io::Error) -> ! {
    crate::die(format_args!("the channel subsystem went away: {error}"))
}

fn converse(stream: &mut UnixStream, cpu: Cpu<'_>, exit: &Exit) -> io::Result<Outcome> {
    send(stream, exit, &[])?;
    loop {
        let order: Order = receive(stream)?;
        match order.what {
            What::ConditionCode => cpu.set_condition_code(order.number),
            What::Register => cpu.set_register(order.number, order.value),
            What::Program => return Ok(Outcome::Program(order.number)),
            What::Exception => return Ok(Outcome::Exception),
            What::Read | What::Write | What::Check => {
                access(stream, cpu, &order)?;
                continue;
            }
        }
        return Ok(Outcome::Executed);
    }
}

fn access(stream: &mut UnixStream, cpu: Cpu<'_>, order: &Order) -> io::Result<()> {
    let (mut bytes, length) = ([0; MOST_BYTES], order.length as usize);
    let data = bytes.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    let done = match order.what {
        What::Read => cpu.transfer(Direction::FromStorage, order.value, order.number, data),
        What::Write => {
            io::Read::read_exact(stream, data)?;
            cpu.transfer(Direction::ToStorage, order.value, order.number, data)
        }
        _ => cpu.check_write(order.value, order.number, length),
    };
    match (done, order.what) {
        (Ok(()), What::Read) => send(stream, &Access::Done, data),
        (Ok(()), _) => send(stream, &Access::Done, &[]),
        (Err(AccessException), _) => send(stream, &Access::Exception, &[]),
    }
}

/// The first halfword of TEST SUBCHANNEL.
const TSCH: u32 = 0xb235;
