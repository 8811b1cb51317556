//! Reads a sector through the device, without a bus, a transport or a hypervisor:
//! `cargo run -p virtio-blk --example read_sector -- image=disk.raw,serial=abc`.

use std::error::Error;
use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use virtio_blk::virtio_device::props::{Props, split_options};
use virtio_blk::virtio_device::vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use virtio_blk::virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_blk::virtio_device::{
    Activation, ByteOrder, Cx, DeviceHost, Features, Interrupt, IrqSource, QueueSize, Reactor,
    Ring, RingConfig, Source, VirtioDevice, Worker,
};
use virtio_blk::{Blk, BlkProps, RawImage, guest_io::Mode};

fn main() -> ExitCode {
    let options = std::env::args().nth(1).unwrap_or_default();
    match device(&options).and_then(read_sector) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtio-blk: {error}");
            ExitCode::from(2)
        }
    }
}

fn read_sector(mut device: Blk<RawImage>) -> Result<(), Box<dyn Error>> {
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&[(
        GuestAddress(0),
        1 << 20,
    )])?);

    // What a driver does: a header, a chain of three descriptors, one available entry.
    memory.write_slice(&[0; 16], GuestAddress(HEADER))?;
    let chain = [(HEADER, 16u32, 1u16), (DATA, 512, 3), (STATUS, 1, 2)];
    for (index, (address, len, flags)) in (0u16..).zip(chain) {
        let at = RING.descriptor + 16 * u64::from(index);
        memory.write_obj(address, GuestAddress(at))?;
        memory.write_obj(len, GuestAddress(at + 8))?;
        memory.write_obj([flags, index + 1], GuestAddress(at + 12))?;
    }
    memory.write_obj(1u16, GuestAddress(RING.driver + 2))?;

    // What a bus does: it starts the worker, and calls it when the driver notifies.
    let activation = Activation {
        features: Features::VERSION_1,
        order: ByteOrder::Little,
        queues: vec![0],
        host: Arc::new(Bus),
    };
    let mut workers = device.activate::<Space>(activation)?;
    let placed = workers.first_mut().ok_or("no worker")?;
    let mut rings = [Some(Ring::new(RING)?)];
    let mut reactor = Bus;
    let mut cx = Cx::<Space>::new(&mut rings, &memory, &Bus, &mut reactor, &Bus);
    placed.worker.kick(0, &mut cx)?;

    let (used, status): (u32, u8) = (
        memory.read_obj(GuestAddress(RING.device + 8))?,
        memory.read_obj(GuestAddress(STATUS))?,
    );
    let mut data = [0; 16];
    memory.read_slice(&mut data, GuestAddress(DATA))?;
    println!("status {status}, {used} bytes, beginning with {data:02x?}");
    Ok(())
}

/// A disk from the text of a `-device` option, with the image's path in it.
fn device(options: &str) -> Result<Blk<RawImage>, Box<dyn Error>> {
    let (mut props, mut image) = (BlkProps::default(), None);
    for (name, value) in split_options(options) {
        let value = value.unwrap_or_else(|| "on".into());
        match name.as_str() {
            "image" => image = Some(File::open(&value)?),
            name if props.set(name, &value)? => {}
            name => return Err(format!("unknown property '{name}'").into()),
        }
    }
    let image = RawImage::new(image.ok_or("image=FILE is missing")?)?;
    // Nobody here waits for completions, so requests are done at once.
    Ok(Blk::new(&props, image.read_only(true).mode(Mode::Sync))?)
}

type Space = Arc<GuestMemoryMmap<()>>;

/// A bus with nobody on it.
struct Bus;

impl DeviceHost for Bus {
    fn config_changed(&self) {}
    fn needs_reset(&self) {}
}

impl Interrupt for Bus {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        println!("interrupt: {source:?}");
        Ok(())
    }

    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}

impl Reactor for Bus {
    fn watch(&mut self, _: Source<'_>) -> io::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self, _: u16) {}
}

const RING: RingConfig = RingConfig {
    size: QueueSize::of(4),
    descriptor: 0,
    driver: 0x1000,
    device: 0x2000,
    features: Features::VERSION_1,
    order: ByteOrder::Little,
};
const HEADER: u64 = 0x3000;
const DATA: u64 = 0x4000;
const STATUS: u64 = 0x5000;
