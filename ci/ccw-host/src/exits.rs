//! Instructions on their way from QEMU, and what becomes of them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use ccw_message::{Access, Exit, Order, Reason, What, receive, send};
use virtio_ccw::css::{AccessException, ChannelSubsystem, Effect, Operand, OperandAccess};
use virtio_ccw::css::{ConditionCode, ProgramException};
use virtio_ccw::intercept::{Intercept, TschIntercept};

/// Serves instructions until QEMU ends.
///
/// # Errors
/// Those of the stream.
pub(crate) fn serve(mut stream: UnixStream, css: &ChannelSubsystem, memory: u64) -> io::Result<()> {
    loop {
        let exit: Exit = match receive(&mut stream) {
            Ok(exit) => exit,
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut storage = Storage::new(&stream);
        let effect = execute(&exit, css, memory, &mut storage);
        storage.done?;
        send(&mut stream, &order(effect), &[])?;
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset)
}

fn execute(exit: &Exit, css: &ChannelSubsystem, memory: u64, storage: &mut Storage<'_>) -> Effect {
    let Exit {
        reason,
        ipa,
        ipb,
        psw_mask,
        gprs,
        ..
    } = *exit;
    match reason {
        Reason::Reset => {
            css.reset();
            // An answer; there is no CPU that would have a condition code.
            Effect::ConditionCode(ConditionCode::Cc0)
        }
        Reason::Tsch => TschIntercept {
            dequeued: None,
            ipb,
            gprs,
            psw_mask,
        }
        .execute(css, storage),
        Reason::Sieic => {
            let intercept = Intercept {
                ipa: ipa as u16,
                ipb,
                gprs,
                psw_mask,
                cr6: 0,
            };
            match intercept.decode() {
                Some(instruction) => css.execute(instruction, storage),
                None => hypercall(&intercept, memory),
            }
        }
    }
}

/// DIAGNOSE 0x500 with a subcode that is not the channel subsystem's: the bridge reports nothing
/// else that does not decode.
fn hypercall(intercept: &Intercept, memory: u64) -> Effect {
    match intercept.gprs[1] {
        STORAGE_LIMIT => Effect::Register {
            number: 2,
            value: memory - 1,
        },
        _ => Effect::Program(ProgramException::Specification),
    }
}

fn order(effect: Effect) -> Order {
    match effect {
        Effect::ConditionCode(code) => Order::new(What::ConditionCode, code as u32, 0),
        Effect::Register { number, value } => Order::new(What::Register, number.into(), value),
        Effect::Program(exception) => Order::new(What::Program, exception.code().into(), 0),
        Effect::Access => Order::new(What::Exception, 0, 0),
        // That of TEST PENDING INTERRUPTION, which QEMU executes: nothing was pending here.
        Effect::InterruptionCode(_) => Order::new(What::ConditionCode, 0, 0),
    }
}

/// The storage of the CPU whose instruction is under way.
struct Storage<'a> {
    stream: &'a UnixStream,
    /// Whether QEMU was there all the time. Where it was not, nobody waits for the effect.
    done: io::Result<()>,
}

impl<'a> Storage<'a> {
    fn new(stream: &'a UnixStream) -> Self {
        Self {
            stream,
            done: Ok(()),
        }
    }

    fn access(
        &mut self,
        what: What,
        operand: Operand,
        length: usize,
        written: &[u8],
        read: &mut [u8],
    ) -> Result<(), AccessException> {
        let order = Order {
            what,
            number: operand.access_register.into(),
            value: operand.address,
            length: length as u64,
        };
        let mut converse = || -> io::Result<Access> {
            send(&mut self.stream, &order, written)?;
            let access = receive(&mut self.stream)?;
            if access == Access::Done {
                self.stream.read_exact(read)?;
            }
            Ok(access)
        };
        match converse() {
            Ok(Access::Done) => Ok(()),
            Ok(Access::Exception) => Err(AccessException),
            Err(error) => {
                self.done = Err(error);
                Err(AccessException)
            }
        }
    }
}

impl OperandAccess for Storage<'_> {
    fn read(&mut self, operand: Operand, data: &mut [u8]) -> Result<(), AccessException> {
        self.access(What::Read, operand, data.len(), &[], data)
    }

    fn write(&mut self, operand: Operand, data: &[u8]) -> Result<(), AccessException> {
        self.access(What::Write, operand, data.len(), data, &mut [])
    }

    fn check_write(&mut self, operand: Operand, length: usize) -> Result<(), AccessException> {
        self.access(What::Check, operand, length, &[], &mut [])
    }
}

/// Subcode of DIAGNOSE 0x500 that asks for the highest address of storage.
const STORAGE_LIMIT: u64 = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::{JoinHandle, spawn};

    use mini_vmm::memory::{Memory, SharedMemory};
    use vm_memory::GuestAddress;

    use super::*;
    use crate::interruptions::Interruptions;

    /// The bridge's end of a conversation with a channel subsystem without devices.
    struct Bridge {
        stream: UnixStream,
        host: JoinHandle<io::Result<()>>,
    }

    impl Bridge {
        fn new() -> Self {
            let (stream, theirs) = UnixStream::pair().unwrap();
            let (_, interruptions) = UnixStream::pair().unwrap();
            let memory = Memory::from_ranges(&[(GuestAddress(0), MEMORY as usize)]).unwrap();
            let host = Arc::new(Interruptions::new(interruptions));
            let css = ChannelSubsystem::new(SharedMemory::new(memory), host);
            let host = spawn(move || serve(theirs, &css, MEMORY));
            Self { stream, host }
        }

        /// Reports an instruction with general register 2 as base, and returns the first order.
        fn report(&mut self, ipa: u32, gprs: [(usize, u64); 2]) -> Order {
            let mut exit = Exit {
                reason: if ipa == TSCH {
                    Reason::Tsch
                } else {
                    Reason::Sieic
                },
                ipa,
                ipb: if ipa == DIAGNOSE {
                    0x0500_0000
                } else {
                    0x2000_0000
                },
                reserved: 0,
                psw_mask: 0x1_8000_0000,
                gprs: [0; 16],
            };
            for (number, value) in gprs {
                exit.gprs[number] = value;
            }
            self.say(&exit)
        }

        fn say(&mut self, message: &(impl zerocopy::IntoBytes + zerocopy::Immutable)) -> Order {
            send(&mut self.stream, message, &[]).unwrap();
            receive(&mut self.stream).unwrap()
        }

        fn end(self) {
            drop(self.stream);
            self.host.join().unwrap().unwrap();
        }
    }

    #[test]
    fn operands_are_checked_in_the_order_of_their_exceptions() {
        let mut bridge = Bridge::new();
        let misaligned = bridge.report(STSCH, [(1, 0x1_0000), (2, 0x1002)]);
        assert_eq!(misaligned, Order::new(What::Program, 6, 0));
        let order = bridge.report(STSCH, [(1, 0x1_0000), (2, 0x1000)]);
        assert_eq!((order.what, order.number), (What::Check, 2));
        assert_eq!((order.value, order.length), (0x1000, 52));
        let suppressed = bridge.say(&Access::Exception);
        assert_eq!(suppressed.what, What::Exception);
        bridge.report(STSCH, [(1, 0x1_0000), (2, 0x1000)]);
        let absent = bridge.say(&Access::Done);
        assert_eq!(absent, Order::new(What::ConditionCode, 3, 0));
        bridge.report(TSCH, [(1, 0), (2, 0x1000)]);
        let invalid = bridge.say(&Access::Done);
        assert_eq!(invalid, Order::new(What::Program, 0x15, 0));
        bridge.end();
    }

    #[test]
    fn hypercalls_other_than_notifications_are_answered_here() {
        let mut bridge = Bridge::new();
        let limit = bridge.report(DIAGNOSE, [(1, STORAGE_LIMIT), (2, 0)]);
        assert_eq!(limit, Order::new(What::Register, 2, MEMORY - 1));
        let unknown = bridge.report(DIAGNOSE, [(1, 99), (2, 0)]);
        assert_eq!(unknown, Order::new(What::Program, 6, 0));
        bridge.end();
    }

    const STSCH: u32 = 0xb234;
    const TSCH: u32 = 0xb235;
    const DIAGNOSE: u32 = 0x8324;
    const MEMORY: u64 = 1 << 20;
}
