//! A driver of a modern virtio device on PCI, with split rings.

use super::{PciDevice, Vmm};

/// A virtio device whose structures are mapped.
pub struct VirtioPci {
    /// Its PCI function.
    pub pci: PciDevice,
    common: u64,
    isr: u64,
    device: u64,
    notify: u64,
    multiplier: u64,
    msix: Option<u64>,
}

/// A part of a request: for the device to read, or this many bytes for it to write.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Bytes that the device reads.
    Out(&'a [u8]),
    /// Bytes that the device writes.
    In(usize),
}

/// A split virtqueue.
pub struct VirtioQueue {
    index: u16,
    size: u16,
    descriptors: u64,
    available: u64,
    used: u64,
    next: u16,
    seen: u16,
    doorbell: u64,
}

impl VirtioPci {
    /// Finds the device in `slot`, maps it at `window` and resets it.
    pub fn find(vmm: &mut Vmm, slot: u8, window: u32) -> Self {
        let pci = PciDevice::find(vmm, slot).expect("a device");
        Self::at(vmm, pci, window)
    }

    /// The same for a device that was found already.
    pub fn at(vmm: &mut Vmm, pci: PciDevice, window: u32) -> Self {
        assert_eq!(pci.read(vmm, 0, 2), 0x1af4);
        pci.enable(vmm);
        let mut this = Self {
            pci,
            common: 0,
            isr: 0,
            device: 0,
            notify: 0,
            multiplier: 0,
            msix: None,
        };
        for at in pci.capabilities(vmm, VENDOR) {
            let offset = pci.read(vmm, at + 8, 4);
            let place = u64::from(window) + u64::from(offset);
            match pci.read(vmm, at + 3, 1) {
                1 => this.common = place,
                2 => {
                    this.notify = place;
                    this.multiplier = pci.read(vmm, at + 16, 4).into();
                }
                3 => this.isr = place,
                4 => this.device = place,
                _ => continue,
            }
            let bar = pci.read(vmm, at + 4, 1) as u8;
            pci.map(vmm, bar, window);
        }
        this.set_status(vmm, 0);
        assert_eq!(this.status(vmm), 0);
        this
    }

    /// Enables MSI-X with its table at `window`.
    pub fn enable_msix(&mut self, vmm: &mut Vmm, window: u32) {
        let at = self.pci.capabilities(vmm, MSIX)[0];
        let table = self.pci.read(vmm, at + 4, 4);
        self.pci.map(vmm, (table & 7) as u8, window);
        self.msix = Some(u64::from(window) + u64::from(table & !7));
        let control = self.pci.read(vmm, at + 2, 2);
        self.pci.write(vmm, at + 2, 2, control | 1 << 15);
    }

    /// Has `vector` write `data` to memory that is returned.
    pub fn vector(&self, vmm: &mut Vmm, vector: u16, data: u32) -> u64 {
        let message = vmm.allocate(4);
        let entry = self.msix.expect("MSI-X enabled") + 16 * u64::from(vector);
        vmm.store(entry, 4, message);
        vmm.store(entry + 4, 4, 0);
        vmm.store(entry + 8, 4, data.into());
        vmm.store(entry + 12, 4, 0);
        message
    }

    /// Maps changes of the configuration to `vector`.
    pub fn set_config_vector(&self, vmm: &mut Vmm, vector: u16) {
        vmm.store(self.common + CONFIG_VECTOR, 2, vector.into());
        assert_eq!(vmm.load(self.common + CONFIG_VECTOR, 2), u64::from(vector));
    }

    /// The sizes that its queues have at most.
    pub fn queue_sizes(&self, vmm: &mut Vmm) -> Vec<u16> {
        let count = vmm.load(self.common + QUEUES, 2);
        let mut size = |queue| {
            vmm.store(self.common + QUEUE_SELECT, 2, queue);
            vmm.load(self.common + QUEUE_SIZE, 2) as u16
        };
        (0..count).map(&mut size).collect()
    }

    /// Features that are offered.
    pub fn offered(&self, vmm: &mut Vmm) -> u64 {
        let mut half = |select| {
            vmm.store(self.common, 4, select);
            vmm.load(self.common + 4, 4)
        };
        half(0) | half(1) << 32
    }

    /// Acknowledges the device and settles on those of `wanted` that it offers.
    pub fn negotiate(&self, vmm: &mut Vmm, wanted: u64) -> u64 {
        self.set_status(vmm, ACKNOWLEDGE);
        self.set_status(vmm, ACKNOWLEDGE | DRIVER);
        let features = self.offered(vmm) & wanted;
        for select in [0, 1] {
            vmm.store(self.common + 8, 4, select);
            vmm.store(self.common + 12, 4, features >> (32 * select) & 0xffff_ffff);
        }
        self.set_status(vmm, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_eq!(self.status(vmm), ACKNOWLEDGE | DRIVER | FEATURES_OK);
        features
    }

    /// Sets queue `index` up, at `vector` if there is one.
    pub fn queue(&self, vmm: &mut Vmm, index: u16, vector: Option<u16>) -> VirtioQueue {
        vmm.store(self.common + QUEUE_SELECT, 2, index.into());
        let size = vmm.load(self.common + QUEUE_SIZE, 2) as u16;
        assert!(size.is_power_of_two(), "queue {index} of {size}");
        let offset = vmm.load(self.common + QUEUE_NOTIFY, 2);
        let [descriptors, available, used] = [16, 2, 8].map(|each| {
            let length = 8 + each * usize::from(size);
            vmm.allocate(length)
        });
        if let Some(vector) = vector {
            vmm.store(self.common + QUEUE_VECTOR, 2, vector.into());
            assert_eq!(vmm.load(self.common + QUEUE_VECTOR, 2), u64::from(vector));
        }
        for (register, area) in [(0x20, descriptors), (0x28, available), (0x30, used)] {
            vmm.store(self.common + register, 4, area);
            vmm.store(self.common + register + 4, 4, area >> 32);
        }
        vmm.store(self.common + QUEUE_ENABLE, 2, 1);
        VirtioQueue {
            index,
            size,
            descriptors,
            available,
            used,
            next: 0,
            seen: 0,
            doorbell: self.notify + offset * self.multiplier,
        }
    }

    /// The driver is ready.
    pub fn start(&self, vmm: &mut Vmm) {
        let status = self.status(vmm) | DRIVER_OK;
        self.set_status(vmm, status);
        assert_eq!(self.status(vmm), status);
    }

    /// The status register.
    pub fn status(&self, vmm: &mut Vmm) -> u64 {
        vmm.load(self.common + STATUS, 1)
    }

    /// Writes the status register.
    pub fn set_status(&self, vmm: &mut Vmm, status: u64) {
        vmm.store(self.common + STATUS, 1, status);
    }

    /// Takes the ISR status.
    pub fn isr(&self, vmm: &mut Vmm) -> u64 {
        vmm.load(self.isr, 1)
    }

    /// Reads a field of the configuration space.
    pub fn config(&self, vmm: &mut Vmm, offset: u64, width: usize) -> u64 {
        vmm.load(self.device + offset, width)
    }

    /// Writes a field of the configuration space.
    pub fn set_config(&self, vmm: &mut Vmm, offset: u64, width: usize, value: u64) {
        vmm.store(self.device + offset, width, value);
    }
}

impl VirtioQueue {
    /// Its size, which is what the device has at most.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Makes a request available, without telling the device. Returns where its parts are.
    pub fn add(&mut self, vmm: &mut Vmm, parts: &[Part<'_>]) -> Vec<u64> {
        let head = self.next;
        let places: Vec<_> = parts.iter().map(|part| place(vmm, *part)).collect();
        for (at, (part, address)) in parts.iter().zip(&places).enumerate() {
            let (length, write) = match part {
                Part::Out(bytes) => (bytes.len(), 0),
                Part::In(length) => (*length, WRITE),
            };
            let last = at + 1 == parts.len();
            let flags = write | if last { 0 } else { NEXT };
            let next = (self.next + 1) % self.size;
            let descriptor = self.descriptors + 16 * u64::from(self.next);
            vmm.store(descriptor, 8, *address);
            vmm.store(descriptor + 8, 4, length as u64);
            vmm.store(descriptor + 12, 2, flags);
            vmm.store(descriptor + 14, 2, next.into());
            self.next = next;
        }
        self.offer(vmm, head);
        places
    }

    /// Makes a request available whose parts are described by an indirect table.
    pub fn add_indirect(&mut self, vmm: &mut Vmm, parts: &[Part<'_>]) -> Vec<u64> {
        let mut table = Self {
            descriptors: vmm.allocate(16 * parts.len()),
            available: vmm.allocate(8),
            next: 0,
            size: parts.len() as u16,
            ..*self
        };
        let places = table.add(vmm, parts);
        let descriptor = self.descriptors + 16 * u64::from(self.next);
        vmm.store(descriptor, 8, table.descriptors);
        vmm.store(descriptor + 8, 4, 16 * parts.len() as u64);
        vmm.store(descriptor + 12, 2, INDIRECT);
        let head = self.next;
        self.next = (self.next + 1) % self.size;
        self.offer(vmm, head);
        places
    }

    /// Tells the device that there is something.
    pub fn kick(&self, vmm: &mut Vmm) {
        vmm.store(self.doorbell, 2, self.index.into());
    }

    /// Waits for the next request to be used, and returns how many bytes the device wrote.
    pub fn used(&mut self, vmm: &mut Vmm) -> u32 {
        let (used, seen) = (self.used, self.seen);
        vmm.wait("a used buffer", |vmm| {
            vmm.load(used + 2, 2) != u64::from(seen)
        });
        let slot = u64::from(self.seen % self.size);
        self.seen = self.seen.wrapping_add(1);
        vmm.load(self.used + 4 + 8 * slot + 4, 4) as u32
    }

    /// Whether something was used that was not waited for.
    pub fn has_used(&self, vmm: &mut Vmm) -> bool {
        vmm.load(self.used + 2, 2) != u64::from(self.seen)
    }

    /// With EVENT_IDX: wants an interrupt when the request after the next `skip` is used.
    pub fn set_used_event(&self, vmm: &mut Vmm, skip: u16) {
        let event = self.available + 4 + 2 * u64::from(self.size);
        vmm.store(event, 2, self.seen.wrapping_add(skip).into());
    }

    /// With EVENT_IDX: the request at which the device wants to be notified.
    pub fn avail_event(&self, vmm: &mut Vmm) -> u16 {
        vmm.load(self.used + 4 + 8 * u64::from(self.size), 2) as u16
    }

    /// Claims that `more` requests are available than there are.
    pub fn claim(&self, vmm: &mut Vmm, more: u16) {
        let index = vmm.load(self.available + 2, 2) as u16;
        vmm.store(self.available + 2, 2, index.wrapping_add(more).into());
    }

    fn offer(&self, vmm: &mut Vmm, head: u16) {
        let index = vmm.load(self.available + 2, 2);
        let slot = index % u64::from(self.size);
        vmm.store(self.available + 4 + 2 * slot, 2, head.into());
        vmm.store(self.available + 2, 2, (index + 1) & 0xffff);
    }
}

fn place(vmm: &mut Vmm, part: Part<'_>) -> u64 {
    match part {
        Part::Out(bytes) => {
            let address = vmm.allocate(bytes.len());
            vmm.write(address, bytes);
            address
        }
        Part::In(length) => vmm.allocate(length),
    }
}

const VENDOR: u8 = 9;
const MSIX: u8 = 0x11;
const STATUS: u64 = 0x14;
const CONFIG_VECTOR: u64 = 0x10;
const QUEUES: u64 = 0x12;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_VECTOR: u64 = 0x1a;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_NOTIFY: u64 = 0x1e;
const ACKNOWLEDGE: u64 = 1;
const DRIVER: u64 = 2;
const DRIVER_OK: u64 = 4;
const FEATURES_OK: u64 = 8;
const NEXT: u64 = 1;
const WRITE: u64 = 2;
const INDIRECT: u64 = 4;
