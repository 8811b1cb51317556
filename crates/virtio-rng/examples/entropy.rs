//! An entropy device from command-line properties, as `-device virtio-rng-pci,...` gives them:
//! `cargo run -p virtio-rng --example entropy -- max-bytes=1024,period=1000`.

use std::process::ExitCode;

use virtio_device::props::{DynProps, PropError, apply, split_options};
use virtio_rng::{EntropySource, FileSource, HostRandom, Rng, RngProps};

fn main() -> ExitCode {
    let options = std::env::args().nth(1).unwrap_or_default();
    match device(&options) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtio-rng: {error}");
            ExitCode::from(2)
        }
    }
}

/// The device is ready to be put on any transport of crate `virtio-bus`.
fn device(options: &str) -> Result<Rng<Box<dyn EntropySource>>, PropError> {
    let mut props = RngProps::default();
    let pairs = split_options(options);
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("on")));
    apply(pairs, &mut [&mut props])?;
    for prop in DynProps::describe(&props) {
        println!("{}={} ({})", prop.name, prop.value, prop.help);
    }
    Rng::new(&props, source())
}

/// The hardware's generator where there is one, the kernel's where not.
fn source() -> Box<dyn EntropySource> {
    match std::fs::File::open("/dev/hwrng").and_then(FileSource::new) {
        Ok(hardware) => Box::new(hardware),
        Err(_) => Box::new(HostRandom),
    }
}
