//! Makes a device from properties and shows what a driver finds in its configuration space:
//! `cargo run -p virtio-9p --example share -- DIRECTORY mount_tag=share`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use virtio_9p::p9_server::{Limits, Local, LocalOptions};
use virtio_9p::virtio_device::VirtioDevice;
use virtio_9p::virtio_device::props::{Props, split_options};
use virtio_9p::{NineP, NinePProps};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let directory = args.next().unwrap_or_else(|| ".".to_owned());
    let options = args.next().unwrap_or_else(|| "mount_tag=share".to_owned());
    match device(Path::new(&directory), &options) {
        Ok(device) => {
            let config = device.config().snapshot();
            println!("{directory} as {:?}", String::from_utf8_lossy(&config[2..]));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("virtio-9p: {error}");
            ExitCode::from(2)
        }
    }
}

fn device(directory: &Path, options: &str) -> Result<NineP<Local>, Box<dyn Error>> {
    let mut props = NinePProps::default();
    for (name, value) in split_options(options) {
        let value = value.unwrap_or_else(|| "on".to_owned());
        if !props.set(&name, &value)? {
            return Err(format!("no property '{name}'").into());
        }
    }
    let share = Local::new(directory, LocalOptions::default())?;
    Ok(NineP::new(&props, Arc::new(share), Limits::default())?)
}
