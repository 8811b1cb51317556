//! Says what a command line asks for, without making a machine.
//!
//! `cargo run -p mini-vmm --example explain -- -kernel vmlinuz -m 4G -smp 2`

use mini_vmm::memory;
use mini_vmm::options::{self, Command};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        args = ["-kernel", "vmlinuz", "-m", "4G", "-smp", "2"]
            .map(str::to_owned)
            .to_vec();
    }
    match options::parse(args)? {
        Command::Print(text) => print!("{text}"),
        Command::DeviceHelp(driver) => print!("{}", mini_vmm::devices::help(&driver)?),
        Command::Run(config) => {
            println!("kernel {}, {} vCPUs", config.kernel.display(), config.cpus);
            for range in memory::ranges(config.memory) {
                println!("RAM {:#x} to {:#x}", range.base, range.end() - 1);
            }
            for device in &config.devices {
                println!("device {}", device.driver);
            }
        }
    }
    Ok(())
}
