//! Properties of QEMU's that change nothing here: accepted, so that its users' command lines work,
//! but refused where they ask for what is not done. `docs/properties.md` is this table for people.

use virtio_device::props::{DynProps, PropError, PropHelp, PropValue};

/// A property of some types of device.
#[derive(Debug)]
pub(super) struct Fixed {
    /// Names of types, separated by spaces; `*` stands for any part of one.
    pub(super) types: &'static str,
    pub(super) name: &'static str,
    /// QEMU's default.
    pub(super) default: Default,
    /// Why there is nothing to set.
    pub(super) why: &'static str,
}

/// The default of a property, and whether another value is accepted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// This value alone.
    Only(&'static str),
    /// On or off, which comes to the same.
    Either(bool),
    /// None: it cannot be set.
    Unset,
}

impl Fixed {
    fn accepts(&self) -> &'static str {
        match self.default {
            Default::Only("on") => "on, its default: docs/properties.md says why",
            Default::Only("off") => "off, its default: docs/properties.md says why",
            Default::Only(_) => "its default alone: docs/properties.md says why",
            Default::Either(_) => bool::ACCEPTS,
            Default::Unset => "to be left unset: docs/properties.md says why",
        }
    }

    fn takes(&self, value: &str) -> bool {
        match self.default {
            Default::Only(default) => normal(value) == normal(default),
            Default::Either(_) => bool::parse(value).is_some(),
            Default::Unset => false,
        }
    }

    fn help(&self) -> PropHelp {
        PropHelp {
            name: self.name,
            accepts: self.accepts(),
            value: match self.default {
                Default::Only(default) => default.to_owned(),
                Default::Either(default) => default.show(),
                Default::Unset => String::new(),
            },
            help: self.why,
        }
    }
}

/// Those of one type.
pub(super) struct FixedProps(pub(super) &'static str);

impl FixedProps {
    pub(super) fn rows(&self) -> impl Iterator<Item = &'static Fixed> {
        FIXED.iter().filter(|row| is_among(self.0, row.types))
    }
}

impl DynProps for FixedProps {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError> {
        match self.rows().find(|row| row.name == name) {
            None => Ok(false),
            Some(row) if row.takes(value) => Ok(true),
            Some(row) => Err(PropError::Value {
                name: row.name,
                value: value.to_owned(),
                accepts: row.accepts(),
            }),
        }
    }

    fn describe(&self) -> Vec<PropHelp> {
        self.rows().map(Fixed::help).collect()
    }
}

/// Whether `name` is one of `patterns`, which are separated by spaces.
pub(super) fn is_among(name: &str, patterns: &str) -> bool {
    patterns.split(' ').any(|pattern| matches(name, pattern))
}

fn matches(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let mut ends = (0..=name.len()).filter_map(|at| name.get(at..));
            ends.any(|end| matches(end, rest))
        }),
    }
}

/// A value in the one of its forms that others are compared with.
fn normal(value: &str) -> String {
    let switch = bool::parse(value).map(|on| on.show());
    let number = || u64::parse(value).map(|number| number.show());
    switch.or_else(number).unwrap_or_else(|| value.to_owned())
}

const fn only(
    types: &'static str,
    name: &'static str,
    default: &'static str,
    why: &'static str,
) -> Fixed {
    fixed(types, name, Default::Only(default), why)
}

const fn unset(types: &'static str, name: &'static str, why: &'static str) -> Fixed {
    fixed(types, name, Default::Unset, why)
}

const fn either(
    types: &'static str,
    name: &'static str,
    default: bool,
    why: &'static str,
) -> Fixed {
    fixed(types, name, Default::Either(default), why)
}

const fn fixed(
    types: &'static str,
    name: &'static str,
    default: Default,
    why: &'static str,
) -> Fixed {
    Fixed {
        types,
        name,
        default,
        why,
    }
}

#[rustfmt::skip]
pub(super) const FIXED: &[Fixed] = &[
    either("virtio-*", "notify_on_empty", true, "Never offered: the drivers of Linux and Windows do not take it."),
    only("virtio-*", "use-disabled-flag", "on", "A matter of QEMU's own saved states."),
    only("virtio-*", "use-started", "on", "A matter of QEMU's own saved states."),
    only("virtio-*", "x-disable-legacy-check", "off", "For QEMU's own old machine types."),
    unset("virtio-*-pci* virtio-*-ccw", "virtio-backend", "Read-only: the device behind the transport."),

    only("virtio-*-pci*", "acpi-index", "0", "Slots have no names in ACPI here."),
    only("virtio-*-pci*", "aer", "off", "No function reports errors by AER."),
    only("virtio-*-pci*", "ats", "off", "There is no IOMMU whose translations could be cached."),
    unset("virtio-*-pci*", "busnr", "Read-only: the number of the bus."),
    unset("virtio-*-pci*", "failover_pair_id", "No device is assigned from the host, so none is a fallback."),
    either("virtio-*-pci*", "multifunction", false, "A slot with several functions says so without being told."),
    only("virtio-*-pci*", "rombar", "-1", "No firmware runs that would read an option ROM."),
    unset("virtio-*-pci*", "romfile", "No firmware runs that would read an option ROM."),
    only("virtio-*-pci*", "romsize", "4294967295", "No firmware runs that would read an option ROM."),
    unset("virtio-*-pci*", "sriov-pf", "There are no virtual functions."),
    only("virtio-*-pci*", "virtio-pci-bus-master-bug-migration", "off", "For states saved by old QEMU."),
    only("virtio-*-pci*", "x-ats-page-aligned", "on", "There is no ATS."),
    only("virtio-*-pci*", "x-max-bounce-buffer-size", "4096", "Guest memory is reached without bounce buffers."),
    only("virtio-*-pci*", "x-pcie-ari-nextfn-1", "off", "There is no ARI capability."),
    only("virtio-*-pci*", "x-pcie-err-unc-mask", "on", "There is no AER capability."),
    only("virtio-*-pci*", "x-pcie-ext-tag", "on", "For QEMU's own old machine types."),
    only("virtio-*-pci*", "x-pcie-flr-init", "on", "Functions can always be reset by FLR."),
    only("virtio-*-pci*", "x-pcie-lnksta-dllla", "on", "For QEMU's own old machine types."),
    only("virtio-*-pci*", "x-pcie-pm-no-soft-reset", "off", "For QEMU's own old machine types."),

    unset("virtio-*-ccw", "dev_id", "Read-only: the number of the device."),
    unset("virtio-*-ccw", "subch_id", "Read-only: the number of the subchannel."),
    unset("virtio-blk-ccw virtio-net-ccw", "loadparm", "The kernel is loaded directly, by no firmware."),

    unset("virtio-blk-* virtio-net-* scsi-hd scsi-cd", "bootindex", "The kernel is loaded directly, by no firmware."),
    only("virtio-blk-pci* virtio-serial-pci*", "class", "0", "The class code is that of the device."),
    unset("virtio-blk-* virtio-scsi-*", "iothread-vq-mapping", "Each queue has a thread of its own, or all have that of iothread=."),

    unset("virtio-balloon-*", "guest-stats", "Read-only: by qom-get."),
    unset("virtio-balloon-*", "guest-stats-polling-interval", "Of a running device: by qom-set."),

    only("virtio-blk-* scsi-hd scsi-cd", "account-failed", "auto", "Requests are not accounted."),
    only("virtio-blk-* scsi-hd scsi-cd", "account-invalid", "auto", "Requests are not accounted."),
    only("virtio-blk-* scsi-hd scsi-cd", "backend_defaults", "auto", "What is not given comes from the back-end."),
    only("virtio-blk-* scsi-hd", "lcyls", "0", "For the firmware's view of a disk; none runs."),
    only("virtio-blk-* scsi-hd", "lheads", "0", "For the firmware's view of a disk; none runs."),
    only("virtio-blk-* scsi-hd", "lsecs", "0", "For the firmware's view of a disk; none runs."),
    unset("virtio-blk-* scsi-hd scsi-cd", "stats-intervals", "Requests are not accounted."),
    only("virtio-blk-*", "x-enable-wce-if-config-wce", "on", "For QEMU's own old machine types."),

    only("scsi-hd", "cyls", "0", "No disk of today tells its geometry."),
    only("scsi-hd", "heads", "0", "No disk of today tells its geometry."),
    only("scsi-hd", "secs", "0", "No disk of today tells its geometry."),
    only("scsi-hd scsi-cd", "migrate-emulated-scsi-request", "on", "A matter of QEMU's own saved states."),
    only("scsi-cd", "quirk_mode_page_apple_vendor", "off", "For guests that are not x86 or s390x."),
    only("scsi-hd scsi-cd", "quirk_mode_page_set_block_size", "off", "For guests that are not x86 or s390x."),
    only("scsi-cd", "quirk_mode_page_truncated", "off", "For guests that are not x86 or s390x."),
    only("scsi-hd scsi-cd", "quirk_mode_page_vendor_specific_apple", "off", "For guests that are not x86 or s390x."),
    only("scsi-cd", "quirk_mode_sense_rom_use_dbd", "off", "For guests that are not x86 or s390x."),
];
