//! The drivers' `Transport` on channel I/O.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use testkit::channel::Channel;
use testkit::channel::command::*;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Memory;

/// Drives a device as section 4.3 has it, the way Linux does: one command per channel program.
pub struct CcwDriver {
    channel: Arc<Channel<Memory>>,
    device_type: DeviceType,
    revision: u16,
    /// What was written last: before revision 2 it cannot be read.
    status: DeviceStatus,
    queues: RefCell<BTreeSet<u16>>,
}

impl CcwDriver {
    /// Takes over the device behind `channel` with this revision: two-stage indicators from
    /// revision 2 on, classic ones before.
    ///
    /// # Panics
    /// Where there is none that is virtio's.
    pub fn new(channel: Arc<Channel<Memory>>, revision: u16) -> Self {
        channel.disable();
        channel.enable();
        let mut id = [0; 7];
        assert!(channel.command(SENSE_ID, 0, &mut id).is_good());
        let [_, a, b, model, ..] = id;
        assert_eq!([a, b], [0x38, 0x32], "control-unit type");
        let driver = Self {
            channel,
            device_type: DeviceType::try_from(model).expect("control-unit model"),
            revision,
            status: DeviceStatus::empty(),
            queues: RefCell::default(),
        };
        let [a, b] = revision.to_be_bytes();
        driver.command(SET_VIRTIO_REV, [a, b, 0, 0]);
        driver
    }

    fn command<const N: usize>(&self, command: u8, mut data: [u8; N]) -> [u8; N] {
        self.command_on(command, &mut data);
        data
    }

    fn command_on(&self, command: u8, data: &mut [u8]) {
        let done = self.channel.try_command(command, data);
        done.unwrap_or_else(|refused| panic!("{command:02x}: {refused:02x?}"));
    }

    fn set_indicators(&self) {
        if self.revision < 2 {
            self.command(SET_IND, INDICATORS.to_be_bytes());
        } else {
            let mut area = [ISC; 25];
            let fields = [SUMMARY, INDICATORS, 0];
            for (to, from) in area.chunks_exact_mut(8).zip(fields) {
                to.copy_from_slice(&from.to_be_bytes());
            }
            self.command(SET_IND_ADAPTER, area);
        }
        self.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
    }

    /// Whether any byte is set; none is afterwards. What the device sets between the two accesses
    /// is lost, so there is no second one where nothing is set.
    fn take(&self, address: u64, len: usize) -> bool {
        let set = self
            .channel
            .ram()
            .read(address, len)
            .iter()
            .any(|&byte| byte != 0);
        if set {
            self.channel.ram().write(address, &vec![0; len]);
        }
        set
    }
}

impl Transport for CcwDriver {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        let [low, high] = [0, 1].map(|index| {
            let [a, b, c, d, _] = self.command(READ_FEAT, [0, 0, 0, 0, index]);
            u32::from_le_bytes([a, b, c, d])
        });
        u64::from(high) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        for (index, page) in [(0, features as u32), (1, (features >> 32) as u32)] {
            let [a, b, c, d] = page.to_le_bytes();
            self.command(WRITE_FEAT, [a, b, c, d, index]);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        let [a, b] = queue.to_be_bytes();
        let [_, _, c, d] = self.command(READ_VQ_CONF, [a, b, 0, 0]);
        u16::from_be_bytes([c, d]).into()
    }

    fn notify(&mut self, queue: u16) {
        assert!(self.channel.notify(queue.into(), 0) >= 0);
    }

    fn get_status(&self) -> DeviceStatus {
        if self.revision < 2 {
            return self.status;
        }
        let [status] = self.command(READ_STATUS, [0]);
        DeviceStatus::from_bits_retain(status.into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            self.queues.borrow_mut().clear();
            self.command(VDEV_RESET, []);
        } else {
            if status.contains(DeviceStatus::DRIVER_OK) {
                self.set_indicators();
            }
            self.command(WRITE_STATUS, [status.bits() as u8]);
        }
        self.status = status;
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let mut info = [0; 32];
        info[..8].copy_from_slice(&descriptors.to_be_bytes());
        info[12..14].copy_from_slice(&queue.to_be_bytes());
        info[14..16].copy_from_slice(&(size as u16).to_be_bytes());
        info[16..24].copy_from_slice(&driver_area.to_be_bytes());
        info[24..].copy_from_slice(&device_area.to_be_bytes());
        self.command(SET_VQ, info);
        self.queues.borrow_mut().insert(queue);
    }

    /// Queues are taken back by a reset.
    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.queues.borrow().contains(&queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let two_stage = self.revision >= 2;
        let pending = !two_stage || self.take(SUMMARY, 1);
        let queue = pending && self.take(INDICATORS, 8);
        let config = self.take(CONFIG_INDICATORS, 8);
        let mut status = InterruptStatus::empty();
        status.set(InterruptStatus::QUEUE_INTERRUPT, queue);
        status.set(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT, config);
        if !two_stage || config {
            let _ = self.channel.test();
        }
        status
    }

    /// A driver transfers the space whole, and sees by itself whether it has changed.
    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let mut space = vec![0; offset + size_of::<T>()];
        self.command_on(READ_CONF, &mut space);
        let value = T::read_from_bytes(&space[offset..]);
        Ok(value.expect("bytes of a field"))
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        let mut space = vec![0; offset + size_of::<T>()];
        self.command_on(READ_CONF, &mut space);
        space[offset..].copy_from_slice(value.as_bytes());
        self.command_on(WRITE_CONF, &mut space);
        Ok(())
    }
}

impl Drop for CcwDriver {
    fn drop(&mut self) {
        self.set_status(DeviceStatus::empty());
    }
}

const SENSE_ID: u8 = 0xe4;
/// Where the indicators are.
const SUMMARY: u64 = 0x200;
const INDICATORS: u64 = 0x208;
const CONFIG_INDICATORS: u64 = 0x210;
const ISC: u8 = 3;
