//! The commands, one row each: name, parameters and effect.

use serde_json::Value;

use super::arguments::{Arguments, OTHERS, Parameter};
use super::commands::{
    balloon, block, chardev, device, fd, introspect, net, object, qom, query, run, tray,
};
use super::error::QmpError;
use super::monitor::CAPABILITIES;
use super::request::Request;
use crate::vm::Machine;

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    run: Run,
}

type Run = fn(&mut Machine, Arguments) -> Result<Value, QmpError>;

/// Does what `request` asks for.
///
/// # Errors
/// A command that does not exist, arguments that are not its own, and what it fails with.
pub fn execute(machine: &mut Machine, request: Request) -> Result<Value, QmpError> {
    let Request {
        execute, arguments, ..
    } = request;
    let command = COMMANDS.iter().find(|command| command.name == execute);
    let command = command.ok_or_else(|| {
        QmpError::no_command(format_args!("The command {execute} has not been found"))
    })?;
    let arguments = Arguments::check(arguments, command.parameters)?;
    (command.run)(machine, arguments)
}

const fn command(name: &'static str, parameters: &'static [Parameter], run: Run) -> Command {
    Command {
        name,
        parameters,
        run,
    }
}

/// The monitor answers this one, in any state of the machine.
fn negotiated(_: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    Err(QmpError::no_command(CAPABILITIES))
}

#[rustfmt::skip]
pub(super) const COMMANDS: &[Command] = &[
    command("add-fd", &[("*fdset-id", "int"), ("*opaque", "str")], fd::add),
    command("announce-self", &[("initial", "int"), ("max", "int"), ("rounds", "int"), ("step", "int"), ("*interfaces", "any"), ("*id", "str")], net::announce),
    command("balloon", &[("value", "int")], balloon::balloon),
    command("block_resize", &[("*device", "str"), ("*node-name", "str"), ("size", "int")], block::resize),
    command("block_set_io_throttle", block::THROTTLE, block::throttle),
    command("blockdev-add", &[("driver", "str"), ("node-name", "str"), (OTHERS, "any")], block::add),
    command("blockdev-change-medium", &[("*device", "str"), ("*id", "str"), ("filename", "str"), ("*format", "str"), ("*force", "bool"), ("*read-only-mode", "str")], tray::change),
    command("blockdev-close-tray", &[("*device", "str"), ("*id", "str")], tray::close),
    command("blockdev-del", &[("node-name", "str")], block::delete),
    command("blockdev-insert-medium", &[("id", "str"), ("node-name", "str")], tray::insert),
    command("blockdev-open-tray", &[("*device", "str"), ("*id", "str"), ("*force", "bool")], tray::open),
    command("blockdev-remove-medium", &[("id", "str")], tray::remove),
    command("chardev-add", &[("id", "str"), ("backend", "any")], chardev::add),
    command("chardev-change", &[("id", "str"), ("backend", "any")], chardev::change),
    command("chardev-remove", &[("id", "str")], chardev::remove),
    command("chardev-window-size-changed", &[("id", "str"), ("cols", "int"), ("rows", "int")], chardev::resize),
    command("closefd", &[("fdname", "str")], fd::close),
    command("cont", &[], run::cont),
    command("device_add", &[("driver", "str"), ("*id", "str"), (OTHERS, "any")], device::add),
    command("device_del", &[("id", "str")], device::delete),
    command("device-list-properties", &[("typename", "str")], introspect::device_properties),
    command("eject", &[("*device", "str"), ("*id", "str"), ("*force", "bool")], tray::eject),
    command("getfd", &[("fdname", "str")], fd::get),
    command("netdev_add", &[("type", "str"), ("id", "str"), (OTHERS, "any")], net::add),
    command("netdev_del", &[("id", "str")], net::delete),
    command("object-add", &[("qom-type", "str"), ("id", "str"), (OTHERS, "any")], object::add),
    command("object-del", &[("id", "str")], object::delete),
    command(CAPABILITIES, &[("*enable", "any")], negotiated),
    command("qom-get", &[("path", "str"), ("property", "str")], qom::get),
    command("qom-list", &[("path", "str")], qom::list),
    command("qom-list-types", &[("*implements", "str"), ("*abstract", "bool")], introspect::types),
    command("qom-set", &[("path", "str"), ("property", "str"), ("value", "any")], qom::set),
    command("query-balloon", &[], balloon::query),
    command("query-block", &[], query::block),
    command("query-chardev", &[], chardev::query),
    command("query-commands", &[], introspect::commands),
    command("query-cpus-fast", &[], query::cpus),
    command("query-fdsets", &[], fd::query),
    command("query-iothreads", &[], object::query_iothreads),
    command("query-kvm", &[], query::kvm),
    command("query-machines", &[("*compat-props", "bool")], introspect::machines),
    command("query-name", &[], query::name),
    command("query-named-block-nodes", &[("*flat", "bool")], query::named_block_nodes),
    command("query-pci", &[], query::pci),
    command("query-qmp-schema", &[], introspect::schema),
    command("query-rx-filter", &[("*name", "str")], net::query_filter),
    command("query-status", &[], run::query_status),
    command("query-target", &[], query::target),
    command("query-version", &[], introspect::query_version),
    command("quit", &[], run::quit),
    command("remove-fd", &[("fdset-id", "int"), ("*fd", "int")], fd::remove),
    command("ringbuf-read", &[("device", "str"), ("size", "int"), ("*format", "str")], chardev::read_ring),
    command("ringbuf-write", &[("device", "str"), ("data", "str"), ("*format", "str")], chardev::write_ring),
    command("set_link", &[("name", "str"), ("up", "bool")], net::set_link),
    command("stop", &[], run::stop),
    command("system_powerdown", &[], run::system_powerdown),
    command("system_reset", &[], run::system_reset),
    command("x-query-kvm-tally", &[], query::tally),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_their_types_are_known() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name.replace('-', "_")));
        for command in COMMANDS {
            for (name, kind) in command.parameters {
                assert!(["str", "int", "bool", "any"].contains(kind), "{name}");
            }
        }
    }
}
