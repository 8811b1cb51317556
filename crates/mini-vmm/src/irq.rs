//! Interrupt lines and doorbells of the virtual machine, on KVM.

use std::io;
use std::sync::Arc;

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_PIT_SPEAKER_DUMMY,
    kvm_irqchip, kvm_pit_config, kvm_pit_state2,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::layout;
use crate::tally::Tally;
use crate::wires::Lines;

/// The in-kernel interrupt controllers.
#[derive(Clone, Debug)]
pub struct Irqs {
    vm: Arc<VmFd>,
    tally: Arc<Tally>,
}

impl Irqs {
    /// Creates PIC, I/O APIC, local APICs and PIT in the kernel. What is wired to them is counted in
    /// `tally`.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn create(vm: Arc<VmFd>, tally: Arc<Tally>) -> io::Result<Self> {
        vm.set_identity_map_address(layout::KVM_IDENTITY_MAP)?;
        vm.set_tss_address(layout::KVM_TSS as usize)?;
        vm.create_irq_chip()?;
        vm.create_pit2(kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..Default::default()
        })?;
        Ok(Self { vm, tally })
    }

    /// The state of the controllers at power-on, to be put back at a reset.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn state(&self) -> io::Result<IrqState> {
        let chip = |chip_id| {
            let mut chip = kvm_irqchip {
                chip_id,
                ..Default::default()
            };
            self.vm.get_irqchip(&mut chip).map(|()| chip)
        };
        let [master, slave, io_apic] = [
            KVM_IRQCHIP_PIC_MASTER,
            KVM_IRQCHIP_PIC_SLAVE,
            KVM_IRQCHIP_IOAPIC,
        ]
        .map(chip);
        Ok(IrqState {
            chips: [master?, slave?, io_apic?],
            pit: self.vm.get_pit2()?,
        })
    }

    /// Puts `state` back.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn reset(&self, state: &IrqState) -> io::Result<()> {
        for chip in &state.chips {
            self.vm.set_irqchip(chip)?;
        }
        self.vm.set_pit2(&state.pit)?;
        Ok(())
    }
}

impl Lines for Irqs {
    fn edge(&self, gsi: u32) -> io::Result<EventFd> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        self.vm.register_irqfd(&event, gsi)?;
        self.tally.irqfds.more();
        Ok(event)
    }

    fn drive(&self, gsi: u32, high: bool) -> io::Result<()> {
        self.vm.set_irq_line(gsi, high).map_err(io::Error::from)
    }
}

/// The state of the interrupt controllers.
#[derive(Clone, Debug)]
pub struct IrqState {
    chips: [kvm_irqchip; 3],
    pit: kvm_pit_state2,
}
