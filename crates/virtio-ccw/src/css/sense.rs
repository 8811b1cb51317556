//! What a control unit says about itself and about its last error.

/// What the SENSE ID command transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenseId {
    /// Control-unit type: 0x3832 for virtio.
    pub cu_type: u16,
    /// Control-unit model: the virtio device ID.
    pub cu_model: u8,
    /// Device type.
    pub device_type: u16,
    /// Device model.
    pub device_model: u8,
    /// Command-information words, at most 8.
    pub ciws: Vec<Ciw>,
}

/// A command-information word: which command code does some optional function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ciw {
    /// Kind of function, 0 to 15.
    pub kind: u8,
    /// Command code that performs it.
    pub command: u8,
    /// Bytes that it transfers.
    pub count: u16,
}

/// Sense bytes, which say why there was a unit check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense(pub [u8; Sense::LEN]);

impl Sense {
    /// Number of sense bytes.
    pub const LEN: usize = 32;
    /// No error.
    pub const NONE: Self = Self([0; Self::LEN]);
    /// The command is unknown, or not possible at present.
    pub const COMMAND_REJECT: Self = Self::first(0x80);
    /// Somebody has to see to the device.
    pub const INTERVENTION_REQUIRED: Self = Self::first(0x40);
    /// The device itself failed.
    pub const EQUIPMENT_CHECK: Self = Self::first(0x10);

    const fn first(byte: u8) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[0] = byte;
        Self(bytes)
    }
}
