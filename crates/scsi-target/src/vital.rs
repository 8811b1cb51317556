//! Vital product data pages (SPC-4 section 7.8, SBC-3 section 6.6).

use guest_io::BlockSize;

use crate::inquiry::device_type;
use crate::{Identity, Sense, Setup};

/// The page of this code.
pub(crate) fn page(setup: &Setup, block: BlockSize, code: u8) -> Result<Vec<u8>, Sense> {
    let there = pages(setup).contains(&code);
    let body = match code {
        _ if !there => return Err(Sense::INVALID_CDB),
        SUPPORTED => pages(setup),
        SERIAL => setup.identity.serial.clone().unwrap_or_default().into(),
        IDENTIFICATION => identification(&setup.identity),
        LIMITS => limits(setup, block),
        CHARACTERISTICS => characteristics(setup),
        _ => provisioning(),
    };
    let mut bytes = vec![device_type(setup.kind), code];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    Ok(bytes)
}

/// Supported pages, ascending.
fn pages(setup: &Setup) -> Vec<u8> {
    let serial = setup.identity.serial.as_ref().map(|_| SERIAL);
    let disk = [LIMITS, CHARACTERISTICS, PROVISIONING];
    let disk = disk.into_iter().filter(|_| !setup.kind.is_cdrom());
    let mut pages = vec![SUPPORTED];
    pages.extend(serial);
    pages.push(IDENTIFICATION);
    pages.extend(disk);
    pages
}

/// Device identification: a designator for each thing that is known.
fn identification(identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = identity.device_id.as_ref().or(identity.serial.as_ref());
    let name = name.map(|name| name.as_bytes().get(..255).unwrap_or(name.as_bytes()));
    if let Some(name) = name {
        designator(&mut bytes, ASCII, 0x00, name);
    }
    if identity.wwn != 0 {
        designator(&mut bytes, BINARY, 0x03, &identity.wwn.to_be_bytes());
    }
    if identity.port_wwn != 0 {
        let naa = identity.port_wwn.to_be_bytes();
        designator(&mut bytes, BINARY, PORT | 0x03, &naa);
    }
    if identity.port_index != 0 {
        let [high, low] = identity.port_index.to_be_bytes();
        designator(&mut bytes, BINARY, PORT | 0x04, &[0, 0, high, low]);
    }
    bytes
}

fn designator(bytes: &mut Vec<u8>, code_set: u8, kind: u8, name: &[u8]) {
    // An association with a port has to say of which protocol.
    let (protocol, valid) = match kind & PORT {
        0 => (0, 0),
        _ => (SAS << 4, PROTOCOL_VALID),
    };
    bytes.extend([protocol | code_set, valid | kind, 0, name.len() as u8]);
    bytes.extend(name);
}

fn limits(setup: &Setup, BlockSize { logical, .. }: BlockSize) -> Vec<u8> {
    let blocks = |bytes: u64| u32::try_from(bytes / u64::from(logical)).unwrap_or(u32::MAX);
    let mut bytes = vec![WSNZ, max_compare(logical)];
    let granularity = blocks(setup.min_io.into()).min(u16::MAX.into()) as u16;
    bytes.extend(granularity.to_be_bytes());
    bytes.extend(blocks(setup.max_io).to_be_bytes());
    bytes.extend(blocks(setup.opt_io.into()).to_be_bytes());
    // Prefetching is not known.
    bytes.extend([0; 4]);
    bytes.extend(blocks(setup.max_unmap).to_be_bytes());
    bytes.extend(u32::from(MAX_UNMAP_DESCRIPTORS).to_be_bytes());
    let unmap = blocks(setup.discard_granularity.into()).max(1);
    bytes.extend(unmap.to_be_bytes());
    // UGAVALID: the first unit of that granularity begins with block 0.
    bytes.extend(0x8000_0000_u32.to_be_bytes());
    bytes.extend(u64::from(blocks(setup.max_write_same())).to_be_bytes());
    bytes.resize(0x3c, 0);
    bytes
}

fn characteristics(setup: &Setup) -> Vec<u8> {
    let mut bytes = setup.rotation_rate.to_be_bytes().to_vec();
    bytes.resize(0x3c, 0);
    bytes
}

/// UNMAP and WRITE SAME with UNMAP are known; unmapped blocks read as anything. Thin.
fn provisioning() -> Vec<u8> {
    vec![0, 0xe0, 0x02, 0]
}

/// MAXIMUM COMPARE AND WRITE LENGTH in blocks: both halves of its data are at most 1 MiB.
pub(crate) fn max_compare(logical: u32) -> u8 {
    u8::try_from((512 << 10) / logical)
        .unwrap_or(u8::MAX)
        .max(1)
}

/// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
pub(crate) const MAX_UNMAP_DESCRIPTORS: u16 = 255;

const SUPPORTED: u8 = 0x00;
const SERIAL: u8 = 0x80;
const IDENTIFICATION: u8 = 0x83;
const LIMITS: u8 = 0xb0;
const CHARACTERISTICS: u8 = 0xb1;
const PROVISIONING: u8 = 0xb2;

/// WRITE SAME of no blocks is refused.
const WSNZ: u8 = 0x01;
const BINARY: u8 = 0x01;
const ASCII: u8 = 0x02;
const PORT: u8 = 0x10;
const PROTOCOL_VALID: u8 = 0x80;
const SAS: u8 = 0x06;
