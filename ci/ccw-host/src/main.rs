//! Serves the devices of this workspace to an s390x guest, by channel I/O.
//!
//! QEMU emulates the CPUs and nothing else of interest: with the bridge (crate `ccw-bridge`) in it,
//! its guest's I/O instructions come here, where the channel subsystem of `virtio-ccw` executes
//! them on the guest's memory, which both processes map. Options are QEMU's, as mini-vmm has them,
//! and devices are those of mini-vmm's table. Three options are its own: `-qemu PROGRAM`,
//! `-bridge LIBRARY`, and `-monitor unix:PATH` for what happens later (see [`monitor`]).

#![forbid(unsafe_code)]

mod emulator;
mod exits;
mod interruptions;
mod machine;
mod monitor;
mod options;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    mini_vmm::logger::install();
    let done = Options::parse(std::env::args().skip(1)).and_then(|options| machine::run(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ccw-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}
