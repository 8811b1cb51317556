//! Sense data (SPC-4 section 4.5).

/// Why a command was not done, or what the initiator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: Key,
    /// Additional sense code in the upper byte, its qualifier in the lower.
    pub code: u16,
    /// The INFORMATION field: the first block (or byte) that is concerned.
    pub information: Option<u64>,
}

/// A sense key (SPC-4 table 48).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Key {
    /// NO SENSE.
    NoSense = 0x0,
    /// NOT READY.
    NotReady = 0x2,
    /// MEDIUM ERROR.
    MediumError = 0x3,
    /// HARDWARE ERROR.
    HardwareError = 0x4,
    /// ILLEGAL REQUEST.
    IllegalRequest = 0x5,
    /// UNIT ATTENTION.
    UnitAttention = 0x6,
    /// DATA PROTECT.
    DataProtect = 0x7,
    /// MISCOMPARE.
    Miscompare = 0xe,
}

/// Encoded sense data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenseBytes {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Sense {
    /// INTERNAL TARGET FAILURE.
    pub const TARGET_FAILURE: Self = Self::new(Key::HardwareError, 0x4400);

    pub(crate) const NONE: Self = Self::new(Key::NoSense, 0x0000);
    pub(crate) const STOPPED: Self = Self::new(Key::NotReady, 0x0402);
    pub(crate) const NO_MEDIUM: Self = Self::new(Key::NotReady, 0x3a01);
    pub(crate) const TRAY_OPEN: Self = Self::new(Key::NotReady, 0x3a02);
    pub(crate) const WRITE_ERROR: Self = Self::new(Key::MediumError, 0x0c00);
    pub(crate) const READ_ERROR: Self = Self::new(Key::MediumError, 0x1100);
    pub(crate) const LIST_LENGTH: Self = Self::illegal(0x1a00);
    pub(crate) const INVALID_OPCODE: Self = Self::illegal(0x2000);
    pub(crate) const OUT_OF_RANGE: Self = Self::illegal(0x2100);
    pub(crate) const INVALID_CDB: Self = Self::illegal(0x2400);
    pub(crate) const NO_UNIT: Self = Self::illegal(0x2500);
    pub(crate) const INVALID_LIST: Self = Self::illegal(0x2600);
    pub(crate) const NOTHING_SAVED: Self = Self::illegal(0x3900);
    pub(crate) const REMOVAL_PREVENTED: Self = Self::illegal(0x5302);
    pub(crate) const RELEASE_OF_ANOTHER: Self = Self::illegal(0x2604);
    pub(crate) const WRITE_PROTECTED: Self = Self::new(Key::DataProtect, 0x2700);
    pub(crate) const NO_SPACE: Self = Self::new(Key::DataProtect, 0x2707);
    pub(crate) const MISCOMPARE: Self = Self::new(Key::Miscompare, 0x1d00);

    /// The sense of this key and code, without INFORMATION.
    pub const fn new(key: Key, code: u16) -> Self {
        Self {
            key,
            code,
            information: None,
        }
    }

    /// With this INFORMATION.
    #[must_use]
    pub const fn at(self, information: u64) -> Self {
        Self {
            information: Some(information),
            ..self
        }
    }

    /// Fixed format (SPC-4 section 4.5.3), whose INFORMATION is valid only where it fits 32 bits.
    pub fn fixed(self) -> SenseBytes {
        let [asc, ascq] = self.code.to_be_bytes();
        let short = self.information.and_then(|at| u32::try_from(at).ok());
        let mut bytes = [0; LONGEST];
        bytes[0] = 0x70 | if short.is_some() { 0x80 } else { 0 };
        bytes[2] = self.key as u8;
        bytes[3..7].copy_from_slice(&short.unwrap_or(0).to_be_bytes());
        bytes[7] = (FIXED - 8) as u8;
        (bytes[12], bytes[13]) = (asc, ascq);
        SenseBytes { bytes, len: FIXED }
    }

    /// Descriptor format (SPC-4 section 4.5.2).
    pub fn descriptor(self) -> SenseBytes {
        let [asc, ascq] = self.code.to_be_bytes();
        let mut bytes = [0; LONGEST];
        bytes[..4].copy_from_slice(&[0x72, self.key as u8, asc, ascq]);
        let mut len = 8;
        if let Some(at) = self.information {
            // INFORMATION descriptor: type, length, VALID.
            bytes[8..12].copy_from_slice(&[0x00, 0x0a, 0x80, 0]);
            bytes[12..20].copy_from_slice(&at.to_be_bytes());
            len = 20;
        }
        bytes[7] = (len - 8) as u8;
        SenseBytes { bytes, len }
    }

    const fn illegal(code: u16) -> Self {
        Self::new(Key::IllegalRequest, code)
    }
}

impl AsRef<[u8]> for SenseBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

const FIXED: usize = 18;
/// Descriptor format with INFORMATION.
const LONGEST: usize = 20;
