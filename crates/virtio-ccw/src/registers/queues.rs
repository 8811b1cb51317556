//! READ_VQ_CONF and SET_VQ (section 4.3.2.2).

use virtio_bus::Status;
use virtio_device::{AddressSpace, RingArea};

use super::Registers;
use crate::css::Transfer;
use crate::revision::Revision;

/// Where a driver has put a queue.
struct QueueInfo {
    index: u16,
    size: u16,
    areas: Areas,
}

/// The first address is 0 if the driver takes the queue back.
enum Areas {
    /// One after the other, the used ring at a multiple of `align`.
    Legacy {
        queue: u64,
        align: u32,
    },
    Apart {
        desc: u64,
        driver: u64,
        device: u64,
    },
}

impl QueueInfo {
    /// `struct vq_info_block_legacy` or `struct vq_info_block`: the first 16 bytes are alike.
    fn read(revision: Revision, transfer: &mut Transfer<'_>) -> Option<Self> {
        let first = u64::from_be_bytes(transfer.read_array()?);
        let align = u32::from_be_bytes(transfer.read_array()?);
        let index = u16::from_be_bytes(transfer.read_array()?);
        let size = u16::from_be_bytes(transfer.read_array()?);
        let areas = match revision.is_legacy() {
            true => Areas::Legacy {
                queue: first,
                align,
            },
            false => Areas::Apart {
                desc: first,
                driver: u64::from_be_bytes(transfer.read_array()?),
                device: u64::from_be_bytes(transfer.read_array()?),
            },
        };
        Some(Self { index, size, areas })
    }

    fn takes_back(&self) -> bool {
        let (Areas::Legacy { queue: first, .. } | Areas::Apart { desc: first, .. }) = self.areas;
        first == 0
    }
}

impl<AS: AddressSpace> Registers<AS> {
    /// `struct vq_config_block`: the index comes from the driver. Past the last queue, the size
    /// is 0.
    pub(super) fn read_queue(&mut self, transfer: &mut Transfer<'_>) -> Option<()> {
        let index = u16::from_be_bytes(transfer.read_array()?);
        let size = self.core.queue(index).map_or(0, |regs| regs.max_size.get());
        transfer.write_all(&size.to_be_bytes()).then_some(())
    }

    /// Queues change hands while the device does not run: there is no queue reset on this
    /// transport.
    pub(super) fn set_queue(
        &mut self,
        revision: Revision,
        transfer: &mut Transfer<'_>,
    ) -> Option<()> {
        let info = QueueInfo::read(revision, transfer)?;
        let max_size = self.core.queue(info.index)?.max_size.get();
        if self.core.status().contains(Status::DRIVER_OK) {
            return None;
        }
        if info.takes_back() {
            self.core.disable_queue(info.index);
            return Some(());
        }
        (1..=max_size).contains(&info.size).then_some(())?;
        self.core.disable_queue(info.index);
        self.core.set_queue_size(info.index, info.size);
        self.place_queue(&info);
        let enabled = self.core.queue(info.index)?.enabled;
        enabled.then_some(())
    }

    fn place_queue(&mut self, info: &QueueInfo) {
        match info.areas {
            Areas::Legacy { queue, align } if align.is_power_of_two() => {
                self.core.set_legacy_queue(info.index, queue, align);
            }
            Areas::Legacy { .. } => {}
            Areas::Apart {
                desc,
                driver,
                device,
            } => {
                let areas = [
                    (RingArea::Descriptor, desc),
                    (RingArea::Driver, driver),
                    (RingArea::Device, device),
                ];
                for (which, address) in areas {
                    self.core
                        .set_queue_address(info.index, which, address, u64::MAX);
                }
                self.core.enable_queue(info.index);
            }
        }
    }
}
