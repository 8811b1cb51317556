#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod assign;
mod bar;
mod builder;
mod bus;
mod capability;
mod config;
mod config_access;
mod error;
mod function;
mod function_core;
mod header;
mod host_bridge;
mod intx;
mod msix;
mod msix_table;
mod msix_vector;
mod pcie;
mod pm;
mod root;
mod root_port;
mod routes;
mod slot;
mod topology;
mod window;

pub use address::{Bdf, IoAddr, IoRange, Slot};
pub use bar::{Bar, BarKind, BarMap, Bars};
pub use builder::FunctionBuilder;
pub use capability::{Capability, ExtendedCapability};
pub use config::{ConfigSize, ConfigSpace, Register};
pub use config_access::{ConfigPorts, Ecam};
pub use error::{BusError, ConfigError};
pub use function::{Effects, FunctionInfo, PciFunction};
pub use function_core::{FunctionCore, FunctionState};
pub use header::{HeaderType, Identity};
pub use host_bridge::HostBridge;
pub use intx::{InterruptPin, IrqPin};
pub use msix::{MsiMessage, MsiSink, MsiVector, Msix, MsixLayout, MsixState};
pub use pcie::ExpressType;
pub use root::RootComplex;
pub use root_port::{BridgeDecode, RootPort, RootPortConfig};
pub use slot::SlotPower;
pub use topology::BusId;
pub use window::{BarWindow, Windows};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic elsewhere: no state here is left half-changed by one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
