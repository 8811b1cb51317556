//! Where a logical unit is (section 5.6.6.1).

use scsi_target::Lun;

/// A target and a logical unit of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The target: QEMU's `scsi-id`.
    pub target: u8,
    /// The unit.
    pub lun: Lun,
}

/// Where a logical unit would like to be; what is `None` is left to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The target.
    pub target: Option<u8>,
    /// The unit.
    pub lun: Option<Lun>,
}

impl Address {
    /// The `lun` field of requests and events: 1, the target, and one level of a logical unit
    /// number.
    pub fn encode(self) -> [u8; 8] {
        let [high, low, ..] = self.lun.encode();
        [1, self.target, high, low, 0, 0, 0, 0]
    }

    /// What such a field says. `None` for anything that is no unit of a target, such as the well
    /// known unit REPORT LUNS.
    pub fn decode(field: [u8; 8]) -> Option<Self> {
        let [first, target, high, low, rest @ ..] = field;
        let lun = Lun::decode([high, low, 0, 0, 0, 0, 0, 0])?;
        (first == 1 && rest == [0; 4]).then_some(Self { target, lun })
    }
}
