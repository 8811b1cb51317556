//! A balloon from command-line properties, as `-device virtio-balloon-pci,...` gives them, and how
//! a VMM asks its guest for memory:
//! `cargo run -p virtio-balloon --example inflate -- free-page-reporting=on`.

use std::process::ExitCode;

use virtio_balloon::virtio_device::props::{DynProps, apply, split_options};
use virtio_balloon::{Balloon, BalloonProps, HostMemory, PAGE};

fn main() -> ExitCode {
    let options = std::env::args().nth(1).unwrap_or_default();
    let mut props = BalloonProps::default();
    let pairs = split_options(&options);
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("on")));
    if let Err(error) = apply(pairs, &mut [&mut props]) {
        eprintln!("virtio-balloon: {error}");
        return ExitCode::from(2);
    }
    for prop in DynProps::describe(&props) {
        println!("{}={} ({})", prop.name, prop.value, prop.help);
    }
    let balloon = match Balloon::new(&props, HostMemory) {
        Ok(balloon) => balloon,
        Err(error) => {
            eprintln!("virtio-balloon: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The transport gets the balloon; this stays with the VMM.
    let handle = balloon.handle();
    handle.on_change(|| println!("the guest has come a step closer"));
    handle.set_target((256 << 20) / PAGE as u32);
    println!(
        "{} pages are wanted, {} are there",
        handle.target(),
        handle.actual()
    );
    ExitCode::SUCCESS
}
