//! What the bridge in QEMU and the host of the channel subsystem say to each other.
//!
//! There are two UNIX sockets between them. On the first one the bridge speaks: it sends an
//! [`Exit`] for each I/O instruction, in the shape in which KVM on s390x reports them, and answers
//! [`Order`]s until one of them says what became of the instruction. One instruction is under way
//! at a time, because QEMU's lock is held meanwhile. A reset of the machine is reported in the same
//! way, and any order is its answer. On the second one the host speaks: each
//! [`Interruption`] is made pending, whatever the CPUs do.
//!
//! Both ends are on one machine, so integers are in its byte order.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// An intercepted instruction: the fields of KVM_EXIT_S390_SIEIC or, for TEST SUBCHANNEL, of
/// KVM_EXIT_S390_TSCH, and the registers that go with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Exit {
    /// Which exit of KVM this would be.
    pub reason: Reason,
    /// First halfword of the instruction.
    pub ipa: u32,
    /// Its second and third halfword.
    pub ipb: u32,
    /// Zero.
    pub reserved: u32,
    /// PSW mask.
    pub psw_mask: u64,
    /// General registers.
    pub gprs: [u64; 16],
}

/// An exit of KVM, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(u32)]
pub enum Reason {
    /// An instruction.
    Sieic = 13,
    /// Reset of the machine; there is no CPU, and everything else is 0.
    Reset = 14,
    /// TEST SUBCHANNEL. No interruption was taken off a queue.
    Tsch = 22,
}

/// What the host wants from the bridge while an instruction is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Order {
    /// What it is.
    pub what: What,
    /// Access register, condition code, number of a register, or interruption code.
    pub number: u32,
    /// Logical address, or contents of a register.
    pub value: u64,
    /// Number of bytes, [`MOST_BYTES`] at most; they follow a [`What::Write`].
    pub length: u64,
}

/// Kinds of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(u32)]
pub enum What {
    /// Read storage. The answer is an [`Access`] and, if that is [`Access::Done`], the bytes.
    Read,
    /// Write storage. The answer is an [`Access`].
    Write,
    /// Find out whether storage could be written. The answer is an [`Access`].
    Check,
    /// The instruction is executed, with this condition code.
    ConditionCode,
    /// The instruction is executed, and sets this register.
    Register,
    /// The instruction is suppressed, with this program interruption.
    Program,
    /// The instruction is suppressed, by the exception that the last access met with.
    Exception,
}

/// How an access to storage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(u32)]
pub enum Access {
    /// Done.
    Done,
    /// Met with an exception, which waits for [`What::Exception`].
    Exception,
}

/// An interruption to be made pending: struct kvm_s390_io_info, or a machine check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Interruption {
    /// Class.
    pub class: Class,
    /// Subsystem-identification word, first half.
    pub subchannel_id: u16,
    /// Its second half.
    pub subchannel_nr: u16,
    /// Interruption parameter.
    pub parameter: u32,
    /// Interruption-identification word.
    pub word: u32,
}

/// Classes of interruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(u32)]
pub enum Class {
    /// I/O.
    Io,
    /// A machine check: channel report pending. The other fields are 0.
    ChannelReport,
}

impl Order {
    /// An order without a length.
    pub fn new(what: What, number: u32, value: u64) -> Self {
        Self {
            what,
            number,
            value,
            length: 0,
        }
    }
}

/// Reads one message.
///
/// # Errors
/// Those of the stream; [`io::ErrorKind::InvalidData`] for what is no message.
pub fn receive<T>(stream: &mut impl Read) -> io::Result<T>
where
    T: TryFromBytes + IntoBytes + KnownLayout + Immutable + Copy,
{
    let mut bytes = [0; MOST_MESSAGE];
    let bytes = &mut bytes[..size_of::<T>()];
    stream.read_exact(bytes)?;
    T::try_read_from_bytes(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Writes one message with the bytes that follow it, at once.
///
/// # Errors
/// Those of the stream.
pub fn send<T>(stream: &mut impl Write, message: &T, bytes: &[u8]) -> io::Result<()>
where
    T: IntoBytes + Immutable,
{
    if bytes.is_empty() {
        return stream.write_all(message.as_bytes());
    }
    stream.write_all(&[message.as_bytes(), bytes].concat())
}

/// The most bytes of one access: the block of CHANNEL SUBSYSTEM CALL.
pub const MOST_BYTES: usize = 4096;
/// The environment variable with the paths of both sockets, a colon in between.
pub const VARIABLE: &str = "CCW_BRIDGE";
const MOST_MESSAGE: usize = 256;

const _: () = assert!(size_of::<Exit>() <= MOST_MESSAGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_through_as_they_were() {
        let exit = Exit {
            reason: Reason::Tsch,
            ipa: 0xb235,
            ipb: 0x2000_0000,
            reserved: 0,
            psw_mask: 1 << 32,
            gprs: std::array::from_fn(|n| n as u64),
        };
        let order = Order::new(What::Register, 2, 7);
        let mut stream = Vec::new();
        send(&mut stream, &exit, &[]).unwrap();
        send(&mut stream, &order, b"more").unwrap();
        let mut stream = stream.as_slice();
        assert_eq!(receive::<Exit>(&mut stream).unwrap(), exit);
        assert_eq!(receive::<Order>(&mut stream).unwrap(), order);
        assert_eq!(stream, b"more");
    }

    #[test]
    fn messages_of_no_known_kind_are_refused() {
        let stream = [0xff; 256];
        let error = receive::<Order>(&mut stream.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = receive::<Exit>(&mut stream[..8].as_ref()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
