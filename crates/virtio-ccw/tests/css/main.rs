//! The channel subsystem, as a guest sees it.

mod addressing;
mod commands;
mod concurrent;
mod functions;
mod instructions;
mod random;
mod saved_state;
mod support;
