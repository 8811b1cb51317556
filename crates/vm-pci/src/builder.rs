//! Puts a [`FunctionCore`] together: header, BARs, capabilities in order, interrupts.

use std::sync::Arc;

use crate::bar::{Bar, Bars};
use crate::capability::{Capabilities, Capability, ExtendedCapability};
use crate::config::ConfigSize;
use crate::error::ConfigError;
use crate::function::FunctionInfo;
use crate::function_core::{FunctionCore, Places};
use crate::header::{self, HeaderType, Identity};
use crate::intx::{InterruptPin, Intx, IrqPin};
use crate::msix::{MsiSink, Msix, MsixLayout};
use crate::pcie::{self, ExpressType};
use crate::pm;

/// Describes one function; [`build`](Self::build) checks the whole.
///
/// Capabilities are linked in the order of the calls.
pub struct FunctionBuilder {
    identity: Identity,
    header: HeaderType,
    size: ConfigSize,
    bars: Vec<(u8, Bar)>,
    lists: Vec<(u16, Entry)>,
    pin: Option<(InterruptPin, Arc<dyn IrqPin>)>,
}

enum Entry {
    Plain(Capability),
    Extended(ExtendedCapability),
    Msix(MsixLayout, Arc<dyn MsiSink>),
    Power { keeps_state: bool },
    Express(ExpressType),
}

impl FunctionBuilder {
    /// A conventional type 0 function without BARs, capabilities or interrupts.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            header: HeaderType::Endpoint,
            size: ConfigSize::Conventional,
            bars: Vec::new(),
            lists: Vec::new(),
            pin: None,
        }
    }

    /// Sets the layout of the header; type 0 unless called.
    pub fn header(self, header: HeaderType) -> Self {
        Self { header, ..self }
    }

    /// Sets the size of configuration space; 256 bytes unless called.
    pub fn config_size(self, size: ConfigSize) -> Self {
        Self { size, ..self }
    }

    /// Adds a BAR whose first register is `index`.
    pub fn bar(mut self, index: u8, bar: Bar) -> Self {
        self.bars.push((index, bar));
        self
    }

    /// Appends a capability at offset `at`.
    pub fn capability(self, at: u8, capability: Capability) -> Self {
        self.entry(at.into(), Entry::Plain(capability))
    }

    /// Appends an extended capability at offset `at`; the first one belongs at 0x100.
    pub fn extended_capability(self, at: u16, capability: ExtendedCapability) -> Self {
        self.entry(at, Entry::Extended(capability))
    }

    /// Appends MSI-X at offset `at`, 12 bytes. The last call counts where there are several.
    pub fn msix(self, at: u8, layout: MsixLayout, sink: Arc<dyn MsiSink>) -> Self {
        self.entry(at.into(), Entry::Msix(layout, sink))
    }

    /// Appends power management at offset `at`, 8 bytes. Return from D3hot resets the function
    /// unless it `keeps_state` (`No_Soft_Reset`).
    pub fn power_management(self, at: u8, keeps_state: bool) -> Self {
        self.entry(at.into(), Entry::Power { keeps_state })
    }

    /// Appends PCI Express at offset `at`, 60 bytes.
    pub fn express(self, at: u8, kind: ExpressType) -> Self {
        self.entry(at.into(), Entry::Express(kind))
    }

    /// Connects an interrupt pin.
    pub fn intx(self, pin: InterruptPin, wire: Arc<dyn IrqPin>) -> Self {
        Self {
            pin: Some((pin, wire)),
            ..self
        }
    }

    /// Checks the description and makes the function.
    ///
    /// # Errors
    /// The first [`ConfigError`] in the order BARs, capabilities.
    pub fn build(self) -> Result<FunctionCore, ConfigError> {
        let pin = self.pin.as_ref().map(|(pin, _)| *pin);
        let mut config = header::space(self.size, self.header, &self.identity, pin)?;
        let bars = self.place_bars()?;
        bars.define(&mut config)?;
        let (mut lists, mut places) = (Capabilities::default(), Places::default());
        let mut msix = None;
        for (at, entry) in self.lists {
            let capability = match entry {
                Entry::Extended(capability) => {
                    lists.add_extended(&mut config, at, &capability)?;
                    continue;
                }
                Entry::Plain(capability) => capability,
                Entry::Msix(layout, sink) => {
                    layout.check(bars.at(layout.bar))?;
                    places.msix = Some(at);
                    msix = Some(Arc::new(Msix::new(layout, sink)));
                    layout.capability()
                }
                Entry::Power { keeps_state } => {
                    places.power = Some(at);
                    pm::capability(keeps_state)
                }
                Entry::Express(kind) => {
                    places.express = Some(at);
                    pcie::capability(kind)
                }
            };
            // Only extended capabilities have offsets of more than 8 bits.
            lists.add(&mut config, at as u8, &capability)?;
        }
        let info = FunctionInfo {
            identity: self.identity,
            config_size: self.size,
            bars,
            vectors: msix.as_ref().map_or(0, |msix| msix.layout().vectors),
        };
        let intx = self.pin.map(|(pin, wire)| Intx::new(pin, wire));
        Ok(FunctionCore::new(info, config, places, msix, intx))
    }

    fn place_bars(&self) -> Result<Bars, ConfigError> {
        let mut bars = Bars::default();
        let count = self.header.bars();
        self.bars
            .iter()
            .try_for_each(|(index, bar)| bars.place(*index, *bar, count))?;
        Ok(bars)
    }

    fn entry(mut self, at: u16, entry: Entry) -> Self {
        self.lists.push((at, entry));
        self
    }
}
