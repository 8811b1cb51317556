//! Interrupt messages of PCI functions, delivered by KVM.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KvmIrqRouting,
    kvm_irq_routing_entry, kvm_msi,
};
use kvm_ioctls::VmFd;
use vm_pci::{MsiMessage, MsiSink, MsiVector};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::layout::IO_APIC_PINS;
use crate::tally::Tally;

/// Makes vectors.
///
/// A vector that is only fired needs no route: the message itself goes to KVM, with one system call,
/// as a write to an irqfd would be. Routes are for those who are handed an irqfd.
pub struct MsiRoutes(Arc<Table>);

impl MsiRoutes {
    /// No routes but those of the I/O APIC; those that come are counted in `tally`.
    pub fn new(vm: Arc<VmFd>, tally: Arc<Tally>) -> Self {
        Self(Arc::new(Table {
            vm,
            tally,
            messages: Mutex::default(),
        }))
    }
}

impl MsiSink for MsiRoutes {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        let table = Arc::clone(&self.0);
        Ok(Arc::new(Vector {
            table,
            message: ArcSwapOption::empty(),
            route: OnceLock::new(),
        }))
    }
}

/// One vector.
struct Vector {
    table: Arc<Table>,
    message: ArcSwapOption<MsiMessage>,
    route: OnceLock<Option<Route>>,
}

impl MsiVector for Vector {
    fn program(&self, message: Option<MsiMessage>) -> io::Result<()> {
        if let Some(Some(route)) = self.route.get() {
            self.table.program(route, message)?;
        }
        self.message.store(message.map(Arc::new));
        Ok(())
    }

    fn fire(&self) -> io::Result<()> {
        match &*self.message.load() {
            Some(message) => self.table.signal(message),
            None => Ok(()),
        }
    }

    fn irqfd(&self) -> Option<&EventFd> {
        let route = self.route.get_or_init(|| {
            let route = self.table.allocate().ok()?;
            let message = self.message.load().as_deref().copied();
            match self.table.program(&route, message) {
                Ok(()) => Some(route),
                Err(_) => {
                    self.table.free(&route);
                    None
                }
            }
        });
        route.as_ref().map(|route| &route.event)
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        if let Some(Some(route)) = self.route.get() {
            let _ = self.table.program(route, None);
            self.table.free(route);
        }
    }
}

/// An irqfd and its interrupt number.
struct Route {
    gsi: u32,
    event: EventFd,
}

/// KVM's routing table, which can only be replaced as a whole.
struct Table {
    vm: Arc<VmFd>,
    tally: Arc<Tally>,
    messages: Mutex<Vec<Entry>>,
}

/// What is at an interrupt number above the I/O APIC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Free,
    Taken,
    /// Routed, and bound to the irqfd.
    Bound(MsiMessage),
}

impl Table {
    fn signal(&self, message: &MsiMessage) -> io::Result<()> {
        let msi = kvm_msi {
            address_lo: message.address as u32,
            address_hi: (message.address >> 32) as u32,
            data: message.data,
            ..Default::default()
        };
        // 0 means that the guest's APIC refused it: nothing that the device could mend.
        self.vm.signal_msi(msi).map(drop).map_err(io::Error::from)
    }

    fn allocate(&self) -> io::Result<Route> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        let mut entries = self.entries();
        let index = entries
            .iter()
            .position(|entry| *entry == Entry::Free)
            .unwrap_or(entries.len());
        let gsi = u32::try_from(index)
            .ok()
            .filter(|index| *index < MOST_ROUTES);
        let gsi = IO_APIC_PINS + gsi.ok_or(io::ErrorKind::QuotaExceeded)?;
        match entries.get_mut(index) {
            Some(entry) => *entry = Entry::Taken,
            None => entries.push(Entry::Taken),
        }
        Ok(Route { gsi, event })
    }

    fn free(&self, route: &Route) {
        self.set(&mut self.entries(), route, Entry::Free);
    }

    /// Without a message the irqfd is taken off its interrupt; it then keeps its count, which KVM
    /// delivers when it is bound again.
    fn program(&self, route: &Route, message: Option<MsiMessage>) -> io::Result<()> {
        let mut entries = self.entries();
        let index = (route.gsi - IO_APIC_PINS) as usize;
        let bound = matches!(entries.get(index), Some(Entry::Bound(_)));
        match message {
            Some(message) => {
                self.set(&mut entries, route, Entry::Bound(message));
                self.update(&entries)?;
                if !bound {
                    self.vm.register_irqfd(&route.event, route.gsi)?;
                    self.tally.irqfds.more();
                }
            }
            None if bound => {
                self.vm.unregister_irqfd(&route.event, route.gsi)?;
                self.tally.irqfds.less();
                self.set(&mut entries, route, Entry::Taken);
            }
            None => {}
        }
        Ok(())
    }

    fn set(&self, entries: &mut [Entry], route: &Route, value: Entry) {
        let index = (route.gsi - IO_APIC_PINS) as usize;
        entries
            .iter_mut()
            .skip(index)
            .take(1)
            .for_each(|entry| *entry = value);
    }

    fn update(&self, entries: &[Entry]) -> io::Result<()> {
        let pins = (0..IO_APIC_PINS).map(pin);
        let messages = (IO_APIC_PINS..)
            .zip(entries)
            .filter_map(|(gsi, entry)| match entry {
                Entry::Bound(message) => Some(routed(gsi, message)),
                Entry::Free | Entry::Taken => None,
            });
        let routes: Vec<_> = pins.chain(messages).collect();
        let table = KvmIrqRouting::from_entries(&routes);
        let table = table.map_err(|error| io::Error::other(format!("{error:?}")))?;
        self.vm.set_gsi_routing(&table)?;
        let pins = IO_APIC_PINS as usize;
        self.tally.msi_routes.set(routes.len().saturating_sub(pins));
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kernel's default route of an I/O APIC pin. A hardware-reduced guest has no PIC.
fn pin(gsi: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        ..Default::default()
    };
    entry.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
    entry.u.irqchip.pin = gsi;
    entry
}

fn routed(gsi: u32, message: &MsiMessage) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi.address_lo = message.address as u32;
    entry.u.msi.address_hi = (message.address >> 32) as u32;
    entry.u.msi.data = message.data;
    entry
}

/// KVM takes 4096 routes in all.
const MOST_ROUTES: u32 = 4096 - IO_APIC_PINS;
