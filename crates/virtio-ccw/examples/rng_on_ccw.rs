//! virtio-rng on channel I/O in an existing VMM, which brings memory, interruptions and, for each
//! intercepted instruction, the storage of the CPU. On KVM, intercepts come from `KVM_RUN`.

use std::{error::Error, sync::Arc};

use virtio_ccw::css::*;
use virtio_ccw::virtio_bus::{ThreadRunner, VirtioProps};
use virtio_ccw::virtio_device::vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use virtio_ccw::{CcwParts, CcwProps, CcwTransport};
use virtio_rng::{HostRandom, Rng, RngProps};

/// Interruptions; on KVM, `KVM_S390_INTERRUPT`.
struct Cpus;

impl CssHost for Cpus {
    fn raise(&self, interruption: Interruption) {
        println!("interruption {:08x}", interruption.word());
    }
    fn withdraw(&self, _: SubchannelId) {}
    fn take(&self, _: IscMask) -> Option<Interruption> {
        None
    }
    fn channel_report_pending(&self) {}
}

/// The CPU's storage; on KVM, `KVM_S390_MEM_OP`. Here, without translation.
struct Storage(Arc<GuestMemoryMmap<()>>);

impl OperandAccess for Storage {
    fn read(&mut self, at: Operand, data: &mut [u8]) -> Result<(), AccessException> {
        let read = self.0.read_slice(data, GuestAddress(at.address));
        read.map_err(|_| AccessException)
    }
    fn write(&mut self, at: Operand, data: &[u8]) -> Result<(), AccessException> {
        let written = self.0.write_slice(data, GuestAddress(at.address));
        written.map_err(|_| AccessException)
    }
    fn check_write(&mut self, _: Operand, _: usize) -> Result<(), AccessException> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&[(
        GuestAddress(0),
        1 << 20,
    )])?);
    let css = ChannelSubsystem::new(memory.clone(), Arc::new(Cpus));
    let parts = CcwParts {
        device: Box::new(Rng::new(&RngProps::default(), HostRandom)?),
        runner: Arc::new(ThreadRunner::new("rng")),
        memory: memory.clone(),
        features: VirtioProps::default().features(),
        ioeventfds: None,
    };
    let rng = CcwTransport::new(&css, &CcwProps::default(), parts)?;

    // What the guest does first: STORE SUBCHANNEL.
    let (subchannel, schib) = (rng.subchannel().word(), at(0x1000));
    let store = Instruction::Stsch { subchannel, schib };
    let effect = css.execute(store, &mut Storage(memory));
    assert_eq!(effect, Effect::ConditionCode(ConditionCode::Cc0));
    Ok(())
}

fn at(address: u64) -> Operand {
    let access_register = 0;
    Operand {
        address,
        access_register,
    }
}
