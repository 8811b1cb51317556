//! `mini-vmm`: boots a Linux kernel on KVM, with virtio devices. See `mini-vmm --help`.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use mini_vmm::exit::Wish;
use mini_vmm::options::{self, BadOption, Command, Config};
use mini_vmm::{Error, devices, exit, logger, memory, terminal, vm};

fn main() -> ExitCode {
    logger::install();
    let args: Result<Vec<_>, _> = std::env::args_os().skip(1).map(text).collect();
    match args.and_then(options::parse) {
        Ok(Command::Run(config)) => run(&config),
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::DeviceHelp(driver)) => match devices::help(&driver) {
            Ok(text) => print(&text),
            Err(bad) => refuse(&bad),
        },
        Err(bad) => refuse(&bad),
    }
}

/// Taken for other bytes, a path would name another file.
fn text(arg: OsString) -> Result<String, BadOption> {
    let accepted = "options and paths in UTF-8";
    arg.into_string()
        .map_err(|arg| BadOption::new(&arg.to_string_lossy(), "not UTF-8", accepted))
}

fn run(config: &Config) -> ExitCode {
    memory::share_heap();
    if let Err(error) = terminal::restore_on_crash() {
        return fail(&Error::Host("cannot take signals", error));
    }
    match vm::run(config) {
        Ok(wish) => {
            if let Wish::Failure(why) = &wish {
                logger::tell(format_args!("{why}"));
            }
            ExitCode::from(wish.status())
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    logger::tell(format_args!("{error}"));
    ExitCode::from(error.status())
}

fn refuse(bad: &BadOption) -> ExitCode {
    logger::tell(format_args!("{bad}"));
    ExitCode::from(exit::BAD_OPTION)
}

/// A reader that has seen enough is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(&Error::Host("cannot write to standard output", error))
        }
        _ => ExitCode::SUCCESS,
    }
}
