//! The properties of QEMU's `virtio-balloon` devices.

use virtio_device::Features;

use crate::layout::{
    DEFLATE_ON_OOM, FREE_PAGE_HINT, MUST_TELL_HOST, PAGE_POISON, PAGE_REPORTING, STATS_VQ,
};

virtio_device::props! {
    /// Properties of a memory balloon. QEMU has no `x-must-tell-host`.
    pub struct BalloonProps {
        /// Let the guest deflate the balloon before it kills processes for memory.
        "deflate-on-oom" => deflate_on_oom: bool = false,
        /// Offer hints of free pages, which the VMM may ask for.
        "free-page-hint" => free_page_hint: bool = false,
        /// Take free pages back from the host as the guest reports them.
        "free-page-reporting" => free_page_reporting: bool = false,
        /// Hear of the value that the guest fills free pages with, and leave such pages alone.
        "page-poison" => page_poison: bool = true,
        /// Have the guest ask before it uses pages of the balloon again.
        "x-must-tell-host" => must_tell_host: bool = false,
    }
}

impl BalloonProps {
    /// What the device offers.
    pub(crate) fn features(&self) -> Features {
        let Self {
            deflate_on_oom,
            free_page_hint,
            free_page_reporting,
            page_poison,
            must_tell_host,
        } = *self;
        STATS_VQ
            | MUST_TELL_HOST.when(must_tell_host)
            | DEFLATE_ON_OOM.when(deflate_on_oom)
            | FREE_PAGE_HINT.when(free_page_hint)
            | PAGE_REPORTING.when(free_page_reporting)
            | PAGE_POISON.when(page_poison)
    }
}
