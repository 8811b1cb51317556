//! vCPU state: CPUID, the 64-bit entry, and what a reset puts back.

mod cpuid;
mod entry;
mod features;
mod machine_check;
mod signature;
mod state;

pub use cpuid::Model;
pub use entry::{enter, write_tables};
pub use features::names as feature_names;
pub use machine_check::limit_banks;
pub use state::ResetState;
