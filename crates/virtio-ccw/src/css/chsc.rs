//! CHANNEL SUBSYSTEM CALL. There is no public specification of it: what is answered here is what
//! drivers ask for.

use super::execute::{Executed, Suppressed, aligned};
use super::pmcw::Pmcw;
use super::subsystem::Shared;
use super::{
    ChannelSubsystem, ConditionCode, Effect, Operand, OperandAccess, ProgramException, SubchannelId,
};

impl ChannelSubsystem {
    /// The block is a page: a request, whose length its first halfword has, and the response after
    /// it.
    pub(super) fn chsc(&self, block: Operand, storage: &mut dyn OperandAccess) -> Executed {
        aligned(block, PAGE)?;
        let mut request = [0; REQUEST];
        storage.read(block, &mut request)?;
        let request = Request(request);
        let len = request.half(0);
        if !(16..=4088).contains(&len) || !len.is_multiple_of(8) {
            return Err(Suppressed::from(ProgramException::Operand));
        }
        let room = PAGE as usize - usize::from(len);
        let response = self.shared.call(&request, room);
        let to = Operand {
            address: block.address.wrapping_add(len.into()),
            ..block
        };
        storage.write(to, &response.bytes())?;
        Ok(Effect::ConditionCode(ConditionCode::Cc0))
    }
}

/// As much of a request as anybody looks at.
struct Request([u8; REQUEST]);

impl Request {
    fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn word(&self, at: usize) -> u32 {
        u32::from(self.half(at)) << 16 | u32::from(self.half(at + 2))
    }
}

/// A response: code, one word of parameters, data.
struct Response {
    code: u16,
    parameter: u32,
    data: Vec<u8>,
}

impl Response {
    fn refuse(code: u16) -> Self {
        Self {
            code,
            parameter: 0,
            data: Vec::new(),
        }
    }

    fn done(data: Vec<u8>) -> Self {
        Self {
            code: DONE,
            parameter: 0,
            data,
        }
    }

    /// At most a page, as every command sees to.
    fn bytes(&self) -> Vec<u8> {
        let len = (HEADER + self.data.len()) as u16;
        let mut bytes = Vec::with_capacity(len.into());
        bytes.extend(len.to_be_bytes());
        bytes.extend(self.code.to_be_bytes());
        bytes.extend(self.parameter.to_be_bytes());
        bytes.extend(&self.data);
        bytes
    }
}

impl Shared {
    fn call(&self, request: &Request, room: usize) -> Response {
        let call = match request.half(2) {
            0x0002 => store_channel_path_description,
            0x0004 => store_subchannel_description,
            0x0006 => store_subchannel_control_unit_data,
            0x0010 => store_characteristics,
            0x0031 => set_domain_attributes,
            _ => return Response::refuse(NOT_SUPPORTED),
        };
        call(self, request, room).unwrap_or_else(Response::refuse)
    }
}

/// The response, or the code to refuse with.
type Answer = Result<Response, u16>;

/// There is one channel path, number 0.
fn store_channel_path_description(_: &Shared, request: &Request, room: usize) -> Answer {
    let (word, last, zero) = (request.word(4), request.word(8), request.word(12));
    let asked = word >> 8 & 0xf;
    let format = match asked {
        0 | 1 => word >> 28 & 1,
        other => other,
    };
    if request.half(0) != 16 || word & 0xc000_f000 != 0 || last & !0xff != 0 || zero != 0 {
        return Err(BAD_REQUEST);
    }
    if word & 0x0f00_0000 != 0 || format > 1 {
        return Err(BAD_FORMAT);
    }
    if word & 0x20ff_0000 != 0 {
        return Err(NO_SUCH_SUBSYSTEM);
    }
    if last < word & 0xff {
        return Err(BAD_REQUEST);
    }
    let mut data = Vec::new();
    let len = if format == 0 { 8 } else { 32 };
    if word & 0xff == 0 && room >= HEADER + len {
        data.resize(len, 0);
        data[..4].copy_from_slice(&CHANNEL_PATH.to_be_bytes());
    }
    Ok(Response {
        parameter: format,
        ..Response::done(data)
    })
}

/// Channel paths and link addresses of subchannels. There are no links.
fn store_subchannel_description(shared: &Shared, request: &Request, room: usize) -> Answer {
    let half = request.half(4);
    if half & 0xffcf != 0 {
        return Err(BAD_REQUEST);
    }
    describe(shared, request, (half >> 4) as u8, room, |entry, device| {
        [entry[1], entry[4]] = [device as u8, Pmcw::PATH];
    })
}

/// Channel paths and control units of subchannels. Each has control unit 0.
fn store_subchannel_control_unit_data(shared: &Shared, request: &Request, room: usize) -> Answer {
    let half = request.half(4);
    if half & 0xfffc != 0 {
        return Err(BAD_REQUEST);
    }
    describe(shared, request, half as u8, room, |entry, _| {
        entry[1] = Pmcw::PATH;
    })
}

/// Entries for a range of subchannels, as many as there is room for; `fill` adds what differs.
fn describe(
    shared: &Shared,
    request: &Request,
    set: u8,
    room: usize,
    fill: impl Fn(&mut [u8; ENTRY], u16),
) -> Answer {
    let (first, last) = (request.half(6), request.half(10));
    if request.half(0) != 16 || request.half(8) != 0 || request.word(12) != 0 || last < first {
        return Err(BAD_REQUEST);
    }
    if set != 0 && !shared.has_several_sets() {
        return Err(BAD_REQUEST);
    }
    let fit = (room - HEADER) / ENTRY;
    let entries = (first..=last).take(fit).map(|number| {
        let mut entry = [0; ENTRY];
        let id = SubchannelId::new(set, number);
        if let Some(subchannel) = id.and_then(|id| shared.find(id))
            && subchannel.has_device()
        {
            entry[0] = SUBCHANNEL_VALID | DEVICE_VALID;
            entry[2..4].copy_from_slice(&subchannel.device.0.to_be_bytes());
            entry[6..8].copy_from_slice(&number.to_be_bytes());
            fill(&mut entry, subchannel.device.0);
        }
        entry
    });
    Ok(Response::done(entries.flatten().collect()))
}

/// No optional facility is there, so every bit is zero.
fn store_characteristics(_: &Shared, request: &Request, room: usize) -> Answer {
    let word = request.word(4);
    if request.half(0) != 16 {
        return Err(BAD_REQUEST);
    }
    if word & 0x000f_0000 != 0 {
        return Err(BAD_FORMAT);
    }
    if word & 0x2000_ff00 != 0 {
        return Err(NO_SUCH_SUBSYSTEM);
    }
    if word != 0 || request.word(8) != 0 || request.word(12) != 0 {
        return Err(BAD_REQUEST);
    }
    Ok(Response::done(vec![0; room - HEADER]))
}

/// Enables the subchannel sets other than the first.
fn set_domain_attributes(shared: &Shared, request: &Request, _: usize) -> Answer {
    let word = request.word(4);
    if request.half(0) != 0x400 || word & 0xf0ff_0000 != 0 {
        return Err(BAD_REQUEST);
    }
    if word & 0x0f00_0000 != 0 {
        return Err(BAD_FORMAT);
    }
    match word as u16 {
        MULTIPLE_SUBCHANNEL_SETS => {
            shared.enable_sets();
            Ok(Response::done(Vec::new()))
        }
        _ => Err(NO_SUCH_FACILITY),
    }
}

const PAGE: u64 = 4096;
const REQUEST: usize = 16;
const HEADER: usize = 8;
const ENTRY: usize = 32;

const DONE: u16 = 0x0001;
const BAD_REQUEST: u16 = 0x0003;
const NOT_SUPPORTED: u16 = 0x0004;
const BAD_FORMAT: u16 = 0x0007;
const NO_SUCH_SUBSYSTEM: u16 = 0x0008;
const NO_SUCH_FACILITY: u16 = 0x0101;

const MULTIPLE_SUBCHANNEL_SETS: u16 = 2;
const SUBCHANNEL_VALID: u8 = 0x80;
const DEVICE_VALID: u8 = 0x40;
/// Valid, of the type that virtual devices have, number 0.
const CHANNEL_PATH: u32 = 0x8000_3200;
