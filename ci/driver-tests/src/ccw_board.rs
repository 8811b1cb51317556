//! Machines with the device on channel I/O.

use std::sync::Arc;

use testkit::Ram;
use testkit::channel::{Channel, Interruptions};
use virtio_bus::{ThreadRunner, VirtioProps};
use virtio_ccw::css::ChannelSubsystem;
use virtio_ccw::{CcwParts, CcwProps, CcwTransport};
use virtio_device::VirtioDevice;

use crate::{Board, CcwDriver, Guest, Memory};

/// Revision 2, with adapter interrupts.
pub struct Ccw(Arc<Channel<Memory>>);

/// Revision 1, with classic interrupts.
pub struct ClassicCcw(Arc<Channel<Memory>>);

macro_rules! ccw_board {
    ($board:ident, $revision:expr) => {
        impl Board for $board {
            type Driver = CcwDriver;

            fn offering(guest: &Guest, device: impl VirtioDevice, common: &VirtioProps) -> Self {
                let props = CcwProps::default().max_revision($revision);
                Self(machine(guest, device, &props, common))
            }

            fn driver(&self) -> CcwDriver {
                CcwDriver::new(self.0.clone(), $revision)
            }
        }
    };
}

ccw_board!(Ccw, 2);
ccw_board!(ClassicCcw, 1);

fn machine(
    guest: &Guest,
    device: impl VirtioDevice,
    props: &CcwProps,
    common: &VirtioProps,
) -> Arc<Channel<Memory>> {
    let memory = guest.memory();
    let css = ChannelSubsystem::new(memory.clone(), Arc::new(Interruptions::default()));
    let parts = CcwParts {
        device: Box::new(device),
        runner: Arc::new(ThreadRunner::new("device")),
        memory: memory.clone(),
        features: common.features(),
        ioeventfds: None,
    };
    let transport = CcwTransport::new(&css, props, parts).expect("a device on channel I/O");
    let ram = Ram(memory.clone());
    Arc::new(Channel::new(&css, transport.subchannel(), ram, PAGE))
}

/// The page of channel programs.
const PAGE: u64 = 0x1000;
