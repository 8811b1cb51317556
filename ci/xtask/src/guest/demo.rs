//! `cargo xtask demo`: one boot of a stock guest, and what it found.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::console::{Paint, line, seconds};
use crate::guest::image::Image;
use crate::guest::machine::{Machine, Vmm};
use crate::guest::scenario::{BOOT, SILENCE};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;

/// Boots the guest and prints its findings. Returns whether all of them are good.
pub fn run(vmm: &Vmm, image: &Image, work: &Path) -> Result<bool> {
    let machine = describe(vmm, image, work)?;
    line(format_args!(
        "{}{}",
        Paint::Title.on("starting"),
        command_lines(&machine)
    ));
    let start = Instant::now();
    let mut guest = Guest::start(&machine)?;
    let own = guest.ready(BOOT)?;
    let time = seconds(start.elapsed());
    line(format_args!(
        "{} after {time} ({own:.1} s by the guest's clock)",
        Paint::Title.on("user space")
    ));
    let good = show(&mut guest)?;
    guest.end()?;
    line(format_args!(
        "{} after {}{}",
        Paint::Title.on("power-off"),
        seconds(start.elapsed()),
        if good { ", everything works" } else { "" }
    ));
    Ok(good)
}

fn describe(vmm: &Vmm, image: &Image, work: &Path) -> Result<Machine> {
    let mut machine = Machine::new(vmm, image, work, "virtio-blk-pci")?;
    let disk = format!("{},packed=on", machine.virtio("blk"));
    machine.disk(&disk, "data", 16 << 20)?;
    machine.device(&machine.virtio("rng"));
    machine.socket("console");
    machine.device(&machine.virtio("serial"));
    machine.device("virtconsole,chardev=console");
    machine.parameter("run=demo");
    Ok(machine)
}

/// The command as a user would type it, an option to a line.
fn command_lines(machine: &Machine) -> String {
    let command = machine.command();
    let mut text = format!("\n  {}", command.get_program().to_string_lossy());
    for argument in command
        .get_args()
        .map(|argument| argument.to_string_lossy())
    {
        let quote = if argument.contains(' ') { "'" } else { "" };
        let gap = if argument.starts_with('-') {
            " \\\n    "
        } else {
            " "
        };
        text.push_str(&format!("{gap}{quote}{argument}{quote}"));
    }
    text
}

fn show(guest: &mut Guest) -> Result<bool> {
    let mut good = true;
    loop {
        match guest.report(SILENCE)? {
            Report::Fact { name, value } => line(format_args!(
                "  {} {value}",
                Paint::Faint.on(format!("{name:<12}"))
            )),
            Report::Verdict(Verdict {
                check,
                result: Ok(detail),
            }) => {
                line(format_args!(
                    "  {} {detail}",
                    Paint::Good.on(format!("{check:<12}"))
                ));
            }
            Report::Verdict(Verdict {
                check,
                result: Err(detail),
            }) => {
                good = false;
                line(format_args!(
                    "  {} {detail}",
                    Paint::Bad.on(format!("{check:<12}"))
                ));
            }
            Report::Done => return Ok(good),
            Report::Ended => bail!("{}", guest.early_end()),
            Report::Ready(_) | Report::Acknowledged(_) => (),
        }
    }
}
