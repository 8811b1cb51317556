//! A request on a request queue: its header and its answer (section 5.6.6.1).

use scsi_target::{Cdb, Ending, LogicalUnit, Sense};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{ByteOrder, Chain, GuestView};

use crate::office::Fate;

/// What a `response` field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Response {
    /// VIRTIO_SCSI_S_OK, and VIRTIO_SCSI_S_FUNCTION_COMPLETE.
    Ok = 0,
    /// VIRTIO_SCSI_S_OVERRUN.
    Overrun = 1,
    /// VIRTIO_SCSI_S_ABORTED.
    Aborted = 2,
    /// VIRTIO_SCSI_S_BAD_TARGET.
    BadTarget = 3,
    /// VIRTIO_SCSI_S_RESET.
    Reset = 4,
    /// VIRTIO_SCSI_S_FAILURE.
    Failure = 9,
    /// VIRTIO_SCSI_S_FUNCTION_SUCCEEDED.
    FunctionSucceeded = 10,
    /// VIRTIO_SCSI_S_FUNCTION_REJECTED.
    FunctionRejected = 11,
    /// VIRTIO_SCSI_S_INCORRECT_LUN.
    IncorrectLun = 12,
}

/// Where the parts of a request are, by the sizes that held when it was taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    /// Offset of the data-out buffer in the readable part.
    pub(crate) out_at: u32,
    /// Offset of the data-in buffer in the writable part: the length of the answer.
    pub(crate) in_at: u32,
}

/// A request, apart from its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) lun: [u8; 8],
    pub(crate) id: u64,
    pub(crate) cdb: Result<Cdb, Sense>,
}

/// An answer, apart from its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) status: u8,
    pub(crate) sense: Option<Sense>,
    /// Bytes of data that were transferred.
    pub(crate) transferred: u32,
}

impl Frame {
    /// For these sizes of sense data and command descriptor blocks.
    pub(crate) fn new((sense, cdb): (u32, u32)) -> Self {
        Self {
            out_at: HEADER + cdb,
            in_at: ANSWER + sense,
        }
    }

    /// Reads the header.
    pub(crate) fn header<M: GuestMemory>(
        self,
        chain: &Chain,
        view: &mut GuestView<'_, M>,
        order: ByteOrder,
    ) -> Result<Header, Response> {
        let mut bytes = [0; HEADER as usize + CDB];
        let len = bytes.len().min(self.out_at as usize);
        let part = bytes.get_mut(..len).unwrap_or_default();
        if chain.readable_len() < self.out_at {
            return Err(Response::Failure);
        }
        let read = chain.read_at(view, 0, part);
        read.map_err(|_| Response::Failure)?;
        let [
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            l6,
            l7,
            i0,
            i1,
            i2,
            i3,
            i4,
            i5,
            i6,
            i7,
            ..,
        ] = bytes;
        let cdb = bytes.get(HEADER as usize..len).unwrap_or_default();
        Ok(Header {
            lun: [l0, l1, l2, l3, l4, l5, l6, l7],
            id: order.u64([i0, i1, i2, i3, i4, i5, i6, i7]),
            cdb: Cdb::new(cdb),
        })
    }
}

impl Answer {
    /// To a request that no unit has seen.
    pub(crate) fn response(response: Response) -> Self {
        Self {
            response,
            status: 0,
            sense: None,
            transferred: 0,
        }
    }

    /// To a command that has ended like this; `fate` is what ended it, if something did.
    pub(crate) fn new(ending: Ending, fate: Option<Fate>) -> Self {
        match ending {
            Ending::Status {
                status,
                sense,
                transferred,
            } => Self {
                response: Response::Ok,
                status: status as u8,
                sense,
                transferred,
            },
            Ending::Overrun => Self::response(Response::Overrun),
            // What is kept is not answered.
            Ending::BadBuffer | Ending::Kept => Self::response(Response::Failure),
            Ending::Aborted => Self::response(match fate {
                Some(Fate::Reset) => Response::Reset,
                _ => Response::Aborted,
            }),
        }
    }

    /// Writes it to the start of the writable part of `chain`. Returns how many bytes of that part
    /// have been written from the start: the answer, then data.
    pub(crate) fn write<M: GuestMemory, B>(
        self,
        frame: Frame,
        chain: &Chain,
        view: &mut GuestView<'_, M>,
        order: ByteOrder,
        unit: Option<&LogicalUnit<B>>,
    ) -> u32 {
        let sense = self.sense.map(|sense| match unit {
            Some(unit) => unit.encode(sense),
            None => sense.fixed(),
        });
        let sense = sense.as_ref().map_or(&[][..], AsRef::as_ref);
        let room = frame.in_at.saturating_sub(ANSWER) as usize;
        let sense = sense.get(..room.min(sense.len())).unwrap_or_default();
        let data_out = chain.readable_len().saturating_sub(frame.out_at);
        let data_in = chain.writable_len().saturating_sub(frame.in_at);
        let data = data_out.saturating_add(data_in);
        let mut bytes = [0; ANSWER as usize + SENSE];
        bytes[..4].copy_from_slice(&order.u32_bytes(sense.len() as u32));
        let residual = data.saturating_sub(self.transferred);
        bytes[4..8].copy_from_slice(&order.u32_bytes(residual));
        // Bytes 8 and 9 are the status qualifier.
        (bytes[10], bytes[11]) = (self.status, self.response as u8);
        bytes
            .iter_mut()
            .skip(ANSWER as usize)
            .zip(sense)
            .for_each(|(to, from)| *to = *from);
        match store(&bytes, frame, chain, view) {
            Ok(()) => frame.in_at + self.in_bytes(frame, chain),
            Err(_) => 0,
        }
    }

    /// Bytes of data-in that were written.
    fn in_bytes(self, frame: Frame, chain: &Chain) -> u32 {
        let room = chain.writable_len().saturating_sub(frame.in_at);
        self.transferred.min(room)
    }
}

/// Stores `bytes`, and zeroes after them, up to the data.
fn store<M: GuestMemory>(
    bytes: &[u8],
    frame: Frame,
    chain: &Chain,
    view: &mut GuestView<'_, M>,
) -> Result<(), virtio_device::MemoryError> {
    let len = bytes.len().min(frame.in_at as usize);
    chain.write_at(view, 0, bytes.get(..len).unwrap_or_default())?;
    let mut at = len as u32;
    while at < frame.in_at {
        let zeroes = [0; 256];
        let len = zeroes.len().min((frame.in_at - at) as usize);
        chain.write_at(view, at, zeroes.get(..len).unwrap_or_default())?;
        at += len as u32;
    }
    Ok(())
}

/// Bytes of a request before the command descriptor block.
const HEADER: u32 = 19;
/// Bytes of an answer before the sense data.
const ANSWER: u32 = 12;
/// Bytes of a command descriptor block that mean something to any unit.
const CDB: usize = 32;
/// Bytes of sense data that are not zero in any case.
const SENSE: usize = 96;
