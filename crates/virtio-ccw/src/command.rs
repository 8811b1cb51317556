//! The channel commands of virtio (section 4.3.1.1) as one table.

use crate::css::Command;
use crate::revision::Revision;

/// A command that is virtio's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VirtioCommand {
    SetVq,
    VdevReset,
    SetInd,
    SetConfInd,
    SetIndAdapter,
    ReadFeat,
    WriteFeat,
    ReadConf,
    WriteConf,
    WriteStatus,
    ReadVqConf,
    SetVirtioRev,
    ReadStatus,
}

impl VirtioCommand {
    /// The command of this code.
    pub(crate) fn of(code: Command) -> Option<Self> {
        let row = TABLE.iter().find(|row| row.code == code);
        row.map(|row| row.command)
    }

    /// Whether drivers of `revision` have it.
    pub(crate) fn is_in(self, revision: Revision) -> bool {
        let row = TABLE.iter().find(|row| row.command == self);
        row.is_some_and(|row| row.since <= revision)
    }

    /// Whether it can be executed while a reset is under way, which would undo what it does.
    pub(crate) fn changes_nothing(self) -> bool {
        matches!(
            self,
            Self::ReadFeat | Self::ReadConf | Self::ReadVqConf | Self::ReadStatus | Self::VdevReset
        )
    }
}

struct Row {
    code: Command,
    command: VirtioCommand,
    /// The first revision that has it.
    since: Revision,
}

const fn row(code: u8, command: VirtioCommand, since: Revision) -> Row {
    let code = Command(code);
    Row {
        code,
        command,
        since,
    }
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(0x11, VirtioCommand::WriteFeat,     Revision::LEGACY),
    row(0x12, VirtioCommand::ReadFeat,      Revision::LEGACY),
    row(0x13, VirtioCommand::SetVq,         Revision::LEGACY),
    row(0x21, VirtioCommand::WriteConf,     Revision::LEGACY),
    row(0x22, VirtioCommand::ReadConf,      Revision::LEGACY),
    row(0x31, VirtioCommand::WriteStatus,   Revision::LEGACY),
    row(0x32, VirtioCommand::ReadVqConf,    Revision::LEGACY),
    row(0x33, VirtioCommand::VdevReset,     Revision::LEGACY),
    row(0x43, VirtioCommand::SetInd,        Revision::LEGACY),
    row(0x53, VirtioCommand::SetConfInd,    Revision::LEGACY),
    row(0x72, VirtioCommand::ReadStatus,    Revision::READ_STATUS),
    row(0x73, VirtioCommand::SetIndAdapter, Revision::LEGACY),
    row(0x83, VirtioCommand::SetVirtioRev,  Revision::LEGACY),
];
