//! PCI for VMMs: configuration space, BARs, MSI-X, buses, root complex.
#![forbid(unsafe_code)]
