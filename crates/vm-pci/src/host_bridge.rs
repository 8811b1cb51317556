//! The host bridge: device 0 of the root bus, there to be found and named.

use crate::address::IoAddr;
use crate::bar::BarMap;
use crate::error::ConfigError;
use crate::function::{Effects, FunctionInfo, PciFunction};
use crate::function_core::FunctionCore;
use crate::header::Identity;

/// A host bridge without registers of its own.
pub struct HostBridge {
    core: FunctionCore,
}

impl HostBridge {
    /// The identity of QEMU's q35 machine, which every guest has seen.
    pub const Q35: Identity = Identity {
        vendor: 0x8086,
        device: 0x29c0,
        revision: 0,
        class: CLASS,
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
    };

    /// The identity of QEMU's pc machine, that of an Intel 440FX.
    pub const I440FX: Identity = Identity {
        device: 0x1237,
        revision: 2,
        ..Self::Q35
    };

    /// A host bridge of this identity; the class is normally 0x060000.
    ///
    /// # Errors
    /// None at present: a header alone always fits.
    pub fn new(identity: Identity) -> Result<Self, ConfigError> {
        Ok(Self {
            core: FunctionCore::builder(identity).build()?,
        })
    }
}

impl PciFunction for HostBridge {
    fn info(&self) -> FunctionInfo {
        self.core.info()
    }

    fn read_config(&self, offset: u16, data: &mut [u8]) {
        self.core.read_config(offset, data);
    }

    fn write_config(&self, offset: u16, data: &[u8]) -> Effects {
        self.core.write_config(offset, data)
    }

    fn decode(&self) -> BarMap {
        self.core.decode()
    }

    fn read_bar(&self, _bar: u8, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write_bar(&self, _bar: u8, _offset: u64, _data: &[u8]) {}

    fn bar_mapped(&self, _bar: u8, _at: Option<IoAddr>) {}

    fn reset(&self) {
        self.core.reset();
    }
}

const CLASS: u32 = 0x06_00_00;
